"""What has changed since a lock was written, a line for each thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sevbuild.manifest.lock import Lock, LockedInput
from sevbuild.vcpu.models import signature_text

__all__ = ["lock_changes"]

_LONGEST = 120


def lock_changes(locked: Lock, found: Lock, *, whole: bool) -> list[str]:
    """Return a line for everything that differs; unless `whole`, the lock may hold more than `found`.

    The version of the program that wrote the lock is no difference.
    """
    profiles = ({name: digest.hex() for name, digest in lock.profiles.items()} for lock in (locked, found))
    cpus = ({name: signature_text(value) for name, value in lock.cpus.items()} for lock in (locked, found))
    return [
        *_input_changes(locked.inputs, found.inputs, whole=whole),
        *_value_changes("profile", *profiles, whole=whole),
        *_value_changes("CPU", *cpus, whole=whole),
        *_cmdline_changes(locked.cmdlines, found.cmdlines, whole=whole),
    ]


def _input_changes(locked: Iterable[LockedInput], found: Iterable[LockedInput], *, whole: bool) -> list[str]:
    before, after = _by_name(locked), _by_name(found)
    changes = []
    for key, entries in after.items():
        known = before.get(key, [])
        for entry in entries:
            # What was not hashed in this run is compared by its name alone.
            unread = entry.size is None and entry.digest is None
            if not known:
                changes.append(f"{_name(entry)} is not in it")
            elif not unread and entry not in known:
                changes.append(f"{_name(entry)} is {_what(entry)}; the lock has {_what(known[0])}")
    for key, entries in before.items():
        left = after.get(key, [])
        if whole and len(entries) > len(left):
            gone = next(entry for entry in entries if entry not in left)
            changes.append(f"{_name(gone)} is no longer an input")
    return changes


def _by_name(inputs: Iterable[LockedInput]) -> dict[tuple[str, str, str], list[LockedInput]]:
    found: dict[tuple[str, str, str], list[LockedInput]] = defaultdict(list)
    for entry in inputs:
        found[entry.role, entry.name, entry.part].append(entry)
    return found


def _name(entry: LockedInput) -> str:
    return " ".join(word for word in (entry.role, entry.name, entry.part) if word)


def _what(entry: LockedInput) -> str:
    words = [] if entry.size is None else [f"{entry.size} bytes"]
    if entry.digest is not None:
        words.append(f"{'sha256' if len(entry.digest) == 32 else 'seed'} {entry.digest.hex()}")
    return ", ".join(words)


def _value_changes(
    noun: str, locked: Mapping[str, str], found: Mapping[str, str], *, whole: bool
) -> list[str]:
    changes = []
    for name, value in found.items():
        if name not in locked:
            changes.append(f"{noun} {name} is not in it")
        elif value != locked[name]:
            changes.append(f"{noun} {name} is {value}; the lock has {locked[name]}")
    gone = [name for name in locked if name not in found] if whole else []
    return changes + [f"{noun} {name} is no longer used" for name in gone]


def _cmdline_changes(locked: Mapping[str, bytes], found: Mapping[str, bytes], *, whole: bool) -> list[str]:
    # One change of a line is many targets' change, and one thing to say.
    groups: dict[tuple[bytes | None, bytes | None], list[str]] = defaultdict(list)
    for label, cmdline in found.items():
        if locked.get(label) != cmdline:
            groups[locked.get(label), cmdline].append(label)
    for label, cmdline in locked.items():
        if whole and label not in found:
            groups[cmdline, None].append(label)
    changes = []
    for (before, after), labels in groups.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        subject = f"command line of {labels[0]}{more}"
        if before is None:
            changes.append(f"{subject} is not in it")
        elif after is None:
            changes.append(f"{subject} is no longer used")
        else:
            start = _common(before, after)
            changes.append(f"{subject} is {_quoted(after, start)}; the lock has {_quoted(before, start)}")
    return changes


def _common(one: bytes, other: bytes) -> int:
    """Return where to begin showing two long lines: shortly before they differ."""
    if max(len(one), len(other)) <= _LONGEST:
        return 0
    same = 0
    while one[same : same + 1] == other[same : same + 1]:
        same += 1
    return max(0, same - _LONGEST // 4)


def _quoted(cmdline: bytes, start: int) -> str:
    shown = cmdline[start : start + _LONGEST].decode("utf-8", "backslashreplace")
    dots = "..." if start + _LONGEST < len(cmdline) else ""
    return f"{'...' if start else ''}{shown!r}{dots}"

"""What locks hold, compared with each other, and with what else says what a guest is made of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sevbuild.diagnose.differences.cmdlines import compare_lines, shown_line
from sevbuild.diagnose.differences.launch_sides import LaunchSide, ManifestSide
from sevbuild.diagnose.differences.launches import pair_labels
from sevbuild.diagnose.differences.model import (
    DIGEST,
    LAUNCH,
    NOTE,
    Cause,
    Compared,
    Difference,
    Level,
)
from sevbuild.documents.locate import locate
from sevbuild.errors import SevbuildError
from sevbuild.manifest.inputs import ROLES
from sevbuild.manifest.lock import Lock, LockedInput, decode_lock
from sevbuild.text import as_utf8, counted, decode_text
from sevbuild.vcpu.models import signature_text

__all__ = ["Held", "compare_held", "held_by_lock", "held_by_side"]


class Held(NamedTuple):
    """What one side holds of a guest: inputs, profiles by their digests, CPUs, command lines by target.

    `lines` are the lines of a lock's text by path, else None. `profiles` is None where a side has none, and
    `whole` tells whether names of inputs are paths, as a manifest writes them.
    """

    compared: Compared
    inputs: tuple[LockedInput, ...]
    profiles: Mapping[str, bytes] | None
    cpus: Mapping[str, int]
    cmdlines: Mapping[str, bytes]
    lines: Mapping[str, int] | None = None
    whole: bool = True


def held_by_lock(path: str, text: str) -> Held:
    """Return what a lock holds; raises FaultsError for one at fault."""
    lock = decode_lock(text, path)
    return _held(Compared(path, "lock"), lock, locate(text))


def held_by_side(side: LaunchSide) -> Held:
    """Return what a manifest or a document of reference values says of the same; raises SevbuildError."""
    if isinstance(side, ManifestSide):
        from sevbuild.guest.locking import resolve_lock

        guest = side.guest
        guest.check_inputs()
        return _held(side.compared, resolve_lock(guest, guest.targets, everything=True))
    if side.of_file or "input" in side.lacks:
        message = f"{side.compared.name}: a lock is of a guest that a manifest declares, and this is of none"
        raise SevbuildError(message, hint="compare the lock with the manifest, a bundle or reference values")
    values = side.values(side.labels())
    return Held(
        side.compared,
        tuple(LockedInput(entry.role, entry.name, "", entry.size, entry.digest) for entry in values.inputs),
        None,
        {value.cpu: value.signature for value in values.values if value.signature is not None},
        {value.label: value.cmdline.encode() for value in values.values if value.cmdline is not None},
        whole=False,
    )


def compare_held(old: Held, new: Held) -> Difference:
    """Return what tells apart what two sides hold: there is no launch digest in a lock."""
    causes = [
        *_input_causes(old, new),
        *_cmdline_causes(old, new),
        *_profile_causes(old, new),
        *_cpu_causes(old, new),
    ]
    # What a document has no digest of is not compared, and this is said.
    lacks = ["profiles"] if old.profiles is None or new.profiles is None else []
    subject = "a lock holds inputs, profiles, CPUs and command lines"
    ranks = (DIGEST, LAUNCH, NOTE)
    ordered = tuple(sorted(causes, key=lambda cause: ranks.index(cause.level)))
    return Difference(
        old.compared,
        new.compared,
        subject,
        "none",
        ordered,
        alone=_alone(old, new),
        not_compared=tuple(lacks),
    )


def _held(compared: Compared, lock: Lock, lines: Mapping[str, int] | None = None) -> Held:
    return Held(compared, lock.inputs, lock.profiles, lock.cpus, lock.cmdlines, lines)


def _input_causes(old: Held, new: Held) -> Iterator[Cause]:
    """Yield inputs that differ: paired by role, part and name, then by role and part where one is left."""
    paths = old.whole and new.whole
    before, after = dict(enumerate(old.inputs)), dict(enumerate(new.inputs))
    for named in (True, False):
        places = [_by_place(side, paths=paths, named=named) for side in (before, after)]
        for key, indexes in places[0].items():
            others = places[1].get(key, [])
            if len(indexes) == len(others) == 1:
                first, second = indexes[0], others[0]
                items = ((first, before.pop(first)), (second, after.pop(second)))
                yield from _input_cause(old, new, *items, paths=paths)
    for index, entry in before.items():
        where = (_line(old, f"input[{index}]"), "")
        yield Cause(_role(entry), f"{_called(entry)} removed", _level(entry), _what(entry), None, where)
    for index, entry in after.items():
        where = ("", _line(new, f"input[{index}]"))
        yield Cause(_role(entry), f"{_called(entry)} added", _level(entry), None, _what(entry), where)


def _input_cause(
    old: Held, new: Held, first: tuple[int, LockedInput], second: tuple[int, LockedInput], *, paths: bool
) -> Iterator[Cause]:
    one, other = first[1], second[1]
    where = _line(old, f"input[{first[0]}]"), _line(new, f"input[{second[0]}]")
    known = None not in (one.digest, other.digest)
    sizes = None not in (one.size, other.size) and one.size != other.size
    if (known and one.digest != other.digest) or sizes:
        yield Cause(_role(one), _called(one), _level(one), _what(one), _what(other), where)
    elif _name(one, paths=paths) != _name(other, paths=paths):
        yield Cause(_role(one), f"name of {one.role}", NOTE, one.name, other.name, where)


def _cmdline_causes(old: Held, new: Held) -> Iterator[Cause]:
    changed: dict[tuple[bytes, bytes], list[str]] = {}
    for label, other in pair_labels(list(old.cmdlines), list(new.cmdlines)):
        lines = old.cmdlines[label], new.cmdlines[other]
        if lines[0] != lines[1]:
            changed.setdefault(lines, []).append(label)
        if label != other:
            yield Cause("setting", "target", DIGEST, label, other)
    for (first, second), labels in changed.items():
        before, after = decode_text(first), decode_text(second)
        found = compare_lines(before, after)
        shown = shown_line(before), shown_line(after)
        title, targets = f"command line: {found.title}", tuple(labels)
        yield Cause("cmdline", title, DIGEST, *shown, details=found.details, targets=targets)


def _alone(old: Held, new: Held) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the targets with a command line that have no partner."""
    pairs = pair_labels(list(old.cmdlines), list(new.cmdlines))
    firsts, seconds = {one for one, _ in pairs}, {other for _, other in pairs}
    return (
        tuple(label for label in old.cmdlines if label not in firsts),
        tuple(label for label in new.cmdlines if label not in seconds),
    )


def _profile_causes(old: Held, new: Held) -> Iterator[Cause]:
    if old.profiles is None or new.profiles is None:
        return
    for name in sorted({*old.profiles, *new.profiles}):
        first, second = old.profiles.get(name), new.profiles.get(name)
        if first != second:
            one, other = (None if digest is None else digest.hex() for digest in (first, second))
            where = _line(old, f"profiles.{name}"), _line(new, f"profiles.{name}")
            yield Cause("profile", f"profile {name}", DIGEST, one, other, where)


def _cpu_causes(old: Held, new: Held) -> Iterator[Cause]:
    for name in sorted({*old.cpus, *new.cpus}):
        first, second = old.cpus.get(name), new.cpus.get(name)
        if first != second:
            one, other = (None if value is None else signature_text(value) for value in (first, second))
            where = _line(old, f"cpus.{name}"), _line(new, f"cpus.{name}")
            yield Cause("setting", f"CPU {name}", DIGEST, one, other, where)


def _line(held: Held, path: str) -> str:
    if held.lines is None:
        return ""
    line = held.lines.get(path)
    return held.compared.name if line is None else f"{held.compared.name}:{line}"


def _by_place(
    inputs: Mapping[int, LockedInput], *, paths: bool, named: bool
) -> dict[tuple[str, ...], list[int]]:
    """Return inputs by role and part, and by their name where it counts."""
    found: dict[tuple[str, ...], list[int]] = {}
    for index, entry in inputs.items():
        place = (_role(entry), entry.part)
        found.setdefault((*place, _name(entry, paths=paths)) if named else place, []).append(index)
    return found


def _role(entry: LockedInput) -> str:
    return ROLES[entry.role].launched_as if entry.role in ROLES else entry.role


def _name(entry: LockedInput, *, paths: bool) -> str:
    if paths:
        return entry.name
    # Documents call an input by the names of its files, without where they are.
    return entry.part or "+".join(as_utf8(os.path.basename(name)) for name in entry.name.split(" + "))


def _called(entry: LockedInput) -> str:
    return " ".join(word for word in (_role(entry), entry.name, entry.part) if word)


def _level(entry: LockedInput) -> Level:
    return DIGEST if entry.digest is not None else LAUNCH


def _what(entry: LockedInput) -> str:
    size = "" if entry.size is None else counted(entry.size, "byte")
    return ", ".join(word for word in (size, "" if entry.digest is None else entry.digest.hex()) if word)

"""What a comparison finds: what differs, and whether it is launched differently for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["DIFFERENCE", "NOTE", "Change", "Comparison", "TargetChange", "changed", "leaves", "said"]

DIFFERENCE = "difference"
"""What is launched differs, or would."""

NOTE = "note"
"""The same is launched, and is called or written otherwise."""

_NOTES = ("guest.version", "origins", "doubts")


class Change(NamedTuple):
    """One value that differs, in words for people; `old` or `new` is None where there is none.

    `level` is DIFFERENCE or NOTE.
    """

    what: str
    old: str | None
    new: str | None
    level: str = DIFFERENCE


def said(text: str | None) -> str:
    """Return how one side of a change is said: an empty command line is a value, and not none."""
    return "none" if text is None else text or "empty"


class TargetChange(NamedTuple):
    """What became of one target; digests in hex.

    `status` is `equal`, `alike` (launched the same, and written otherwise), `changed`, `added` or `removed`.
    """

    label: str
    status: str
    old: str | None
    new: str | None
    changes: tuple[Change, ...]


class Comparison(NamedTuple):
    """What differs of guest and inputs, and every target in the order of the old, then of the new."""

    guest: tuple[Change, ...]
    targets: tuple[TargetChange, ...]

    @property
    def equal(self) -> bool:
        """Tell whether nothing differs, not even a name."""
        return not self.guest and all(target.status == "equal" for target in self.targets)

    @property
    def same_launch(self) -> bool:
        """Tell whether every target is launched the same."""
        guest = any(change.level == DIFFERENCE for change in self.guest)
        return not guest and all(target.status in ("equal", "alike") for target in self.targets)

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "equal": self.equal,
            "same_launch_values": self.same_launch,
            "guest": [change._asdict() for change in self.guest],
            "targets": [
                {**target._asdict(), "changes": [change._asdict() for change in target.changes]}
                for target in self.targets
            ],
        }


def changed(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the changes between two flat objects, by key."""
    for key in sorted({*old, *new}):
        first, second = old.get(key), new.get(key)
        if first != second:
            what = prefix + key
            level = NOTE if what in _NOTES or what.partition(".")[0] in _NOTES else DIFFERENCE
            yield Change(what, _text(first), _text(second), level)


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of an object and of those in it, by dotted path; a list is one value."""
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            yield from leaves(entry, f"{prefix}{key}.")
        else:
            yield prefix + key, entry


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable):
        return ", ".join(
            " ".join(str(part) for part in entry.values()) if isinstance(entry, Mapping) else str(entry)
            for entry in value
        )
    return str(value)

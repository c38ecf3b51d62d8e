"""What a comparison finds: what differs, and whether it is launched differently for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sevbuild.reference.document import Fact

__all__ = ["DIFFERENCE", "NOTE", "Change", "Comparison", "TargetChange", "changed", "said"]

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
    """What became of one target, with its launch digest on either side.

    `status` is `equal`, `alike` (launched the same, and written otherwise), `changed`, `added` or `removed`.
    """

    label: str
    status: str
    old: bytes | None
    new: bytes | None
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
                {
                    **target._asdict(),
                    "old": None if target.old is None else target.old.hex(),
                    "new": None if target.new is None else target.new.hex(),
                    "changes": [change._asdict() for change in target.changes],
                }
                for target in self.targets
            ],
        }


def changed(prefix: str, old: Mapping[str, Fact], new: Mapping[str, Fact]) -> Iterator[Change]:
    """Yield the changes between what two documents say of one thing, by key."""
    for key in sorted({*old, *new}):
        first, second = old.get(key), new.get(key)
        if first != second:
            what = prefix + key
            level = NOTE if what in _NOTES or what.partition(".")[0] in _NOTES else DIFFERENCE
            yield Change(what, _text(first), _text(second), level)


def _text(fact: Fact) -> str | None:
    return ", ".join(fact) if isinstance(fact, tuple) else fact

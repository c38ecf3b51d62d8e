"""One thing that differs, and whether it is launched differently for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["DIFFERENCE", "NOTE", "Change", "changed", "leaves"]

DIFFERENCE = "difference"
"""What is launched differs, or would."""

NOTE = "note"
"""The same is launched, and is called or written otherwise."""

_NOTES = ("guest.version", "origins", "doubts")


class Change(NamedTuple):
    """Name one value that differs, in words for people; `old` or `new` is None where there is none.

    `level` is DIFFERENCE or NOTE.
    """

    what: str
    old: str | None
    new: str | None
    level: str = DIFFERENCE


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

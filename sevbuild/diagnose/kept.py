"""A few values kept, and no more: what a search holds does not grow with it."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Kept"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """The last `most` values that were kept or asked for, by their keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[_Key, _Value] = {}

    def get(self, key: _Key) -> _Value | None:
        """Return a value, None where it is kept no more."""
        value = self._values.pop(key, None)
        if value is not None:
            self._values[key] = value
        return value

    def keep(self, key: _Key, value: _Value) -> _Value | None:
        """Keep a value; return the one that made room for it, which nobody asked for the longest."""
        gone = None
        if len(self._values) >= self._most:
            gone = self._values.pop(next(iter(self._values)))
        self._values[key] = value
        return gone

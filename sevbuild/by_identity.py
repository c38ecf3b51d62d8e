"""Records that are told apart by identity: each is itself, whatever its fields are."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["by_identity"]

_Record = TypeVar("_Record", bound=type)


def by_identity(record: _Record) -> _Record:
    """Have a named tuple compared, and hashed as a key, by identity instead of by its fields.

    What was read once is then a key as it stands, and lives as long as a map has it. A copy of `_replace`
    is another one.
    """
    for name in ("__eq__", "__ne__", "__hash__"):
        setattr(record, name, getattr(object, name))
    return record

"""Typed access to the objects of a JSON document: a fault for what is missing, and a value to go on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from sevbuild.documents.document import Table, check_hex, check_integer, check_type, check_word

__all__ = ["Reader", "as_objects", "hex_number"]

T = TypeVar("T")
Word = TypeVar("Word", bound=str)
_MOST_DIGITS = 16


class Reader(Table):
    """One object, read key by key; every key asked for must be there."""

    def string(self, key: str, *, required: bool = True) -> str:
        """Return a string."""
        return super().string(key, required=required) or ""

    def name(self, key: str) -> str:
        """Return a string that is not empty."""
        text = self.string(key)
        if self.has(key) and self.any(key) == "":
            self.fault(key, "must not be empty")
        return text

    def boolean(self, key: str, *, required: bool = True) -> bool:
        """Return a boolean."""
        return super().boolean(key, required=required) or False

    def integer(self, key: str, low: int, high: int, *, required: bool = True) -> int:
        """Return an integer within `low..high`."""
        return super().integer(key, low, high, required=required) or 0

    def word(self, key: str, words: Iterable[Word]) -> Word:
        """Return one of `words`."""
        # The empty word stands for one at fault: it goes no further than the document's own faults.
        return self.choice(key, words, required=True) or cast("Word", "")

    def hex(self, key: str, size: int) -> bytes:
        """Return `size` bytes of lower-case hexadecimal digits."""
        text = self.name(key)
        if not text:
            return b""
        if text != text.lower() or text.startswith("0x"):
            self.fault(key, "must be lower-case hexadecimal digits")
        return check_hex(self.document, self.at(key), text, size) or b""

    def number(self, key: str, high: int) -> int:
        """Return a number within `0..high` that is written as a hex string."""
        text = self.name(key)
        return (hex_number(self, key, text, high) or 0) if text else 0

    def nullable(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return what `read` makes of `key`, None for a null; the key must be there."""
        if self.has(key) and self.any(key) is None:
            return None
        return read(key)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self.any(key)
        if not isinstance(value, list):
            self.fault(key, "must be a list of strings")
            return ()
        document, path = self.document, self.at(key)
        checked = [check_type(document, f"{path}[{index}]", entry, str) for index, entry in enumerate(value)]
        return tuple(entry for entry in checked if entry is not None)

    def words(self, key: str, known: Iterable[Word]) -> tuple[Word, ...]:
        """Return a list of words, each of them known."""
        document, path = self.document, self.at(key)
        words = list(known)
        found = [
            check_word(document, f"{path}[{index}]", entry, words)
            for index, entry in enumerate(self.strings(key))
        ]
        return tuple(entry for entry in found if entry is not None)


def as_objects(table: Reader, key: str, *, required: bool = True, least: int = 0) -> list[Reader]:
    """Return the objects of a list; `least` of them must be there."""
    if not table.has(key) and not required:
        return []
    value = table.any(key)
    if not isinstance(value, list) or len(value) < least:
        table.fault(key, "must be a list of objects" if not least else "must be a list of one object or more")
        return []
    document = table.document
    found = []
    for index, entry in enumerate(value):
        path = f"{table.at(key)}[{index}]"
        if isinstance(entry, Mapping):
            found.append(Reader(document, entry, path))
        else:
            document.fault(path, "must be an object")
    return found


def hex_number(table: Table, key: str, text: str, high: int) -> int | None:
    """Return the number of a hex string such as `0x1f`, or None with a fault."""
    digits = text[2:]
    if (
        text[:2] != "0x"
        or not digits
        or len(digits) > _MOST_DIGITS
        or not set(digits) <= set("0123456789abcdef")
    ):
        table.fault(key, f"must be a hex string such as 0x30000, got {text[:40]!r}")
        return None
    return check_integer(table.document, table.at(key), int(digits, 16), 0, high)

"""The bytes of a structure in turn, as every form of evidence that is not DER is read."""

from __future__ import annotations

from sevbuild.errors import SevbuildError

__all__ = ["ByteReader"]


class ByteReader:
    """Bytes that are taken from the front; `source` is how an error calls the whole, `at` the next offset."""

    __slots__ = ("at", "data", "source")

    def __init__(self, data: bytes, source: str, at: int = 0) -> None:
        self.data, self.source, self.at = data, source, at

    def take(self, size: int) -> bytes:
        """Return the next bytes; raises SevbuildError where there are not as many."""
        self.room(size)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Return the next number, big-endian."""
        return int.from_bytes(self.take(size), "big")

    def room(self, size: int) -> None:
        """Check that so many bytes follow."""
        if size > len(self.data) - self.at:
            raise self.fault("it ends early")

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.at != len(self.data):
            raise self.fault("more follows than there should be")

    def fault(self, what: str) -> SevbuildError:
        """Return what to raise of the bytes here."""
        return SevbuildError(f"{self.source}: {what}, at offset {self.at}")

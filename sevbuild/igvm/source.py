"""Where an IGVM file's bytes come from: memory, or a file that is never held whole."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["ByteSource", "Data", "DataRange", "MemorySource", "data_bytes", "data_size"]


class ByteSource(Protocol):
    """Bytes by offset; `fs.FileSource` is the one over a file."""

    @property
    def size(self) -> int:
        """Return the number of bytes there are."""

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`; raises SevbuildError where they are not there."""


class MemorySource:
    """Bytes that are in memory."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes | memoryview) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self._view)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; the caller has compared them with `size`."""
        return bytes(self._view[offset : offset + size])


class DataRange(NamedTuple):
    """The `size` bytes at `offset` of a source, not held in memory."""

    source: ByteSource
    offset: int
    size: int


Data = bytes | DataRange
"""The file data of one header: bytes when it is being built, a range when it was read."""


def data_bytes(data: Data) -> bytes:
    """Return the bytes themselves."""
    return data.source.read(data.offset, data.size) if isinstance(data, DataRange) else data


def data_size(data: Data) -> int:
    """Return how many bytes there are."""
    return data.size if isinstance(data, DataRange) else len(data)

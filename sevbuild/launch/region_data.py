"""The contents of a region: in memory, or read piece by piece from where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

__all__ = ["Contents", "RegionData", "chunks"]

_CHUNK = 1 << 20


class RegionData(Protocol):
    """Bytes that are not held in memory; `len` is their number."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def read(self, start: int, end: int) -> bytes | memoryview:
        """Return the bytes from `start` up to, not including, `end`."""


Contents = bytes | memoryview | RegionData


def chunks(data: Contents) -> Iterator[bytes | memoryview]:
    """Yield all bytes in order, at most 1 MiB at a time where they are not in memory."""
    if isinstance(data, bytes | memoryview):
        yield data
        return
    for start in range(0, len(data), _CHUNK):
        yield data.read(start, min(start + _CHUNK, len(data)))

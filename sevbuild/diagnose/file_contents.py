"""The contents of an input where they lie: files one after the other, or a part of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from sevbuild.fs import FileSource

__all__ = ["FileContents"]


class FileContents:
    """The bytes of files one after the other, or `size` bytes at `offset` of one; none of them is held."""

    __slots__ = ("_ends", "_offset", "_size", "_sources")

    def __init__(self, paths: Sequence[str], offset: int = 0, size: int | None = None) -> None:
        self._sources = [FileSource(path) for path in paths]
        self._ends = list(accumulate(source.size for source in self._sources))
        self._offset = offset
        whole = self._ends[-1] if self._ends else 0
        self._size = whole - offset if size is None else size

    def __len__(self) -> int:
        return self._size

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to, not including, `end`; raises SevbuildError where they end."""
        first, last = self._offset + start, self._offset + end
        found, before = [], 0
        for source, after in zip(self._sources, self._ends, strict=True):
            low, high = max(first, before), min(last, after)
            if low < high:
                found.append(source.read(low - before, high - low))
            before = after
        return found[0] if len(found) == 1 else b"".join(found)

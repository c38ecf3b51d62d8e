"""From pieces of a file to launch updates: neighbours become one region, whose bytes stay in the file."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.igvm.headers import PAGE_SIZE
from sevbuild.igvm.source import ByteSource
from sevbuild.launch.page_type import MEASURED_CONTENTS, PageType
from sevbuild.launch.update import LaunchUpdate

__all__ = ["FilePages", "Piece", "UpdateMaker"]

_PAGES_LIMIT = 1 << 22  # 16 GiB of guest memory: beyond any file there is, and a bound on our own work


class FilePages:
    """The contents of pages that lie in a file, or are zeros, without holding them."""

    __slots__ = ("_offsets", "_source", "_starts", "pages")

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._starts = array("Q")
        self._offsets = array("Q")
        self.pages = 0

    def append(self, offset: int, pages: int) -> None:
        """Add pages that lie one after the other from a file offset, or zeros for offset 0."""
        follows = self._offsets and (
            (not offset and not self._offsets[-1])
            or (
                offset
                and self._offsets[-1]
                and self._offsets[-1] + (self.pages - self._starts[-1]) * PAGE_SIZE == offset
            )
        )
        if not follows:
            self._starts.append(self.pages)
            self._offsets.append(offset)
        self.pages += pages

    @property
    def key(self) -> bytes:
        """Return what tells these pages from others of the same file."""
        return self.pages.to_bytes(8, "little") + self._starts.tobytes() + self._offsets.tobytes()

    def __len__(self) -> int:
        return self.pages * PAGE_SIZE

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to, not including, `end`."""
        parts = []
        at = bisect_right(self._starts, start // PAGE_SIZE) - 1
        while start < end:
            last = at + 1 == len(self._starts)
            stop = min(end, len(self) if last else self._starts[at + 1] * PAGE_SIZE)
            offset = self._offsets[at]
            if offset:
                offset += start - self._starts[at] * PAGE_SIZE
                parts.append(self._source.read(offset, stop - start))
            else:
                parts.append(bytes(stop - start))
            start = stop
            at += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Piece(NamedTuple):
    """Pages of one type with ascending GPAs, before neighbours are joined.

    Contents are `page`, or lie at `offset` of the file, or are zeros. `number` is the header's, and
    `follows` are the header number and the likeness that a next piece must have to be buffered with this
    one.
    """

    gpa: int
    page_type: PageType
    pages: int
    offset: int
    page: bytes | None
    origin: str
    number: int = -1
    likeness: tuple[int, ...] = ()


class UpdateMaker:
    """The launch updates of one file, made from its pieces; equal ones are one object, for LaunchTree."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._updates: dict[tuple[int, PageType, int, str, bytes], LaunchUpdate] = {}
        self._data: dict[bytes, FilePages] = {}

    def make(self, pieces: Iterable[Piece]) -> tuple[LaunchUpdate, ...]:
        """Return the launch updates of pieces in their order."""
        return tuple(self._joined(pieces))

    def _joined(self, pieces: Iterable[Piece]) -> Iterator[LaunchUpdate]:
        total = 0
        first: Piece | None = None
        pages = FilePages(self._source)
        for piece in pieces:
            total += piece.pages
            if total > _PAGES_LIMIT:
                raise SevbuildError(f"the file lays out more than {_PAGES_LIMIT} pages of guest memory")
            if (
                first is not None
                and piece.page is None
                and (piece.page_type, piece.origin) == (first.page_type, first.origin)
                and piece.gpa == first.gpa + pages.pages * PAGE_SIZE
            ):
                pages.append(piece.offset, piece.pages)
                continue
            if first is not None:
                yield self._region(first, pages)
                first = None
            if piece.page is not None:
                yield self._intern(piece, PAGE_SIZE, piece.page)
            else:
                first, pages = piece, FilePages(self._source)
                pages.append(piece.offset, piece.pages)
        if first is not None:
            yield self._region(first, pages)

    def _region(self, first: Piece, pages: FilePages) -> LaunchUpdate:
        if first.page_type not in MEASURED_CONTENTS:
            return self._intern(first, len(pages), None)
        return self._intern(first, len(pages), self._data.setdefault(pages.key, pages))

    def _intern(self, piece: Piece, length: int, data: bytes | FilePages | None) -> LaunchUpdate:
        known = data.key if isinstance(data, FilePages) else b"" if data is None else data
        key = (piece.gpa, piece.page_type, length, piece.origin, known)
        update = LaunchUpdate(piece.gpa, piece.page_type, length, data, piece.origin)
        return self._updates.setdefault(key, update)

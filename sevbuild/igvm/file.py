"""An IGVM file as a value: what its fixed header says, and its headers in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.igvm.headers import Header, PageData, SupportedPlatform, UnknownHeader
from sevbuild.igvm.scan import Item, Place, read_item_data, scan_headers
from sevbuild.igvm.source import ByteSource, Data

__all__ = ["AARCH64", "FIXED_HEADER_SIZES", "X64", "Headers", "IgvmFile", "ReadHeaders"]

X64 = 0
AARCH64 = 1
FIXED_HEADER_SIZES = {1: 24, 2: 32}
"""Bytes of the fixed header by format version."""


class ReadHeaders:
    """The headers of a file that was read and judged; each pass decodes them anew."""

    __slots__ = ("_count", "_end", "_source", "_start")

    def __init__(self, source: ByteSource, start: int, end: int, count: int) -> None:
        self._source, self._start, self._end, self._count = source, start, end, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Header]:
        for item in self.items():
            yield item.header
            if isinstance(item.header, PageData):
                for number in range(1, item.run):
                    yield item.header._replace(
                        gpa=item.header.gpa + number * 4096, data=read_item_data(self._source, item, number)
                    )

    def items(self) -> Iterator[Item]:
        """Yield the headers with runs of pages taken together."""
        return scan_headers(self._source, self._start, self._end)


Headers = Sequence[Header] | ReadHeaders


class IgvmFile(NamedTuple):
    """An IGVM file: `version` 1 or 2, `architecture` X64 or AARCH64, `page_size` in bytes.

    `headers` are all variable headers in file order, each with its data. `gap` are bytes between the
    fixed and the variable headers, which only foreign files have. `warnings` are a reader's.
    """

    version: int
    headers: Headers
    architecture: int = X64
    page_size: int = 4096
    gap: Data = b""
    warnings: tuple[str, ...] = ()

    @property
    def platforms(self) -> list[SupportedPlatform]:
        """Return the platforms, in file order; only headers of unknown types may stand among them."""
        found = []
        for item in self.items():
            if isinstance(item.header, SupportedPlatform):
                found.append(item.header)
            elif not isinstance(item.header, UnknownHeader):
                break
        return found

    def items(self) -> Iterator[Item]:
        """Yield the headers with runs of pages taken together.

        Of a file that is being built each header is an item, and `place` has its index alone.
        """
        if isinstance(self.headers, ReadHeaders):
            yield from self.headers.items()
        else:
            for index, header in enumerate(self.headers):
                yield Item(Place(index, 0), header, 1, 0)

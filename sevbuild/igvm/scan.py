"""Walk the variable headers of an IGVM file, in pieces, with runs of pages taken together.

Nothing here grows with the file: headers pass through a window, and a run of any length is one item.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.igvm import headers
from sevbuild.igvm.headers import PAGE_SIZE, Header, HeaderType
from sevbuild.igvm.layouts import content_size, decode_content, header_name
from sevbuild.igvm.source import ByteSource, Data, DataRange

__all__ = ["IgvmError", "Item", "Place", "read_item_data", "scan_headers"]

_WINDOW = 64 * 1024
_TLV = Struct("<II")
_PAGE = Struct("<IIQIIIHH")  # a TLV header of PAGE_DATA and its content
_PAGE_LENGTH = 24
_FLAGS = 7
_UNKNOWN_LIMIT = 16 << 20
_COUNT, _REGISTER = 4, 32  # VbsVpContextHeader, a u32, and VbsVpContextRegister (microsoft/igvm igvm_defs)


class Place(NamedTuple):
    """Where a header stands: its number among the variable headers, from 0, and its byte offset."""

    number: int
    offset: int


class IgvmError(SevbuildError):
    """An IGVM file that is not valid, with header index and byte offset."""

    def __init__(self, what: str, place: Place | None, reason: str, *, hint: str | None = None) -> None:
        where = what if place is None else f"header {place.number} at {place.offset:#x} ({what})"
        super().__init__(f"{where}: {reason}", hint=hint)
        self.place = place


class Item(NamedTuple):
    """One header, or a run of PAGE_DATA that differ in nothing but their place.

    There are `run` headers; their GPAs ascend by pages, and so do their file offsets, or none has data.
    `header` is the first of them. `data_offset` is its file offset, 0 without data.
    """

    place: Place
    header: Header
    run: int
    data_offset: int


def scan_headers(source: ByteSource, start: int, end: int) -> Iterator[Item]:
    """Yield the headers between two byte offsets of a file, in order.

    What a header says is not judged here, except that it can be decoded. Raises IgvmError.
    """
    index, at = 0, start
    window, base = b"", start
    vsm: set[int] = set()
    while at < end:
        if at - base + PAGE_SIZE > len(window) and base + len(window) < end:
            base, window = at, source.read(at, min(_WINDOW, end - at))
        local = at - base
        if end - at < _TLV.size:
            raise IgvmError("variable headers", Place(index, at), f"{end - at} bytes are not a header")
        number, length = _TLV.unpack_from(window, local)
        if number == HeaderType.PAGE_DATA and length == _PAGE_LENGTH and end - at >= _PAGE.size:
            item = _page_run(source, window, local, Place(index, at))
            yield item
            index += item.run
            at += item.run * _PAGE.size
            continue
        place = Place(index, at)
        step = _TLV.size + (length + 7 & ~7)
        if step > end - at:
            raise IgvmError(
                header_name(number), place, f"its {length} bytes end after the variable headers do"
            )
        expected = content_size(number)
        if expected is None and not number & headers.OPTIONAL_BIT:
            reason = "not a known type, and not marked as optional"
            raise IgvmError(header_name(number), place, reason)
        if expected is not None and length != expected:
            raise IgvmError(header_name(number), place, f"{length} bytes; this type has {expected}")
        if expected is None and length > _UNKNOWN_LIMIT:
            raise IgvmError(header_name(number), place, f"{length} bytes are more than are kept")
        body = window[local + _TLV.size : local + step]
        if len(body) < step - _TLV.size:
            body = source.read(at + _TLV.size, step - _TLV.size)
        item = _single(source, number, body[:length], body[length:], place)
        yield _sized(source, item, vsm)
        index += 1
        at += step


def read_item_data(source: ByteSource, item: Item, number: int) -> Data | None:
    """Return the file data of header `number` of a run."""
    if not item.data_offset:
        return None
    return DataRange(source, item.data_offset + number * PAGE_SIZE, PAGE_SIZE)


def _single(source: ByteSource, number: int, content: bytes, padding: bytes, place: Place) -> Item:
    if content_size(number) is None:
        return Item(place, headers.UnknownHeader(number, content, padding), 1, 0)
    found = 0

    def locate(offset: int, size: int) -> Data | None:
        nonlocal found
        found = offset
        return DataRange(source, offset, size) if offset else None

    try:
        header = decode_content(number, content, padding, locate)
    except ValueError as error:
        raise IgvmError(header_name(number), place, str(error)) from None
    return Item(place, header, 1, found)


def _sized(source: ByteSource, item: Item, vsm: set[int]) -> Item:
    """Return an item with the size that the data of its VP context has.

    `vsm` collects the masks of VSM platforms: their contexts are as many registers as they count, with no
    padding after them. Every other context is a page.
    """
    header = item.header
    if (
        isinstance(header, headers.SupportedPlatform)
        and header.platform_type == headers.PlatformType.VSM_ISOLATION
    ):
        vsm.add(header.compatibility_mask)
    if (
        not isinstance(header, headers.VpContext)
        or header.compatibility_mask not in vsm
        or not item.data_offset
    ):
        return item
    count = 0
    if item.data_offset + _COUNT <= source.size:
        count = int.from_bytes(source.read(item.data_offset, _COUNT), "little")
    data = DataRange(source, item.data_offset, _COUNT + _REGISTER * count)
    return item._replace(header=header._replace(data=data))


def _page_run(source: ByteSource, window: bytes, local: int, place: Place) -> Item:
    """Return the longest run of pages that begins at `local` and ends within the window."""
    usable = (len(window) - local) // _PAGE.size * _PAGE.size
    pages = _PAGE.iter_unpack(memoryview(window)[local : local + usable])
    _, _, gpa, mask, offset, flags, kind, reserved = next(pages)
    step = PAGE_SIZE if offset else 0
    first = (HeaderType.PAGE_DATA.value, _PAGE_LENGTH, mask, flags, kind, reserved)
    next_gpa, next_offset, count = gpa + PAGE_SIZE, offset + step, 1
    for number, length, other_gpa, other_mask, other_offset, *rest in pages:
        if (
            other_gpa != next_gpa
            or other_offset != next_offset
            or (number, length, other_mask, *rest) != first
        ):
            break
        next_gpa += PAGE_SIZE
        next_offset += step
        count += 1
    if kind not in tuple(headers.PageDataType):
        raise IgvmError("PAGE_DATA", place, f"{kind} is not a type of page data")
    if flags & ~_FLAGS:
        raise IgvmError("PAGE_DATA", place, f"unknown flags {flags & ~_FLAGS:#x}")
    data = DataRange(source, offset, PAGE_SIZE) if offset else None
    header = headers.PageData(gpa, mask, data, headers.PageFlags(flags), headers.PageDataType(kind), reserved)
    return Item(place, header, count, offset)

"""Write an IGVM file, byte for byte as the igvm crate lays one out.

Headers stand in the order given; file data follows them at once, in header order, each chunk padded to its
page or area, and a chunk that stands there already is not written again (microsoft/igvm at e6c3ff1c,
igvm/src/lib.rs, IgvmFile::serialize).
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from zlib import crc32

from sevbuild.igvm import headers
from sevbuild.igvm.file import FIXED_HEADER_SIZES, IgvmFile
from sevbuild.igvm.headers import PAGE_SIZE, Header
from sevbuild.igvm.layouts import content_size, encode_content, header_name, header_type
from sevbuild.igvm.reader import MAGIC, read_igvm
from sevbuild.igvm.scan import IgvmError, Place
from sevbuild.igvm.source import MemorySource, data_bytes

__all__ = ["write_igvm"]

_TLV = Struct("<II")
_U32 = 1 << 32


class _FileData:
    """Chunks of file data as they are laid out, each content once."""

    def __init__(self, start: int) -> None:
        self.chunks: list[bytes] = []
        self.end = start
        self._offsets: dict[bytes, int] = {}

    def add(self, chunk: bytes) -> int:
        """Return the file offset of a chunk."""
        offset = self._offsets.get(chunk)
        if offset is None:
            offset = self._offsets[chunk] = self.end
            self.chunks.append(chunk)
            self.end += len(chunk)
        return offset


def write_igvm(file: IgvmFile) -> bytes:
    """Return the bytes of an IGVM file; the inverse of reading one that is laid out as above.

    Other layouts of file data are not kept: the result says the same and loads alike. Raises IgvmError,
    by the reader's own rules, for a file that no reader would take.
    """
    fixed_size = FIXED_HEADER_SIZES.get(file.version)
    if fixed_size is None:
        raise IgvmError("fixed header", None, f"unknown format version {file.version}; 1 and 2 are known")
    if file.version == 1 and (file.architecture, file.page_size) != (0, PAGE_SIZE):
        raise IgvmError("fixed header", None, "version 1 is for x64 and pages of 4096 bytes")
    gap = data_bytes(file.gap)
    size = sum(map(_step, file.headers))
    start = fixed_size + len(gap)
    data = _FileData(start + size)
    section = bytearray()
    vsm = [
        platform.compatibility_mask
        for platform in file.platforms
        if platform.platform_type == headers.PlatformType.VSM_ISOLATION
    ]
    for index, header in enumerate(file.headers):
        # A context of registers has its own length; what any other platform has is a page.
        page = not (isinstance(header, headers.VpContext) and header.compatibility_mask in vsm)
        section += _encode(header, data, Place(index, start + len(section)), page=page)
    if data.end >= _U32:
        raise IgvmError("file data", None, f"{data.end} bytes; a file has less than 4 GiB")
    extension = b""
    if file.version == 2:
        extension = _TLV.pack(file.architecture, file.page_size)
    head = MAGIC + Struct("<IIII").pack(file.version, start, size, data.end)
    checksum = crc32(section, crc32(head + bytes(4) + extension))
    fixed = head + checksum.to_bytes(4, "little") + extension
    result = b"".join((fixed, gap, section, *data.chunks))
    read_igvm(MemorySource(result))
    return result


def _step(header: Header) -> int:
    size = (
        len(header.content)
        if isinstance(header, headers.UnknownHeader)
        else content_size(header_type(header))
    )
    return _TLV.size + ((size or 0) + 7 & ~7)


def _encode(header: Header, data: _FileData, place: Place, *, page: bool) -> bytes:
    name = header_name(header_type(header))
    offset = size = 0
    padding = b""
    if (
        isinstance(header, headers.PageData | headers.VpContext | headers.ParameterArea | headers.CorimData)
        and header.data
    ):
        chunk = data_bytes(header.data)
        size = len(chunk)
        room = size
        if isinstance(header, headers.ParameterArea):
            room = header.number_of_bytes
        elif page and not isinstance(header, headers.CorimData):
            room = PAGE_SIZE
        if size > room:
            raise IgvmError(name, place, f"{size} bytes of data; it holds {room}")
        if room >= _U32:
            raise IgvmError(name, place, f"{room} bytes are more than a file has")
        offset = data.add(chunk.ljust(room, b"\0"))
    if isinstance(header, headers.VpContext | headers.UnknownHeader):
        padding = header.padding
    try:
        content = encode_content(header, offset, size)
    except struct_error as error:
        raise IgvmError(name, place, f"a value does not fit its field: {error}") from None
    padded = (content + padding).ljust(len(content) + 7 & ~7, b"\0")
    if len(padded) != len(content) + 7 & ~7:
        raise IgvmError(name, place, f"{len(padding)} bytes of padding")
    return _TLV.pack(header_type(header), len(content)) + padded

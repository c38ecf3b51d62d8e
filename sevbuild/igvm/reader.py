"""Read an IGVM file: everything the format allows, and nothing else.

Source: microsoft/igvm at e6c3ff1c, igvm_defs/src/lib.rs, IGVM_FIXED_HEADER_V1 and _V2.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from sevbuild.igvm.file import AARCH64, FIXED_HEADER_SIZES, X64, IgvmFile, ReadHeaders
from sevbuild.igvm.headers import PAGE_SIZE
from sevbuild.igvm.rules import Rules, Warnings
from sevbuild.igvm.scan import IgvmError, scan_headers
from sevbuild.igvm.source import ByteSource, DataRange
from sevbuild.kind import HEAD_SIZE, kind_of

__all__ = ["MAGIC", "read_igvm"]

MAGIC = b"IGVM"

_FIXED = Struct("<4sIIIII")
_FIXED_V2 = Struct("<II")
_CHECKSUM = slice(20, 24)
_WINDOW = 64 * 1024


def read_igvm(source: ByteSource) -> IgvmFile:
    """Return the file in `source`, which must stay readable as long as the result is in use.

    Raises IgvmError with header index and byte offset for a file that is not valid; what is tolerated
    stands under `warnings`. Memory does not grow with the file.
    """
    if source.size < _FIXED.size:
        raise _bad(0, f"{source.size} bytes is less than a fixed header")
    fixed = source.read(0, _FIXED.size)
    magic, version, start, size, total, checksum = _FIXED.unpack(fixed)
    if magic != MAGIC:
        kind = kind_of(source.read(0, min(source.size, HEAD_SIZE)))
        error = _bad(0, f"the file starts with {magic.hex()}, not with IGVM")
        error.hint = None if kind is None else f"it is {kind.phrase}"
        raise error
    header_size = FIXED_HEADER_SIZES.get(version)
    if header_size is None:
        raise _bad(4, f"unknown format version {version}; 1 and 2 are known")
    if total != source.size:
        raise _bad(16, f"the file should have {total} bytes but has {source.size}")
    if start < header_size or start % 8:
        raise _bad(8, f"the variable headers begin at {start:#x}, not at a multiple of 8 after {header_size}")
    if start + size >= total:
        # The crate's rule: no loader built on it takes a file of headers alone.
        raise _bad(12, f"{size:#x} bytes of variable headers at {start:#x} leave no file data")
    extension = source.read(_FIXED.size, header_size - _FIXED.size)
    architecture, page_size = _extension(extension)
    _check(source, fixed + extension, start, size, checksum)
    warnings = Warnings()
    gap = DataRange(source, header_size, start - header_size) if start > header_size else b""
    if gap:
        warnings.add(f"{start - header_size} bytes stand between fixed and variable headers", None)
    rules = Rules(start + size, total, warnings)
    count = 0
    for item in scan_headers(source, start, start + size):
        rules.judge(item)
        count += item.run
    rules.finish()
    headers = ReadHeaders(source, start, start + size, count)
    return IgvmFile(version, headers, architecture, page_size, gap, warnings.lines())


def _extension(extension: bytes) -> tuple[int, int]:
    """Return architecture and page size, which version 1 does not name."""
    if not extension:
        return X64, PAGE_SIZE
    architecture, page_size = _FIXED_V2.unpack(extension)
    if architecture not in (X64, AARCH64):
        raise _bad(24, f"unknown architecture {architecture}; 0 and 1 are known")
    if page_size != PAGE_SIZE:
        raise _bad(28, f"pages of {page_size} bytes; every known loader takes only 4096")
    return architecture, page_size


def _check(source: ByteSource, fixed: bytes, start: int, size: int, checksum: int) -> None:
    """Compare the checksum: CRC-32 over the fixed header without it, and the variable headers."""
    actual = crc32(fixed[: _CHECKSUM.start] + bytes(4) + fixed[_CHECKSUM.stop :])
    for at in range(start, start + size, _WINDOW):
        actual = crc32(source.read(at, min(_WINDOW, start + size - at)), actual)
    if actual != checksum:
        raise _bad(20, f"the checksum is {checksum:#010x}, the headers have {actual:#010x}")


def _bad(offset: int, reason: str) -> IgvmError:
    return IgvmError(f"fixed header at {offset:#x}", None, reason)

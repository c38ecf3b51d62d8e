"""Random valid IGVM files, and a check of one that no bytes may get past."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, cast
from zlib import crc32

from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.igvm.describe import describe_igvm
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    PARAMETER_TYPES,
    CcaPolicy,
    CorimData,
    ErrorRange,
    GuestPolicy,
    Header,
    HeaderType,
    PageData,
    PageDataType,
    PageFlags,
    Parameter,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    RequiredMemory,
    SnpIdBlock,
    SupportedPlatform,
    UnknownHeader,
    VbsMeasurement,
    VpContext,
)
from sevbuild.igvm.layouts import encode_content, header_type
from sevbuild.igvm.load import load
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import DataRange, MemorySource, data_bytes
from sevbuild.igvm.writer import write_igvm
from sevbuild.vcpu.save_area import build_vmsa

__all__ = [
    "BSP",
    "ID_BLOCK",
    "SNP",
    "VMSA",
    "fuzz_igvm",
    "igvm_files",
    "plain",
    "reseal",
    "sample_files",
    "write_file",
    "write_large",
]

VMSA_PLATFORMS = (PlatformType.SEV_SNP, PlatformType.SEV_ES)

SNP = SupportedPlatform(1, 2, PlatformType.SEV_SNP)
VMSA = build_vmsa({"cr0": 0x10, "efer": 0x1000, "rflags": 2, "rip": 0xFFF0, "sev_features": 1})
"""A VMSA of an SNP guest that every loader takes."""
BSP = VpContext(0xFFFFFFFFF000, 1, VMSA, 0)
ID_BLOCK = SnpIdBlock(
    1, 0, bytes(3), bytes(48), bytes(16), bytes(16), 1, 0, 1, 1,
    bytes(72), bytes(72), 2, 0, bytes(72), bytes(72), bytes(72), bytes(72), 0, 0, bytes(72), bytes(72),
)  # fmt: skip
"""An ID block for a launch digest of zeros."""


def write_file(folder: Path, *headers: Header, name: str = "guest.igvm") -> Path:
    """Write an IGVM file of these headers, and return its path."""
    path = folder / name
    path.write_bytes(write_igvm(IgvmFile(1, headers)))
    return path


def plain(header: Header) -> Header:
    """Return a header with its data as bytes, so that two of them can be compared."""
    data = getattr(header, "data", None)
    changed: Any = header
    return changed._replace(data=data_bytes(data)) if isinstance(data, DataRange) else header


def reseal(data: bytes) -> bytes:
    """Return a file with its checksum and total size made right, where it has a header at all."""
    if len(data) < 32:
        return data
    fixed = bytearray(data[: 32 if data[4] == 2 else 24])
    fixed[16:20] = len(data).to_bytes(4, "little")
    fixed[20:24] = bytes(4)
    start, size = (int.from_bytes(data[at : at + 4], "little") for at in (8, 12))
    fixed[20:24] = crc32(data[start : start + size], crc32(fixed)).to_bytes(4, "little")
    return bytes(fixed) + data[len(fixed) :]


def fuzz_igvm(data: bytes) -> None:
    """Read any bytes as an IGVM file; a valid one must survive writing and reading, and loads or is refused.

    Raises whatever is not a SevbuildError.
    """
    for candidate in (data, reseal(data)):
        with suppress(SevbuildError):
            file = read_igvm(MemorySource(candidate))
            headers = [plain(header) for header in file.headers]
            again = read_igvm(MemorySource(write_igvm(file)))
            if [plain(header) for header in again.headers] != headers:
                raise AssertionError("what was read is not what was written")
            describe_igvm(file)
            maker = UpdateMaker(MemorySource(candidate))
            for loader in LOADERS.values():
                with suppress(SevbuildError):
                    load(file, loader, maker)


def _chunk(draw: st.DrawFn) -> bytes | None:
    fill = draw(st.sampled_from([None, 0, 1, 0xAA, 0xFF]))
    return None if fill is None else draw(st.binary(max_size=16)).ljust(4096, bytes([fill]))


def _bytes(draw: st.DrawFn, size: int) -> bytes:
    return draw(st.binary(min_size=size, max_size=size))


_U8, _U16 = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
_U32, _U64 = st.integers(0, 0xFFFFFFFF), st.integers(0, (1 << 64) - 1)
_GPA = st.integers(0, (1 << 40) - 1).map(lambda page: page * 4096)


def _directive(
    draw: st.DrawFn, platform: SupportedPlatform, mask: int, areas: dict[int, int]
) -> Header | None:
    choice = draw(st.integers(0, 11))
    gpa = draw(_GPA)
    if choice in (4, 5):
        return _of_area(draw, choice, gpa, mask, areas) if areas else None
    if choice == 6:
        return _vp_context(draw, platform, gpa)
    if choice == 7:
        return RequiredMemory(gpa, mask, draw(st.integers(0, 0xFFFFF)) * 4096, draw(st.integers(0, 1)))
    if choice == 8:
        return ErrorRange(gpa, mask, draw(_U32))
    if choice >= 9:
        return _rarely(draw, choice, mask)
    flags = PageFlags(draw(st.sampled_from([0, 2, 4, 6])))
    return PageData(gpa, mask, _chunk(draw), flags, draw(st.sampled_from(PageDataType)))


def _of_area(draw: st.DrawFn, choice: int, gpa: int, mask: int, areas: dict[int, int]) -> Header:
    index = draw(st.sampled_from(sorted(areas)))
    if choice == 4:
        del areas[index]
        return ParameterInsert(gpa, mask, index)
    return Parameter(draw(st.sampled_from(sorted(PARAMETER_TYPES))), index, draw(st.integers(0, 4092)))


def _vp_context(draw: st.DrawFn, platform: SupportedPlatform, gpa: int) -> Header | None:
    kind = platform.platform_type
    if kind == PlatformType.TDX:
        return None
    page = (_chunk(draw) or bytes(4096))[:64].ljust(4096, b"\0")
    if kind == PlatformType.VSM_ISOLATION:
        count = draw(st.integers(1, 3))
        page = count.to_bytes(4, "little") + _bytes(draw, 32 * count)
    padding = draw(st.sampled_from([bytes(4), b"0000"]))
    where = gpa if kind in VMSA_PLATFORMS else 0
    return VpContext(where, platform.compatibility_mask, page, draw(_U16), 0, padding)


def _rarely(draw: st.DrawFn, choice: int, mask: int) -> Header:
    numbers = [draw(_U32) for _ in range(9)]
    if choice == 9:
        content = draw(st.binary(max_size=20))
        padding = _bytes(draw, -len(content) % 8)
        return UnknownHeader(1 << 31 | draw(st.integers(0, 0x3FFFFFFF)), content, padding)
    header: Any
    if choice == 10:
        texts = [_bytes(draw, size) for size in (64, 256, 512)]
        header = VbsMeasurement
        return cast("Header", header(mask, *numbers[:7], *texts))
    header = SnpIdBlock
    keys = [(_bytes(draw, 72), _bytes(draw, 72)) for _ in range(4)]
    texts = [bytes(3), _bytes(draw, 48), _bytes(draw, 16), _bytes(draw, 16)]
    id_key = (*keys[0], numbers[4], 0, *keys[1])
    author_key = (*keys[2], numbers[5], 0, *keys[3])
    enabled = draw(st.integers(0, 1))
    return cast("Header", header(mask, enabled, *texts, *numbers[:4], *id_key, *author_key))


@st.composite
def igvm_files(draw: st.DrawFn) -> IgvmFile:
    """Draw a file that is valid, with headers of every kind."""
    kinds = draw(st.lists(st.sampled_from(PlatformType), min_size=1, max_size=3, unique=True))
    bits = draw(st.lists(st.integers(0, 31), min_size=len(kinds), max_size=len(kinds), unique=True))
    platforms = [
        SupportedPlatform(
            1 << bit,
            draw(st.sampled_from([0, 2])),
            kind,
            1,
            0 if kind in (PlatformType.NATIVE, PlatformType.VSM_ISOLATION) else draw(_U64),
        )
        for bit, kind in zip(bits, kinds, strict=True)
    ]
    everything = sum(platform.compatibility_mask for platform in platforms)
    headers: list[Header] = list(platforms)
    headers += [GuestPolicy(draw(_U64), draw(_U32)) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        headers.append(CorimData(HeaderType.CORIM_DOCUMENT, 1 << bits[0], draw(st.binary(min_size=1))))
        headers.append(CorimData(HeaderType.CORIM_SIGNATURE, 1 << bits[0], draw(st.binary(min_size=1))))
    if draw(st.booleans()):
        headers.append(CcaPolicy(everything, 0, draw(_U64), draw(_U64), draw(_U8), draw(_U8)))
    areas: dict[int, int] = {}
    for index in draw(st.lists(_U32, max_size=3, unique=True)):
        areas[index] = draw(st.integers(1, 3)) * 4096
        initial = draw(st.none() | st.binary(min_size=1, max_size=64))
        headers.append(
            ParameterArea(
                areas[index], index, None if initial is None else initial.ljust(areas[index], b"\0")
            )
        )
    for _ in range(draw(st.integers(0, 12))):
        platform = draw(st.sampled_from(platforms))
        mask = draw(st.sampled_from([platform.compatibility_mask, everything]))
        directive = _directive(draw, platform, mask, areas)
        if directive is not None:
            headers.append(directive)
    headers.append(PageData(draw(_GPA), everything, bytes(4096)))
    version = draw(st.sampled_from([1, 2]))
    architecture = draw(st.integers(0, 1)) if version == 2 else 0
    return IgvmFile(version, tuple(headers), architecture)


def write_large(path: str, mib: int, fill: Callable[[int], bytes] | None = None) -> None:
    """Write a portable SNP file with `mib` MiB of measured pages and one VP context, piece by piece.

    `fill` returns that many bytes; without it the pages are a hole in the file, and read as zeros.
    """
    pages = mib << 8
    small: list[Header] = [SupportedPlatform(1, 0, PlatformType.SEV_SNP), GuestPolicy(0x30000, 1)]
    size = sum(8 + len(encode_content(header, 0, 0)) for header in small) + 32 * pages + 32
    start = 24 + size
    tlv = Struct("<II")
    section = bytearray()
    for header in small:
        content = encode_content(header, 0, 0)
        section += tlv.pack(header_type(header), len(content)) + content
    page = Struct("<IIQIIIHH")
    for number in range(pages):
        section += page.pack(0x302, 24, 0x100000 + 4096 * number, 1, start + 4096 * number, 0, 0, 0)
    section += tlv.pack(0x304, 20) + encode_content(BSP, start + 4096 * pages, 4096) + bytes(4)
    total = start + 4096 * (pages + 1)
    head = bytearray(b"IGVM" + Struct("<IIIII").pack(1, 24, size, total, 0))
    head[20:24] = crc32(section, crc32(head)).to_bytes(4, "little")
    with open(path, "wb") as stream:
        stream.write(head)
        stream.write(section)
        if fill is None:
            stream.seek(4096 * pages, 1)
        else:
            stream.writelines(fill(1 << 20) for _ in range(mib))
        stream.write(VMSA)


def sample_files() -> tuple[bytes, ...]:
    """Return a few valid files that have every part a loader acts on."""
    start: list[Header] = [SNP, GuestPolicy(0x30000, 1)]
    area: list[Header] = [
        ParameterArea(0x2000, 0),
        Parameter(HeaderType.VP_COUNT_PARAMETER, 0),
        ParameterInsert(0x100000, 1, 0),
    ]
    pages: list[Header] = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in range(8)]
    pages += [PageData(0x20000, 1, None, PageFlags(0), kind) for kind in PageDataType]
    last: list[Header] = [
        BSP,
        UnknownHeader(0x80000350, b"12345"),
        RequiredMemory(0, 1, 0x4000),
    ]
    platforms: list[Header] = [
        SupportedPlatform(2, 0, PlatformType.NATIVE),
        UnknownHeader(0x80000002, b""),
        SupportedPlatform(4, 0, PlatformType.VSM_ISOLATION),
        SupportedPlatform(8, 0, PlatformType.SEV_ES),
        SupportedPlatform(16, 0, PlatformType.SEV),
        *start,
    ]
    contexts: list[Header] = [
        VpContext(0, 2, b"\1" * 0xE8, 0),
        VpContext(0, 4, (2).to_bytes(4, "little") + b"\2" * 64, 0),
        VpContext(0xFFFFFFFFF000, 8, VMSA, 0),
        VpContext(0, 16, b"\3" * 0xE8, 0),
    ]
    files = (
        IgvmFile(1, [*start, *area, *pages, *last]),
        IgvmFile(2, [*start, *last[:1], *area, *pages]),
        IgvmFile(2, [*platforms, GuestPolicy(5, 24), PageData(0x1000, 31, b"\1"), *contexts]),
    )
    return tuple(write_igvm(file) for file in files)

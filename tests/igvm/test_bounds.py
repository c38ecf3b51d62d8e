"""The rules of a file at their bounds: what may just be, and what may no longer."""

from __future__ import annotations

import pytest

from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    CcaPolicy,
    CorimData,
    ErrorRange,
    Header,
    HeaderType,
    PageData,
    PageFlags,
    PageTableRelocation,
    Parameter,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    RelocatableRegion,
    RequiredMemory,
    Section,
    SupportedPlatform,
    UnknownHeader,
    VpContext,
    section_of,
)
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.scan import IgvmError, Item, Place
from sevbuild.igvm.source import MemorySource, data_bytes
from sevbuild.igvm.writer import write_igvm
from tests.support.igvm import ID_BLOCK, SNP, plain, reseal

NATIVE = SupportedPlatform(2, 0, PlatformType.NATIVE)
HIGH = SupportedPlatform(1 << 31, 0, PlatformType.SEV_SNP)
PAGE = PageData(0x1000, 1, b"\xaa" * 4096)
VMSA = VpContext(0xFFFFFFFFF000, 1, b"\1" * 4096, 0)
AREA = ParameterArea(0x2000, 7)
INSERT = ParameterInsert(0x40000, 1, 7)
REGION = RelocatableRegion(1, 0, 0, 0, 0x1000, 0x10000, 0x4000, 0x10000, 0x100000)
TABLES = PageTableRelocation(1, 0, 0, 0, 0x20000, 0x2000, 0x1000)
DOCUMENT = CorimData(HeaderType.CORIM_DOCUMENT, 1, b"document")
SIGNATURE = CorimData(HeaderType.CORIM_SIGNATURE, 1, b"signature")
ABOVE = 1 << 64


def _read(*headers: Header, version: int = 1) -> IgvmFile:
    return read_igvm(MemorySource(write_igvm(IgvmFile(version, headers))))


VALID: list[list[Header]] = [
    [SNP, NATIVE, PAGE],
    [SNP, PAGE._replace(gpa=ABOVE - 4096)],
    [SNP, PAGE._replace(gpa=ABOVE - 8192), PAGE._replace(gpa=ABOVE - 4096)],
    [SNP, PAGE, PageData(0x400000, 1, None, PageFlags.IS_2MB_PAGE)],
    [SNP, AREA._replace(number_of_bytes=0x1000), PAGE],
    [SNP, AREA._replace(number_of_bytes=0xFFFFF000), PAGE],
    [SNP, AREA, INSERT._replace(gpa=ABOVE - 0x2000), PAGE],
    [SNP, AREA, Parameter(HeaderType.VP_COUNT_PARAMETER, 7, 0x1FFC), PAGE],
    [SNP, AREA, Parameter(HeaderType.ENVIRONMENT_INFO_PARAMETER, 7, 0x1FFC), PAGE],
    [SNP, AREA, Parameter(HeaderType.MADT, 7, 0x1FFF), PAGE],
    [SNP, TABLES._replace(used_size=0x2000), PAGE],
    [SNP, TABLES._replace(gpa=ABOVE - 0x2000), PAGE],
    [SNP, NATIVE, TABLES, TABLES._replace(compatibility_mask=2), PAGE],
    [SNP, REGION._replace(relocation_region_gpa=ABOVE - 0x4000), VMSA, PAGE],
    # Regions that touch, on either side, and those of different platforms.
    [SNP, REGION, TABLES._replace(gpa=0x14000), VMSA, PAGE],
    [SNP, REGION, TABLES._replace(gpa=0xE000), VMSA, PAGE],
    [SNP, TABLES._replace(gpa=0x14000), REGION, VMSA, PAGE],
    [SNP, TABLES._replace(gpa=0xE000), REGION, VMSA, PAGE],
    [SNP, NATIVE, TABLES._replace(gpa=0x10000, compatibility_mask=2), REGION, VMSA, PAGE],
    [SNP, TABLES, AREA, INSERT._replace(gpa=0x22000), PAGE],
    [SNP, TABLES, AREA, INSERT._replace(gpa=0x1E000), PAGE],
    [SNP, NATIVE, TABLES._replace(compatibility_mask=2), AREA, INSERT._replace(gpa=0x20000), PAGE],
    [SNP, NATIVE, DOCUMENT, DOCUMENT._replace(compatibility_mask=2), SIGNATURE, PAGE],
    [SNP, NATIVE, DOCUMENT._replace(compatibility_mask=3), SIGNATURE._replace(compatibility_mask=3), PAGE],
    [HIGH, DOCUMENT._replace(compatibility_mask=1 << 31), PAGE._replace(compatibility_mask=1 << 31)],
    [SNP, ID_BLOCK._replace(author_key_enabled=1), PAGE],
    [SNP, RequiredMemory(0x1000, 1, 0x1000, 1), PAGE],
    [SNP, PAGE, UnknownHeader(1 << 31, b"")],
    [SNP, UnknownHeader(1 << 31, bytes(16 << 20)), PAGE],
    [NATIVE, VpContext(0, 2, b"\1" * 0xE8, 0), PAGE._replace(compatibility_mask=2)],
]


@pytest.mark.parametrize("headers", VALID)
def test_what_may_just_be(headers: list[Header]) -> None:
    file = _read(*headers)
    assert [type(header) for header in file.headers] == [type(header) for header in headers]
    assert not [warning for warning in file.warnings if "optional" not in warning and "2 MiB" not in warning]


INVALID: list[tuple[list[Header], str]] = [
    ([SNP._replace(compatibility_mask=0), PAGE], "has not exactly one bit"),
    ([SNP._replace(platform_version=0), PAGE], "platform version 0"),
    ([SNP._replace(highest_vtl=3), PAGE], "highest VTL 3"),
    ([SNP, PAGE._replace(gpa=0x1800)], "gpa 0x1800 is not a multiple of 0x1000"),
    (
        [SNP, PAGE, PageData(0x300000, 1, None, PageFlags.IS_2MB_PAGE)],
        "gpa 0x300000 is not a multiple of 0x200000",
    ),
    ([SNP, AREA._replace(number_of_bytes=1 << 32), PAGE], "an area of 0x100000000 bytes"),
    ([SNP, AREA, INSERT._replace(gpa=ABOVE - 0x1000), PAGE], "end above 64 bits"),
    ([SNP, AREA, Parameter(HeaderType.VP_COUNT_PARAMETER, 7, 0x1FFD), PAGE], "0x1ffd is outside"),
    ([SNP, AREA, Parameter(HeaderType.ENVIRONMENT_INFO_PARAMETER, 7, 0x1FFD), PAGE], "0x1ffd is outside"),
    ([SNP, AREA, Parameter(HeaderType.MADT, 7, 0x2000), PAGE], "0x2000 is outside"),
    ([SNP, AREA, INSERT, Parameter(HeaderType.MADT, 7, 0), PAGE], "is already inserted"),
    ([SNP, TABLES._replace(used_size=0x1800), PAGE], "used_size 0x1800 is not a multiple"),
    ([SNP, TABLES._replace(gpa=0x20800), PAGE], "gpa 0x20800 is not a multiple"),
    ([SNP, TABLES._replace(reserved=1), PAGE], "reserved is 0x1"),
    ([SNP, TABLES._replace(gpa=ABOVE - 0x1000), PAGE], "end above 64 bits"),
    ([SNP, NATIVE, TABLES, TABLES._replace(compatibility_mask=3), PAGE], "already has such a region"),
    ([SNP, REGION._replace(relocation_alignment=0), VMSA, PAGE], "alignment 0x0 is not a positive multiple"),
    ([SNP, REGION._replace(relocation_alignment=0x1800), VMSA, PAGE], "alignment 0x1800 is not a positive"),
    ([SNP, REGION._replace(minimum_relocation_gpa=0x800), VMSA, PAGE], "minimum_relocation_gpa 0x800"),
    ([SNP, REGION._replace(relocation_region_gpa=0x800), VMSA, PAGE], "relocation_region_gpa 0x800"),
    ([SNP, REGION._replace(relocation_region_gpa=ABOVE - 0x3000), VMSA, PAGE], "end above 64 bits"),
    ([SNP, REGION, TABLES._replace(gpa=0x13000), VMSA, PAGE], "overlaps the page table region"),
    ([SNP, REGION, TABLES._replace(gpa=0xF000), VMSA, PAGE], "overlaps the page table region"),
    ([SNP, TABLES, AREA, INSERT._replace(gpa=0x1F000), PAGE], "in the page table relocation region"),
    ([SNP, TABLES, AREA, INSERT._replace(gpa=0x21000), PAGE], "in the page table relocation region"),
    (
        [SNP, NATIVE, REGION, VpContext(0, 2, b"\1" * 8, 0), PAGE],
        "virtual processor 0 has no context",
    ),
    ([SNP, REGION._replace(vp_index=1), VMSA, PAGE], "virtual processor 1 has no context"),
    (
        [SNP, NATIVE, DOCUMENT, SIGNATURE._replace(compatibility_mask=3), PAGE],
        "a signature must follow its document",
    ),
    ([SNP, NATIVE, DOCUMENT, DOCUMENT._replace(compatibility_mask=3), PAGE], "already has one"),
    (
        [HIGH, *[DOCUMENT._replace(compatibility_mask=1 << 31)] * 2, PAGE],
        "already has one",
    ),
    ([NATIVE, VpContext(0, 2, bytes(0xE8) + b"\1", 0), PAGE], "bytes after the native context are set"),
    ([SNP, VMSA._replace(compatibility_mask=2), PAGE], "mask 0x2 is not that of one platform"),
    ([SNP, RequiredMemory(0x800, 1, 0x1000), PAGE], "gpa 0x800 is not a multiple"),
    ([SNP, ErrorRange(0x800, 1, 1), PAGE], "gpa 0x800 is not a multiple"),
]


@pytest.mark.parametrize(("headers", "message"), INVALID)
def test_what_may_no_longer_be(headers: list[Header], message: str) -> None:
    with pytest.raises(IgvmError, match=message):
        _read(*headers)


@pytest.mark.parametrize(
    ("header", "warning"),
    [
        (CcaPolicy(1, 1, 0, 0, 0, 0), "reserved bytes of CCA_POLICY are set"),
        (CcaPolicy(1, 0, 0, 0, 0, 0, b"\0\0\0\0\0\1"), "reserved bytes of CCA_POLICY are set"),
        (RequiredMemory(0, 1, 0x1000, 2), "reserved bits of REQUIRED_MEMORY are set"),
        (RequiredMemory(0, 1, 0x1000, 0, 1), "reserved bits of REQUIRED_MEMORY are set"),
        (ID_BLOCK._replace(reserved=b"\0\0\1"), "reserved bytes of SNP_ID_BLOCK are set"),
        (ID_BLOCK._replace(id_key_reserved=1), "reserved bytes of SNP_ID_BLOCK are set"),
        (ID_BLOCK._replace(author_key_reserved=1), "reserved bytes of SNP_ID_BLOCK are set"),
        (VMSA._replace(reserved=1), "reserved bytes of VP_CONTEXT are set"),
        (VMSA._replace(padding=b"0000"), "padding is not zero"),
        (PAGE._replace(compatibility_mask=2), "compatibility mask 0x2 names no platform"),
    ],
)
def test_what_is_tolerated_is_said_once_with_its_place(header: Header, warning: str) -> None:
    headers: list[Header] = [SNP, header, PAGE]
    file = _read(*headers)
    (line,) = file.warnings
    assert line.startswith(f"header 1 at 0x30: {warning}")
    assert "headers)" not in line
    if not isinstance(header, CcaPolicy):
        (line,) = _read(SNP, header, header, header, PAGE).warnings
        assert line.startswith(f"header 1 at 0x30: {warning}")
        assert line.endswith("(3 headers)")


@pytest.mark.parametrize("number", [31, 32, 33])
def test_thirty_two_kinds_of_findings_are_told_apart(number: int) -> None:
    pages = [PageData(0x100000 + 0x2000 * bit, 2 + 2 * bit) for bit in range(number)]
    lines = _read(SNP, *pages, PAGE).warnings
    assert len(lines) == number
    assert ("further findings" in lines[-1]) is (number == 33)


# The data of a page: a file of one platform has it at 0x50, in the header at 0x30.


def _with_offset(offset: int) -> bytes:
    data = bytearray(write_igvm(IgvmFile(1, [SNP, PAGE])))
    assert len(data) == 0x50 + 4096
    data[0x44:0x48] = offset.to_bytes(4, "little")
    return reseal(bytes(data))


def test_the_data_of_a_page_lies_in_the_file_data() -> None:
    read_igvm(MemorySource(_with_offset(0x50)))
    for offset in (1, 0x48, 0x4F, 0x51, 0x1050, 0xFFFFFFFF):
        with pytest.raises(IgvmError, match=rf"header 1 at 0x30 \(PAGE_DATA\): its data, .* at {offset:#x}"):
            read_igvm(MemorySource(_with_offset(offset)))


def test_the_data_of_a_context_lies_in_the_file_data() -> None:
    whole = bytearray(write_igvm(IgvmFile(1, [SNP, VMSA])))
    at = whole.index((len(whole) - 4096).to_bytes(4, "little"), 0x30)
    start = len(whole) - 4096
    for offset, valid in ((start, True), (start - 1, False), (start + 1, False)):
        whole[at : at + 4] = offset.to_bytes(4, "little")
        if valid:
            read_igvm(MemorySource(reseal(bytes(whole))))
        else:
            with pytest.raises(IgvmError, match=r"header 1 at 0x30 \(VP_CONTEXT\): its data"):
                read_igvm(MemorySource(reseal(bytes(whole))))


@pytest.mark.parametrize("cut", [1, 4096, 4097, 3 * 4096, 3 * 4096 + 1])
def test_the_first_page_of_a_run_whose_data_is_missing_is_named(cut: int) -> None:
    pages = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in range(1, 6)]
    data = write_igvm(IgvmFile(1, [SNP, *pages]))
    missing = 1 + 5 - -(-cut // 4096)
    data_offset = 0x30 + 32 * 5 + 4096 * (missing - 1)
    place = f"header {missing} at {0x30 + 32 * (missing - 1):#x}"
    with pytest.raises(IgvmError, match=rf"{place} .*4096 bytes at {data_offset:#x}, "):
        read_igvm(MemorySource(reseal(data[:-cut])))


@pytest.mark.parametrize(
    ("start", "valid"), [(24, False), (31, False), (32, True), (33, False), (36, False), (40, True)]
)
def test_variable_headers_begin_at_a_multiple_of_8_after_the_fixed_ones(start: int, valid: bool) -> None:
    """Each of both conditions alone refuses a file."""
    data = write_igvm(IgvmFile(2, [SNP, PAGE]))
    moved = bytearray(data[:32] + bytes(max(start - 32, 0)) + data[32:])
    moved[8:12] = start.to_bytes(4, "little")
    at = moved.index((len(data) - 4096).to_bytes(4, "little"), 32)
    moved[at : at + 4] = (len(moved) - 4096).to_bytes(4, "little")
    if valid:
        file = read_igvm(MemorySource(reseal(bytes(moved))))
        assert bool(file.warnings) is (start > 32)
    else:
        with pytest.raises(IgvmError, match=f"the variable headers begin at {start:#x}"):
            read_igvm(MemorySource(reseal(bytes(moved))))


def test_a_file_is_a_fixed_header_at_least() -> None:
    data = write_igvm(IgvmFile(1, [SNP, PAGE]))
    with pytest.raises(IgvmError, match="23 bytes is less than a fixed header"):
        read_igvm(MemorySource(data[:23]))
    with pytest.raises(IgvmError, match="the file should have 4176 bytes but has 24"):
        read_igvm(MemorySource(data[:24]))


def test_a_file_has_file_data() -> None:
    data = bytearray(write_igvm(IgvmFile(1, [SNP, PageData(0x1000, 1), UnknownHeader(1 << 31, b""), PAGE])))
    headers = len(data) - 4096
    size = int.from_bytes(data[12:16], "little")
    assert 24 + size == headers
    for end, valid in ((headers + 1, True), (headers, False)):
        # Of the last page there is one byte, or none: what names it comes first, but for a file of headers.
        match = "its data" if valid else "leave no file data"
        with pytest.raises(IgvmError, match=match):
            read_igvm(MemorySource(reseal(bytes(data[:end]))))


def test_a_type_belongs_to_the_section_of_its_range() -> None:
    """The ranges of igvm_defs: 0x1 to 0x100, 0x101 to 0x200, 0x301 to 0x400."""
    ranges = {
        Section.PLATFORM: (0x001, 0x100),
        Section.INITIALIZATION: (0x101, 0x200),
        Section.DIRECTIVE: (0x301, 0x400),
    }
    for section, (first, last) in ranges.items():
        for number in (first, last, 1 << 31 | first, 1 << 31 | last):
            assert section_of(number) == section
    for number in (0, 0x201, 0x300, 0x401, 1 << 31):
        assert section_of(number) is None


def test_a_file_that_is_being_built_has_an_item_for_each_header() -> None:
    headers: list[Header] = [SNP, NATIVE, PAGE, PAGE._replace(gpa=0x2000)]
    assert list(IgvmFile(1, headers).items()) == [
        Item(Place(index, 0), header, 1, 0) for index, header in enumerate(headers)
    ]
    assert IgvmFile(1, headers).platforms == [SNP, NATIVE]


class _Strict(MemorySource):
    """Bytes of which none but those that are there may be asked for, as of a file."""

    def read(self, offset: int, size: int) -> bytes:
        assert offset >= 0
        assert offset + size <= self.size
        return super().read(offset, size)


@pytest.mark.parametrize("headers", VALID)
def test_what_is_read_is_what_was_written_and_nothing_beyond_the_file(headers: list[Header]) -> None:
    data = write_igvm(IgvmFile(1, headers))
    file = read_igvm(_Strict(data))
    whole = [
        header._replace(data=data_bytes(header.data or b"").ljust(4096, b"\0"))
        if isinstance(header, VpContext)
        else header
        for header in headers
    ]
    assert [plain(header) for header in file.headers] == whole
    for item in file.items():
        assert (item.data_offset == 0) is (getattr(item.header, "data", None) is None)


def test_a_list_of_registers_that_breaks_off_is_refused_where_it_stands() -> None:
    vsm = SupportedPlatform(2, 0, PlatformType.VSM_ISOLATION)
    whole = write_igvm(
        IgvmFile(1, [SNP, vsm, PAGE, VpContext(0, 2, (1).to_bytes(4, "little") + bytes(32), 0)])
    )
    read_igvm(_Strict(whole))
    for cut in (1, 32, 33, 35):
        with pytest.raises(IgvmError, match=r"header 3 .*VP_CONTEXT\): its data"):
            read_igvm(_Strict(reseal(whole[:-cut])))


def test_a_page_for_a_platform_that_is_not_there_is_said() -> None:
    (line,) = _read(NATIVE, PAGE).warnings
    assert "compatibility mask 0x1 names no platform" in line
    (line,) = _read(SNP, VMSA._replace(reserved=1), VMSA._replace(reserved=1), PAGE).warnings
    assert line.endswith("(2 headers)")


def test_each_platform_has_a_document_of_its_own() -> None:
    third = SupportedPlatform(4, 0, PlatformType.SEV_ES)
    documents = [DOCUMENT._replace(compatibility_mask=mask) for mask in (1, 2, 4)]
    assert len(_read(SNP, NATIVE, third, *documents, PAGE).headers) == 7


def test_what_cannot_be_written_is_named_with_its_place() -> None:
    with pytest.raises(IgvmError, match=r"header 2 at 0x50 \(PAGE_DATA\): 4097 bytes of data; it holds 4096"):
        _read(SNP, PAGE, PAGE._replace(gpa=0x2000, data=bytes(4097)))
    with pytest.raises(IgvmError, match="4294967296 bytes are more than a file has"):
        _read(SNP, AREA._replace(number_of_bytes=1 << 32, data=b"1"), PAGE)


def test_a_hint_says_what_a_file_of_another_kind_is() -> None:
    with pytest.raises(IgvmError, match="not with IGVM") as caught:
        read_igvm(_Strict(b"\x7fELF" + bytes(100)))
    assert (caught.value.hint or "").startswith("it is ")
    with pytest.raises(IgvmError, match="not with IGVM") as caught:
        read_igvm(_Strict(b"\1\2\3\4" * 25))
    assert caught.value.hint is None

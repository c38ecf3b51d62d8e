"""From a launch plan to a file: what stands in it, and where a plan or a place is at its limit."""

from __future__ import annotations

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.igvm.build import ParameterPlaces, _required, igvm_of_plan, parameter_places
from sevbuild.igvm.headers import (
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
    SupportedPlatform,
    VpContext,
)
from sevbuild.image.igvm_areas import IgvmArea
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate

TOP = 0xFFFFFFFFF000
NOISE = b"".join(bytes([number]) * 4096 for number in range(1, 5))
FLASH = LaunchUpdate(0xFFFFC000, PageType.NORMAL, 0x4000, NOISE, "firmware")


def _update(gpa: int, pages: int = 1, kind: PageType = PageType.SECRETS) -> LaunchUpdate:
    data = bytes(pages * 4096) if kind == PageType.NORMAL else None
    return LaunchUpdate(gpa, kind, pages * 4096, data, f"at {gpa:#x}")


def _plan(*regions: LaunchUpdate, mode: str = "snp", vmsas: int = 0) -> LaunchPlan:
    pages = tuple(
        LaunchUpdate(TOP, PageType.VMSA, 4096, bytes([number]) * 4096, f"vmsa {number}")
        for number in range(vmsas)
    )
    return LaunchPlan(mode, 0x30000, None, regions, pages)  # type: ignore[arg-type]


def _headers(plan: LaunchPlan, parameters: ParameterPlaces | None = None) -> list[Header]:
    return list(igvm_of_plan(plan, parameters=parameters).headers)


def _required_of(*regions: LaunchUpdate) -> list[tuple[int, int]]:
    headers = _headers(_plan(*regions))
    return [(it.gpa, it.number_of_bytes) for it in headers if isinstance(it, RequiredMemory)]


def test_a_plan_stands_in_a_file_header_by_header() -> None:
    cpuid = _update(0x3000, kind=PageType.CPUID)
    unmeasured = _update(0x4000, 2, PageType.UNMEASURED)
    assert _headers(_plan(FLASH, _update(0x2000), cpuid, unmeasured, vmsas=2)) == [
        SupportedPlatform(1, 0, PlatformType.SEV_SNP),
        GuestPolicy(0x30000, 1),
        RequiredMemory(0x2000, 1, 0x4000),
        *(PageData(0xFFFFC000 + 4096 * n, 1, NOISE[4096 * n : 4096 * (n + 1)]) for n in range(4)),
        PageData(0x2000, 1, None, PageFlags(0), PageDataType.SECRETS),
        PageData(0x3000, 1, None, PageFlags(0), PageDataType.CPUID_DATA),
        PageData(0x4000, 1, None, PageFlags.UNMEASURED),
        PageData(0x5000, 1, None, PageFlags.UNMEASURED),
        VpContext(TOP, 1, bytes(4096), 0),
        VpContext(TOP, 1, b"\1" * 4096, 1),
    ]
    assert igvm_of_plan(_plan(FLASH)).version == 1
    plain = _headers(_plan(FLASH, _update(0x2000, kind=PageType.NORMAL), mode="sev"))
    assert [type(header) for header in plain[:3]] == [SupportedPlatform, GuestPolicy, PageData]


def test_required_memory_is_what_is_launched_in_one_piece() -> None:
    assert _required_of(FLASH) == []
    assert _required_of(_update(0), FLASH) == [(0, 0x1000)]
    # Neighbours are one piece whatever their order; a gap, even of a page, parts two.
    assert _required_of(_update(0x3000), _update(0x1000, 2), _update(0x5000), _update(0x6000, 3)) == [
        (0x1000, 0x3000),
        (0x5000, 0x4000),
    ]


def test_required_memory_is_counted_in_32_bits() -> None:
    assert _required(0x1000, 1 << 32).number_of_bytes == (1 << 32) - 0x1000
    with pytest.raises(SevbuildError, match="4294967296 bytes of memory in one piece"):
        _required(0, 1 << 32)


def test_contents_may_be_read_from_where_they_lie() -> None:
    class Stored:
        def __len__(self) -> int:
            return len(NOISE)

        def read(self, start: int, end: int) -> bytes:
            return NOISE[start:end]

    assert _headers(_plan(FLASH._replace(data=Stored()))) == _headers(_plan(FLASH))


def test_a_region_that_is_no_whole_page_has_a_page() -> None:
    (page,) = _headers(_plan(LaunchUpdate(0x1000, PageType.NORMAL, 176, b"h" * 176, "hashes"), mode="sev"))[
        2:
    ]
    assert page == PageData(0x1000, 1, b"h" * 176)


PLACES = ParameterPlaces(0x10000, 0x2000, 0, 0x10)


def test_parameters_are_inserted_ahead_of_pages() -> None:
    headers = _headers(_plan(FLASH), PLACES)
    assert headers[2:6] == [
        ParameterArea(0x2000, 0),
        Parameter(HeaderType.MEMORY_MAP, 0, 0),
        Parameter(HeaderType.VP_COUNT_PARAMETER, 0, 0x10),
        ParameterInsert(0x10000, 1, 0),
    ]
    bare = _headers(_plan(FLASH), ParameterPlaces(0x10000, 0x2000, None, None))
    assert bare[2:4] == [ParameterArea(0x2000, 0), ParameterInsert(0x10000, 1, 0)]


def _gpas(update: LaunchUpdate) -> list[int]:
    return [it.gpa for it in _headers(_plan(update), PLACES) if isinstance(it, PageData)]


@pytest.mark.parametrize(
    ("gpa", "pages", "left"),
    [
        (0xF000, 1, [0xF000]),
        (0xF000, 2, [0xF000]),
        (0xF000, 4, [0xF000, 0x12000]),
        (0x10000, 2, []),
        (0x11000, 2, [0x12000]),
        (0x12000, 1, [0x12000]),
    ],
)
def test_pages_leave_the_places_of_parameters(gpa: int, pages: int, left: list[int]) -> None:
    for kind in (PageType.NORMAL, PageType.UNMEASURED):
        assert _gpas(_update(gpa, pages, kind)) == left


def test_parameters_lie_over_zeros_alone() -> None:
    """Four pages from 0xf000, of which the two in the middle give way: these must be zeros."""
    for page, refused in ((0, False), (1, True), (2, True), (3, False)):
        for byte in (0, 4095):
            data = bytearray(0x4000)
            data[page * 4096 + byte] = 1
            update = LaunchUpdate(0xF000, PageType.NORMAL, 0x4000, bytes(data), "memory")
            if refused:
                with pytest.raises(SevbuildError, match="lie over memory, which has contents"):
                    _gpas(update)
            else:
                assert _gpas(update) == [0xF000, 0x12000]
    for gpa in (0x8000, 0xC000, 0x12000, 0x14000):
        assert len(_gpas(FLASH._replace(gpa=gpa))) == 4


def test_what_a_file_cannot_hold() -> None:
    for plan, message in (
        (_plan(_update(0, kind=PageType.ZERO)), "loaders differ in what a page of type ZERO is"),
        (_plan(FLASH)._replace(seed=bytes(48)), "requires the firmware itself"),
        (_plan()._replace(vmsas=(_update(TOP, kind=PageType.VMSA),)), "without contents"),
    ):
        with pytest.raises(SevbuildError, match=message):
            igvm_of_plan(plan)


AREA = IgvmArea(0x10000, 0x2000, 0x100)


@pytest.mark.parametrize(
    ("areas", "places"),
    [
        ([AREA], (0x10000, 0x2000, None, None)),
        ([AREA._replace(size=0x1000)], (0x10000, 0x1000, None, None)),
        ([AREA._replace(base=0)], (0, 0x2000, None, None)),
        ([AREA, IgvmArea(0x1F00, 0x100, 0x101)], (0x10000, 0x2000, 0x1F00, None)),
        ([AREA, IgvmArea(0, 0x2000, 0x101), IgvmArea(8, 4, 0x102)], (0x10000, 0x2000, 0, 8)),
        # The first of a kind counts.
        ([AREA, AREA._replace(base=0x50000), IgvmArea(4, 4, 0x102), IgvmArea(8, 4, 0x102)], (0x10000, 0x2000, None, 4)),
    ],
)  # fmt: skip
def test_places_that_a_firmware_names(areas: list[IgvmArea], places: tuple[int | None, ...]) -> None:
    assert parameter_places(tuple(areas)) == places


@pytest.mark.parametrize(
    "areas",
    [
        [],
        [AREA._replace(size=0)],
        [AREA._replace(size=-0x1000)],
        [AREA._replace(size=0x1800)],
        [AREA._replace(base=0x10800)],
        [AREA, IgvmArea(0x1F01, 0x100, 0x101)],
        [AREA, IgvmArea(0x2000, 1, 0x102)],
    ],
)
def test_places_that_cannot_be(areas: list[IgvmArea]) -> None:
    with pytest.raises(SevbuildError):
        parameter_places(tuple(areas))

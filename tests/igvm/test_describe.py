"""An IGVM file in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sevbuild.igvm.describe import describe_igvm
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
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
    VpContext,
)
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.vcpu.save_area import build_vmsa

SNP = SupportedPlatform(1, 2, PlatformType.SEV_SNP, 1, 0x1000)
POLICY = GuestPolicy(0x30000, 1)
PAGE = PageData(0x1000, 1, b"\xaa" * 4096)
REGISTERS = {"cr0": 0x10, "efer": 0x1000, "rflags": 2, "rip": 0xFFF0, "sev_features": 0x21}
BSP = VpContext(0xFFFFFFFFF000, 1, build_vmsa({**REGISTERS, "cs": {"base": 0xFFFF0000}}), 0)
ID_BLOCK = SnpIdBlock(
    1, 1, bytes(3), b"d" * 48, b"f" * 16, b"i" * 16, 2, 3, 1, 1,
    bytes(72), bytes(72), 2, 0, bytes(72), bytes(72), bytes(72), bytes(72), 0, 0, bytes(72), bytes(72),
)  # fmt: skip


def _described(*headers: Header, version: int = 1, architecture: int = 0) -> dict[str, Any]:
    data = write_igvm(IgvmFile(version, headers, architecture))
    description = describe_igvm(read_igvm(MemorySource(data)))
    assert json.loads(json.dumps(description)) == description
    return description


def test_a_description_says_what_each_header_says() -> None:
    found = _described(
        SNP,
        POLICY,
        CorimData(HeaderType.CORIM_DOCUMENT, 1, b"document"),
        ID_BLOCK,
        RequiredMemory(0x1000, 1, 0x4000),
        UnknownHeader(0x80000350, b"12345"),
        ErrorRange(0x50000, 1, 0x1000),
        PAGE,
        BSP,
    )
    assert (found["version"], found["architecture"], found["page_size"], found["headers"]) == (
        1,
        "x64",
        4096,
        9,
    )
    assert found["platforms"] == [
        {"header": 0, "mask": "0x1", "platform": "sev_snp", "highest_vtl": 2, "shared_gpa_boundary": "0x1000"}
    ]
    assert found["policies"] == [{"header": 1, "mask": "0x1", "policy": "0x30000"}]
    assert found["required_memory"] == [{"header": 4, "mask": "0x1", "gpa": "0x1000", "size": "0x4000"}]
    (block,) = found["id_blocks"]
    assert (block["launch_digest"], block["version"], block["guest_svn"], block["author_key"]) == (
        "64" * 48,
        2,
        3,
        True,
    )
    corim, unknown, error = found["other"]
    assert (corim["type"], corim["size"]) == ("corim_document", 8)
    assert (unknown["type"], unknown["size"]) == ("type 0x80000350", 5)
    assert (error["header"], error["type"], error["gpa"]) == (6, "error_range", "0x50000")
    (context,) = found["vp_contexts"]
    assert (context["platform"], context["gpa"], context["vp_index"]) == ("sev_snp", "0xfffffffff000", 0)
    assert context["registers"] == {
        "cs.base": "0xffff0000", "ss.base": "0x0", "rip": "0xfff0", "cr0": "0x10", "cr3": "0x0", "cr4": "0x0",
        "efer": "0x1000", "rdx": "0x0", "sev_features": "0x21",
    }  # fmt: skip
    assert context["sev_features"] == ["snp-active", "debug-swap"]


def test_a_file_for_arm_says_so() -> None:
    assert _described(SNP, PAGE, version=2, architecture=1)["architecture"] == "aarch64"


def test_a_file_is_portable_where_it_breaks_no_rule() -> None:
    good = _described(SNP, POLICY, PAGE, BSP)
    assert (good["portable"], good["breaches"]) == (True, [])
    bad = _described(SNP, POLICY, PAGE._replace(flags=PageFlags.SHARED), BSP)
    assert bad["portable"] is False
    assert [(breach["rule"], breach["header"]) for breach in bad["breaches"]] == [("page flags", 2)]


def _regions(*pages: PageData) -> list[tuple[int, str, int, bool]]:
    regions = _described(SNP, POLICY, *pages, BSP)["regions"]
    return [(entry["header"], entry["gpa"], entry["pages"], entry["data"]) for entry in regions]


def test_pages_alike_are_one_region_wherever_their_data_lies() -> None:
    # The third has the data of the first, so that its file offset does not follow.
    again = [PAGE, PAGE._replace(gpa=0x2000, data=b"\xbb" * 4096), PAGE._replace(gpa=0x3000)]
    assert _regions(*again) == [(2, "0x1000", 3, True)]
    assert _regions(*again, PAGE._replace(gpa=0x4000, data=b"\xcc" * 4096)) == [(2, "0x1000", 4, True)]
    assert _regions(*[PageData(0x1000 * n, 1) for n in (1, 2, 3)], PAGE._replace(gpa=0x9000)) == [
        (2, "0x1000", 3, False),
        (5, "0x9000", 1, True),
    ]


@pytest.mark.parametrize(
    "other",
    [
        PAGE._replace(gpa=0x3000),
        PAGE._replace(gpa=0x1000),
        PAGE._replace(gpa=0x5000),
        PAGE._replace(gpa=0x2000, data=None),
        PAGE._replace(gpa=0x2000, flags=PageFlags.UNMEASURED),
        PAGE._replace(gpa=0x2000, data_type=PageDataType.SECRETS),
        PAGE._replace(gpa=0x2000, compatibility_mask=3),
    ],
)
def test_pages_that_differ_or_lie_apart_are_regions_of_their_own(other: PageData) -> None:
    assert [pages for _, _, pages, _ in _regions(PAGE, other)] == [1, 1]


def test_a_region_says_its_type_and_flags() -> None:
    cpuid = PageData(0x5000, 1, None, PageFlags.UNMEASURED | PageFlags.SHARED, PageDataType.CPUID_DATA)
    plain, flagged = _described(SNP, POLICY, PAGE, cpuid, BSP)["regions"]
    assert (plain["mask"], plain["type"], plain["flags"]) == ("0x1", "normal", [])
    assert (flagged["type"], sorted(flagged["flags"])) == ("cpuid_data", ["shared", "unmeasured"])


def test_parameter_areas_say_where_they_are_inserted() -> None:
    found = _described(
        SNP,
        POLICY,
        ParameterArea(0x1000, 4, b"initial"),
        ParameterArea(0x2000, 5),
        ParameterArea(0x1000, 6),
        Parameter(HeaderType.VP_COUNT_PARAMETER, 5, 8),
        ParameterInsert(0x100000, 1, 5),
        ParameterInsert(0x200000, 1, 4),
        PAGE,
        BSP,
    )
    areas = found["parameter_areas"]
    assert [(area["header"], area["index"], area["inserted_at"]) for area in areas] == [
        (2, 4, "0x200000"),
        (3, 5, "0x100000"),
        (4, 6, None),
    ]
    assert [area["initial_data"] for area in areas] == [True, False, False]
    (parameter,) = found["parameters"]
    assert parameter["header"] == 5
    assert len(found["regions"]) == len(found["vp_contexts"]) == 1

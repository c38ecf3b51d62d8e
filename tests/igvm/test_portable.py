"""The rules by which one file has one digest everywhere, at their bounds."""

from __future__ import annotations

import pytest

from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    GuestPolicy,
    Header,
    PageData,
    PageFlags,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    SupportedPlatform,
    VpContext,
)
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.igvm import BSP, SNP

SEV_ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
SEV = SupportedPlatform(4, 0, PlatformType.SEV)
NATIVE = SupportedPlatform(8, 0, PlatformType.NATIVE)
POLICY = GuestPolicy(0x30000, 15)
PAGE = PageData(0x10000, 15, b"\xaa" * 4096)
ZERO = PAGE._replace(data=None)
TOP = 0xFFFFFFFFF000
ES_VP = VpContext(TOP, 2, build_vmsa({"cr0": 0x10, "efer": 0x1000, "rflags": 2}), 0)
NATIVE_VP = VpContext(0, 8, b"\1" * 0xE8, 0)


def _rules(*headers: Header) -> list[tuple[str, int]]:
    data = write_igvm(IgvmFile(1, headers))
    return [(breach.rule, breach.header) for breach in portable_breaches(read_igvm(MemorySource(data)))]


def _area(gpa: int, size: int = 0x1000) -> list[Header]:
    return [ParameterArea(size, 0), ParameterInsert(gpa, 15, 0)]


@pytest.mark.parametrize(
    ("headers", "rules"),
    [
        ([SNP, POLICY, PAGE._replace(gpa=0), PAGE._replace(gpa=0x1000), BSP], []),
        ([SNP, POLICY, PAGE, PAGE._replace(gpa=0x11000), PAGE._replace(gpa=0x11000), BSP], [("order", 4)]),
        ([SNP, POLICY, PAGE, PAGE._replace(gpa=0xF000), BSP], [("order", 3)]),
        ([SNP, POLICY, ZERO, BSP, PageData(0, 15, b"1")], [("zero pages", 2), ("order", 4), ("order", 4)]),
        ([SNP, POLICY, ZERO._replace(flags=PageFlags.UNMEASURED), PAGE._replace(gpa=0x11000), BSP], []),
        ([SNP, POLICY, *_area(0x1000), PAGE, BSP], []),
        ([SNP, POLICY, *_area(0x1000, 0x2000), PAGE, BSP], [("parameter areas", 3)]),
        ([SNP, POLICY, *_area(0x20000), PAGE, BSP], [("parameter areas", 3)]),
        ([SNP, POLICY, *_area(0x18000), PAGE._replace(gpa=0x20000), PAGE, BSP], [("parameter areas", 3), ("order", 5)]),
        ([NATIVE, PAGE], [("platforms", 0)]),
        # The VMSAs of one platform, whatever else there is.
        ([SNP, SEV_ES, POLICY, PAGE, BSP], []),
        ([SNP, NATIVE, POLICY, PAGE, BSP, NATIVE_VP], []),
        ([SNP, SEV_ES, POLICY, PAGE, BSP, ES_VP], [("platforms", 5)]),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_and_what_does_not(headers: list[Header], rules: list[tuple[str, int]]) -> None:
    assert _rules(*headers) == rules


def test_a_context_of_sev_is_no_vmsa() -> None:
    found = _rules(SNP, SEV, POLICY, PAGE, BSP, VpContext(0, 4, b"\1" * 0xE8, 0))
    assert found == [("VP contexts", 5)]

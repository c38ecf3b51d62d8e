"""Layouts: what each profile launches, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import Area, Firmware, Metadata, Section, parse_firmware
from sevbuild.image.svsm import Svsm
from sevbuild.launch.page_type import PageType
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.manifest.profiles import load_profile
from sevbuild.vcpu.save_area import parse_vmsa
from tests.support.firmware import make_firmware

SECTIONS = [
    (0x800000, 0x9000, 1),
    (0x80E000, 0x1000, 3),
    (0x80D000, 0x1000, 2),
    (0x80F000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
    (0x820000, 0x1000, 9),
]
HASHES = KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32)


def _firmware(**more: Any) -> Firmware:
    options: dict[str, Any] = {
        "sections": SECTIONS,
        "reset": 0x80B004,
        "hash_table": (0x810C00, 0x400),
        **more,
    }
    return parse_firmware(make_firmware(**options))


def _plan(profile: str = "qemu", inputs: GuestInputs | None = None, **more: Any) -> Any:
    shape = LaunchShape(
        "snp", load_profile(profile).rules.launch, "profile", 0x30000, 1, 0xA00F11, 1
    )._replace(**more)
    return Planner().plan(inputs or GuestInputs(_firmware(), None, HASHES), shape)


def _layout(plan: Any) -> list[tuple[str, PageType]]:
    return [(update.origin, update.page_type) for update in plan.regions]


def test_qemu_launches_sections_in_table_order() -> None:
    assert _layout(_plan()) == [
        ("firmware", PageType.NORMAL),
        ("section 0 (snp-sec-mem)", PageType.ZERO),
        ("section 1 (cpuid)", PageType.CPUID),
        ("section 2 (snp-secrets)", PageType.SECRETS),
        ("section 3 (svsm-caa)", PageType.ZERO),
        ("section 4 (kernel-hashes)", PageType.NORMAL),
        ("section 5 (0x9)", PageType.ZERO),
    ]


def test_ec2_launches_the_cpuid_page_last() -> None:
    assert [origin for origin, _ in _layout(_plan("ec2"))][-2:] == ["section 5 (0x9)", "section 1 (cpuid)"]


def test_gce_does_not_measure_its_memory() -> None:
    assert _layout(_plan("gce"))[1] == ("section 0 (snp-sec-mem)", PageType.UNMEASURED)
    assert _plan("gce-genoa").vmsas[0].gpa == 0xFFFFFFFFFF000
    assert _plan("gce").vmsas[0].gpa == 0xFFFFFFFFF000


def test_without_a_kernel_the_hash_page_is_zero() -> None:
    plan = _plan(inputs=GuestInputs(_firmware(), None, None))
    assert _layout(plan)[5] == ("section 4 (kernel-hashes)", PageType.ZERO)
    assert _layout(_plan("qemu", GuestInputs(_firmware(), None, None), mode="sev", policy=1)) == [
        ("firmware", PageType.NORMAL)
    ]


def test_sev_launches_the_table_itself() -> None:
    plan = _plan(mode="sev", policy=0x1)
    assert [(update.origin, update.gpa, update.length) for update in plan.regions] == [
        ("firmware", 0xFFFF0000, 0x10000),
        ("kernel-hashes", 0x810C00, 176),
    ]
    assert plan.vmsas == ()
    es = _plan(mode="sev-es", policy=0x5, vcpus=3)
    assert es.regions == plan.regions
    assert [update.origin for update in es.vmsas] == ["vmsa 0", "vmsa 1", "vmsa 2"]


def test_application_processors_start_at_the_reset_block() -> None:
    bsp, ap, last = (parse_vmsa(update.data) for update in _plan(vcpus=3).vmsas)
    assert (bsp["rip"], bsp["cs"]) == (
        0xFFF0,
        {"selector": 0xF000, "attributes": 0x9B, "limit": 0xFFFF, "base": 0xFFFF0000},
    )
    assert (ap["rip"], ap["cs"]) == (
        0xB004,
        {"selector": 0xF000, "attributes": 0x9B, "limit": 0xFFFF, "base": 0x800000},
    )
    assert ap == last
    assert {name for name in bsp if bsp[name] != ap[name]} == {"rip", "cs"}


@pytest.mark.parametrize(
    ("profile", "mode", "expected"),
    [
        (
            "qemu",
            "snp",
            {
                "mxcsr": 0x1F80,
                "x87_fcw": 0x37F,
                "rdx": 0xA00F11,
                "sev_features": 1,
                "g_pat": 0x0007040600070406,
            },
        ),
        ("qemu", "sev-es", {"mxcsr": 0, "x87_fcw": 0, "rdx": 0xA00F11}),
        ("qemu-es-init2", "sev-es", {"mxcsr": 0x1F80, "x87_fcw": 0x37F}),
        ("ec2", "snp", {"mxcsr": 0, "x87_fcw": 0, "rdx": 0x600}),
        ("ec2-rdx0", "snp", {"rdx": 0}),
        ("gce", "snp", {"rdx": 0x600, "g_pat": 0x70106, "mxcsr": 0, "x87_fcw": 0}),
    ],
)
def test_registers_of_profiles(profile: str, mode: str, expected: dict[str, int]) -> None:
    policy = 0x30000 if mode == "snp" else 0x5
    page = parse_vmsa(_plan(profile, mode=mode, policy=policy).vmsas[0].data)
    assert {name: page[name] for name in expected} == expected
    common = {
        "efer": 0x1000,
        "cr0": 0x10,
        "cr4": 0x40,
        "dr6": 0xFFFF0FF0,
        "dr7": 0x400,
        "rflags": 2,
        "xcr0": 1,
    }
    assert {name: page[name] for name in common} == common


def test_ec2_differs_in_segments_too() -> None:
    bsp, ap = (parse_vmsa(update.data) for update in _plan("ec2", vcpus=2).vmsas)

    def attributes(page: Any, name: str) -> int:
        return int(page[name]["attributes"])

    assert [attributes(bsp, name) for name in ("cs", "ss", "tr")] == [0x9A, 0x92, 0x83]
    assert [attributes(ap, name) for name in ("cs", "ss", "tr")] == [0x9B, 0x92, 0x83]


def test_equal_regions_are_one_object() -> None:
    planner = Planner()
    inputs = GuestInputs(_firmware(), None, HASHES)
    shape = LaunchShape("snp", load_profile("qemu").rules.launch, "profile", 0x30000, 4, 0xA00F11, 1)
    one, other = (
        planner.plan(inputs, shape),
        planner.plan(inputs, shape._replace(vcpus=2, signature=0x800F12)),
    )
    assert all(mine is yours for mine, yours in zip(one.regions, other.regions, strict=True))
    third = planner.plan(inputs, shape._replace(vcpus=3))
    assert all(mine is yours for mine, yours in zip(one.vmsas[:3], third.vmsas, strict=True))
    assert inputs.firmware is not None
    assert one.regions[0].data is _data(inputs)


def _data(inputs: GuestInputs) -> bytes:
    assert isinstance(inputs.firmware, Firmware)
    return inputs.firmware.data


def test_a_seed_stands_for_the_firmware() -> None:
    firmware = _firmware()
    seed = FirmwareSeed(b"s" * 48, firmware.metadata._replace(hash_table=Area(0x810C00, 0)))
    plan = _plan(inputs=GuestInputs(seed, None, HASHES))
    assert plan.seed == b"s" * 48
    assert plan.regions == _plan(inputs=GuestInputs(firmware, None, HASHES)).regions[1:]


SEED = FirmwareSeed(b"s" * 48, Metadata((), 0x80B004, Area(0x810C00, 0)))
SVSM = Svsm(None, 0x1000, 0x1040, (Section(0, 0x1000, 1),))


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        (GuestInputs(_firmware(sections=None), None, None), {}, "no SEV metadata"),
        (GuestInputs(_firmware(hash_table=None), None, HASHES), {}, "no area for kernel hashes"),
        (GuestInputs(_firmware(hash_table=(0, 0)), None, HASHES), {}, "no area for kernel hashes"),
        (GuestInputs(_firmware(hash_table=(0x810C00, 100)), None, HASHES), {}, "has 100 bytes; the table needs 176"),
        (GuestInputs(_firmware(hash_table=None), None, HASHES), {"mode": "sev", "policy": 1}, "no area for kernel hashes"),
        (GuestInputs(_firmware(sections=SECTIONS[:4]), None, HASHES), {}, "no kernel-hashes section"),
        (GuestInputs(_firmware(hash_table=(0x900C00, 0x400)), None, HASHES), {}, "0x900c00 is not in the one page of section 4"),
        (GuestInputs(_firmware(hash_table=(0x810FF0, 0x400)), None, HASHES), {}, "cross the end of its page"),
        (GuestInputs(_firmware(reset=None), None, None), {"vcpus": 2}, "no SEV-ES reset block"),
        (GuestInputs(_firmware(reset=0), None, None), {"vcpus": 2}, "no SEV-ES reset block"),
        (GuestInputs(_firmware(sections=[(1, 2, 1)]), None, None), {}, "not made of whole pages"),
        (GuestInputs(SEED, None, None), {"mode": "sev", "policy": 1}, "a seed is an SNP digest"),
        (GuestInputs(SEED, None, None), {"order": "canonical"}, "fixes the firmware as the first region"),
        (GuestInputs(_firmware(), SVSM, None), {}, "does not launch an SVSM"),
    ],
)  # fmt: skip
def test_what_no_host_can_launch(inputs: GuestInputs, more: dict[str, Any], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        _plan(inputs=inputs, **more)


def test_an_svsm_profile_needs_an_svsm() -> None:
    with pytest.raises(SevbuildError, match="requires an SVSM"):
        _plan("svsm-qemu", GuestInputs(_firmware(), None, None))
    plan = _plan("svsm-qemu", GuestInputs(_firmware(), SVSM._replace(data=bytes(0x1000)), None), vcpus=2)
    assert _layout(plan) == [
        ("firmware", PageType.NORMAL),
        ("svsm", PageType.NORMAL),
        ("section 0 (snp-sec-mem)", PageType.ZERO),
    ]
    assert [parse_vmsa(update.data)["rip"] for update in plan.vmsas] == [0x1040, 0x1040]


def test_a_profile_that_cannot() -> None:
    with pytest.raises(SevbuildError, match="the profile cannot launch sev"):
        _plan("ec2", mode="sev")


def test_profiles_may_refuse_or_measure_one_vcpu() -> None:
    launch = load_profile("qemu").rules.launch
    strict = launch._replace(page_types={**launch.page_types, "unknown": None})
    with pytest.raises(SevbuildError, match=r"refuses section 5 \(0x9\)"):
        Planner().plan(
            GuestInputs(_firmware(), None, HASHES),
            LaunchShape("snp", strict, "profile", 0x30000, 1, 0, 1),
        )
    lone = launch._replace(measured_vcpus="bsp")
    shape = LaunchShape("snp", lone, "profile", 0x30000, 9, 0, 1)
    assert len(Planner().plan(GuestInputs(_firmware(), None, HASHES), shape).vmsas) == 1


def test_a_profile_cannot_measure_what_it_has_no_contents_for() -> None:
    launch = load_profile("qemu").rules.launch
    odd = launch._replace(page_types={**launch.page_types, "cpuid": PageType.NORMAL})
    shape = LaunchShape("snp", odd, "profile", 0x30000, 1, 0, 1)
    with pytest.raises(SevbuildError, match=r"gives no contents for section 1 \(cpuid\)"):
        Planner().plan(GuestInputs(_firmware(), None, HASHES), shape)

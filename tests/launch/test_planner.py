"""Layouts: what each profile launches, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import Area, Firmware, Metadata, Section, parse_firmware
from sevbuild.image.svsm import Svsm
from sevbuild.launch.page_type import SECTION_PAGE_TYPES, PageType, page_type_named, page_type_word
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


def _shape(profile_name: str = "qemu", **more: Any) -> LaunchShape:
    launch = load_profile(profile_name).rules.launch
    return LaunchShape("snp", launch, "profile", 0x30000, 1, 0xA00F11, 1)._replace(**more)


def _plan(profile: str = "qemu", inputs: GuestInputs | None = None, **more: Any) -> Any:
    return Planner().plan(inputs or GuestInputs(_firmware(), None, HASHES), _shape(profile, **more))


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
def test_profiles_set_the_registers(profile: str, mode: str, expected: dict[str, int]) -> None:
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
        (GuestInputs(_firmware(hash_table=(0x811000, 0x400)), None, HASHES), {}, "0x811000 is not in the one page of section 4"),
        (GuestInputs(_firmware(hash_table=(0x810C00, 175)), None, HASHES), {}, "has 175 bytes; the table needs 176"),
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
    launch = load_profile("svsm-qemu").rules.launch
    with pytest.raises(SevbuildError, match="starts vCPUs in one"):
        _plan(
            launch=launch._replace(regions={"snp": ("firmware",)}),
            inputs=GuestInputs(_firmware(), None, None),
        )
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


def test_a_seeded_svsm_is_not_launched_again() -> None:
    plan = _plan("svsm-qemu", GuestInputs(SEED, SVSM, None))
    assert plan.seed == SEED.seed
    assert _layout(plan) == [("section 0 (snp-sec-mem)", PageType.ZERO)]


@pytest.mark.parametrize("base", [1, 0xC00])
def test_a_planner_keeps_tables_and_their_pages_apart(base: int) -> None:
    inputs = GuestInputs(_firmware(sections=[(0, 0x1000, 0x10)], hash_table=(base, 0x300)), None, HASHES)
    planner = Planner()
    for mode, length in (("sev", 176), ("snp", 0x1000), ("sev", 176)):
        shape = _shape(mode=mode)
        assert planner.plan(inputs, shape).regions[-1].length == length


@pytest.mark.parametrize("table", [(0x810000, 176), (0x810F50, 176)])
def test_a_hash_table_may_fill_its_area_and_lie_anywhere_in_its_page(table: tuple[int, int]) -> None:
    update = _plan(inputs=GuestInputs(_firmware(hash_table=table), None, HASHES)).regions[5]
    assert (update.origin, update.gpa) == ("section 4 (kernel-hashes)", 0x810000)
    at = table[0] & 0xFFF
    assert update.data[at : at + 16] != bytes(16)
    assert not any(update.data[:at])


def test_written_zeros_are_bounded() -> None:
    launch = load_profile("qemu").rules.launch
    written = launch._replace(page_types={**launch.page_types, "snp-sec-mem": PageType.NORMAL})

    def plan(size: int) -> Any:
        inputs = GuestInputs(_firmware(sections=[(0x10000000, size, 1)]), None, None)
        return Planner().plan(inputs, _shape(launch=written))

    assert plan(256 << 20).regions[1].length == 256 << 20
    with pytest.raises(SevbuildError, match="268435456"):
        plan((256 << 20) + 0x1000)


def test_one_vcpu_needs_no_reset_block() -> None:
    assert len(_plan(inputs=GuestInputs(_firmware(reset=None), None, None)).vmsas) == 1


def test_page_types_have_words_in_both_directions() -> None:
    for word in SECTION_PAGE_TYPES:
        assert page_type_word(page_type_named(word)) == word
    assert page_type_word(None) == "refuse"
    assert page_type_named("vmsa") is PageType.VMSA


def test_registers_are_layered_common_then_mode_then_role() -> None:
    launch = load_profile("qemu").rules.launch._replace(
        initial_state={
            "snp": {"rdx": 2, "cs": {"limit": 2}},
            "rdx": 1,
            "x87-fcw": 1,
            "cs": {"limit": 1, "base": 1, "selector": 1},
            "ap": {"cs": {"base": 3}},
        }
    )
    assert launch.vcpu_state("snp", "bsp") == {
        "rdx": 2,
        "x87_fcw": 1,
        "cs": {"limit": 2, "base": 1, "selector": 1},
    }
    assert launch.vcpu_state("sev-es", "ap") == {
        "rdx": 1,
        "x87_fcw": 1,
        "cs": {"limit": 1, "base": 3, "selector": 1},
    }


def test_what_launches_in_canonical_order() -> None:
    rules = load_profile("qemu").rules._replace(order="listed", loader=None, list_loader=None)
    assert not rules.launches_in_canonical_order
    assert rules._replace(order="canonical").launches_in_canonical_order
    assert rules._replace(loader="x").launches_in_canonical_order
    assert rules._replace(list_loader="x").launches_in_canonical_order


def test_a_value_has_the_source_of_the_nearest_that_has_one() -> None:
    prose = load_profile("qemu").prose._replace(sources={"a": "one", "a.b[1]": "two", "ab.c": "three"})
    assert [prose.source(path) for path in ("a", "a.x", "a.b[0].c", "a.b[1].c", "ab.c", "ab", "b", "")] == [
        "one", "one", "one", "two", "three", None, None, None,
    ]  # fmt: skip

"""What each loader makes of an IGVM file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.igvm.file import IgvmFile
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
    UnknownHeader,
    VpContext,
)
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import Loaded, LoadRequest
from sevbuild.igvm.loaders import LOADERS, loader_named
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.image.kernel_hashes import KernelHashes, hash_page
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.status import LaunchError
from sevbuild.launch.update import LaunchUpdate
from sevbuild.measure.tree import LaunchTree
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.igvm import BSP, SNP, VMSA
from tests.support.shared import shared_file

SEV_ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
SEV = SupportedPlatform(4, 0, PlatformType.SEV)
NATIVE = SupportedPlatform(8, 0, PlatformType.NATIVE)
POLICY = GuestPolicy(0x30000, 1)
TOP = 0xFFFFFFFFF000
PAGE = PageData(0x10000, 1, b"\xaa" * 4096)
ALL = tuple(LOADERS)


def _loaded(data: bytes, name: str, **request: Any) -> Loaded:
    source = MemorySource(data)
    return load(read_igvm(source), LOADERS[name], UpdateMaker(source), LoadRequest(**request))


def _digest(data: bytes, name: str, **request: Any) -> str:
    return LaunchTree().digest(_loaded(data, name, **request).plan).hex()


def _written(*headers: Header) -> bytes:
    return write_igvm(IgvmFile(1, headers))


def _plan(name: str, *headers: Header, **request: Any) -> list[tuple[Any, ...]]:
    """Return (type, GPA, pages, origin) of each update."""
    plan = _loaded(_written(*headers), name, **request).plan
    return [(u.page_type.label, u.gpa, u.length // 4096, u.origin) for u in plan.updates]


def _flat(name: str, *headers: Header, **request: Any) -> list[tuple[Any, ...]]:
    """Return (type, GPA) of each page."""
    return [
        (label, gpa + 4096 * page)
        for label, gpa, pages, _ in _plan(name, *headers, **request)
        for page in range(pages)
    ]


# The table in the fixtures' README.md: crate, igvmmeasure and igvmmeasure --native-zero are runs of these
# tools; the others are predictions by an independent model.
REFERENCE_ALL = (
    "3a43f958f3edf8051678e6f1332f60bc3e31b21c1dd6d902ca6b4e16ba0400ee8775c5a5330155e2fa7fcf20f56bf8e5"
)
VECTOR_CRATE = (
    "889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b9051995653390783846557913263d71c4f"
)
VECTOR_IM = "7517c4f20ac1de438667be8ca50cb97f39d4902012182e901a02684c6891e3691e4cea217865336e0db27e9f8f32fec5"
VECTOR_IM_N = (
    "ec734f9eddde0daf6b3f0289c83bf27e38f4391bbd315ff3b43a96d060ee90c642c349a2155a611fe680d90fc74985d2"
)
FIRST = "f95a0c6d7563cadb159873adead497130350ea8ad5ff1150cd257268d09b613b3972d13a1991ce4fcc94fc608eeae0c6"
FIRST_LAST = (
    "d89f570eb131c47801617059bbe3e7e3a102850a90d3eb05956354af5664f2e1f5c8567a8f456e701d36c22bc6cd689b"
)
ALL_DIGESTS = {
    "igvm-reference": REFERENCE_ALL,
    "igvmmeasure": "a354da2f9b6500fecd29c41a6489e76a876b3f5a755e4b793e9c5e0a309f46a18960c956c93107a63c12313b71ec79ae",
    "igvmmeasure-native-zero": (
        "7e1cb49f3ce3dde12848920e7b583dbae18f90cfc7898887a74df5a96ad5d285af3c85234fba92ea7e14c547c76b5b8e"
    ),
    "qemu": REFERENCE_ALL,
    "cloud-hypervisor-kvm": (
        "90bcacd176b675b5f66e93906e3fcd0a3ae307d7c1aa9958be35fa616e19305cb8c8eed8e0094e787892fd45e7c7bbc3"
    ),
    "cloud-hypervisor-mshv": (
        "8b6ed577f8131d5c675c7c8f58587069d7f8373fc3d7ec77a69df380ab40ca482c8503011728c97a790a362b0435721c"
    ),
}
PORTABLE = "85cd597d07b79eef0011853f0b6d115a8732f030c6a30847ee3cf34d39c6ee83197e95b6921cf96f24b108bf3e7a9f7b"
TABLE: dict[str, dict[str, str]] = {
    "openvmm_snp_vector": {
        "igvm-reference": VECTOR_CRATE,
        "igvmmeasure": VECTOR_IM,
        "igvmmeasure-native-zero": VECTOR_IM_N,
        "qemu": VECTOR_IM,
        "cloud-hypervisor-kvm": VECTOR_IM_N,
        "cloud-hypervisor-mshv": VECTOR_IM,
    },
    "snp_all_v1": ALL_DIGESTS,
    "snp_all_v2": ALL_DIGESTS,
    "signed/snp_all_v1_signed": ALL_DIGESTS,
    "signed/snp_all_v2_signed": ALL_DIGESTS,
    "snp_portable": dict.fromkeys(ALL, PORTABLE),
    "snp_vmsa_first": {
        "igvm-reference": FIRST,
        "igvmmeasure": FIRST,
        "igvmmeasure-native-zero": FIRST,
        "cloud-hypervisor-mshv": FIRST,
    },
    "sev_only": {
        "qemu": "06efcad8f489f8fe26da1a4a1483e0311e9afd7db58fa45b1af390337242e00c",
        "igvmmeasure": "d1a5afdf1f19c1f1dc92f6a1282e2887f13a7cc06e3a04a88d0896d5df6a7965",
    },
    "sev_es": {
        "qemu": "a7ac7e7c331a1a1e12fa59352bab5cb84e71cfe567da0f184555f2418b332eb8",
        "igvmmeasure": "a7ac7e7c331a1a1e12fa59352bab5cb84e71cfe567da0f184555f2418b332eb8",
    },
}


@pytest.mark.parametrize(
    ("fixture", "name"), [(fixture, name) for fixture, row in TABLE.items() for name in row]
)
def test_a_fixture_has_the_tabled_digest(fixture: str, name: str) -> None:
    data = shared_file(f"igvm/{fixture}.igvm").read_bytes()
    assert _digest(data, name) == TABLE[fixture][name]


def test_the_fixture_that_qemu_refuses() -> None:
    data = shared_file("igvm/snp_vmsa_first.igvm").read_bytes()
    with pytest.raises(SevbuildError, match="VP context 0 is at 0x8000, not at 0xfffffffff000"):
        _loaded(data, "qemu")
    vmsa, *regions = _loaded(data, "igvm-reference").plan.regions
    last = LaunchPlan("snp", 0x30000, None, tuple(regions), (vmsa,))
    assert LaunchTree().digest(last).hex() == FIRST_LAST


def test_only_the_portable_fixture_breaks_no_rule() -> None:
    for fixture in TABLE:
        source = MemorySource(shared_file(f"igvm/{fixture}.igvm").read_bytes())
        breaches = portable_breaches(read_igvm(source))
        assert bool(breaches) == (fixture not in ("snp_portable", "sev_es")), (fixture, breaches)


@pytest.mark.parametrize("name", ["igvm-reference", "cloud-hypervisor-kvm", "cloud-hypervisor-mshv"])
def test_sev_guests_are_measured_by_some_alone(name: str) -> None:
    with pytest.raises(SevbuildError, match=r"platform.* SEV_ES; it takes snp"):
        _loaded(_written(SEV_ES, PAGE._replace(compatibility_mask=2)), name)


AREA: list[Header] = [ParameterArea(0x3000, 0), ParameterInsert(0x100000, 1, 0)]
ZERO = PAGE._replace(gpa=0x11000, data=None)


def test_a_page_of_zeros() -> None:
    kinds = {name: _flat(name, SNP, POLICY, PAGE, ZERO, BSP)[1][0] for name in ALL}
    native = {"igvmmeasure-native-zero", "cloud-hypervisor-kvm"}
    assert kinds == {name: "zero" if name in native else "normal" for name in ALL}


def test_a_shared_page_is_loaded_or_left_out() -> None:
    shared = PAGE._replace(gpa=0x20000, flags=PageFlags.SHARED)
    unmeasured = PAGE._replace(gpa=0x30000, flags=PageFlags.SHARED | PageFlags.UNMEASURED)
    for name in ALL:
        found = _flat(name, SNP, POLICY, PAGE, shared, unmeasured, BSP)
        left_out = name == "igvm-reference"
        assert (("normal", 0x20000) in found) is not left_out
        assert (("unmeasured", 0x30000) in found) is not left_out


def test_an_area_of_several_pages() -> None:
    one = {"igvmmeasure", "igvmmeasure-native-zero", "cloud-hypervisor-mshv"}
    for name in ALL:
        pages = [gpa for kind, gpa in _flat(name, SNP, POLICY, *AREA, PAGE, BSP) if kind == "unmeasured"]
        assert pages == [0x100000, 0x101000, 0x102000][: 1 if name in one else 3]


def test_the_order_of_an_insert_between_pages() -> None:
    """QEMU holds a run of pages back until the next one begins: facts, B.4."""
    headers: list[Header] = [SNP, POLICY, PAGE, *AREA, PAGE._replace(gpa=0x5000), BSP]
    file_order = [0x10000, 0x100000, 0x5000, TOP]
    expected = {
        "igvm-reference": file_order,
        "igvmmeasure": file_order,
        "igvmmeasure-native-zero": file_order,
        "qemu": [0x100000, 0x10000, 0x5000, TOP],
        "cloud-hypervisor-kvm": file_order,
        "cloud-hypervisor-mshv": [0x5000, 0x10000, 0x100000, TOP],
    }
    for name, order in expected.items():
        assert [gpa for _, gpa, _, _ in _plan(name, *headers)] == order
    # Two areas between contiguous pages: both act at once, the pages follow in order.
    more: list[Header] = [ParameterArea(0x1000, 1), ParameterInsert(0x200000, 1, 1)]
    found = _plan("qemu", SNP, POLICY, PAGE, *AREA, *more, PAGE._replace(gpa=0x11000), BSP)
    assert [gpa for _, gpa, _, _ in found] == [0x100000, 0x200000, 0x10000, TOP]


def test_a_context_among_pages() -> None:
    headers: list[Header] = [SNP, POLICY, PAGE, BSP._replace(gpa=0x8000), PAGE._replace(gpa=0x20000)]
    assert [gpa for _, gpa, _, _ in _plan("igvmmeasure", *headers)] == [0x10000, 0x8000, 0x20000]
    assert [gpa for _, gpa, _, _ in _plan("cloud-hypervisor-mshv", *headers)] == [0x8000, 0x10000, 0x20000]
    assert [gpa for _, gpa, _, _ in _plan("cloud-hypervisor-kvm", *headers)] == [0x10000, 0x20000, TOP]


def test_which_platform_is_taken() -> None:
    page = PAGE._replace(compatibility_mask=15)
    headers: list[Header] = [NATIVE, SEV, SEV_ES, SNP, POLICY, GuestPolicy(5, 2), page, BSP]
    assert _loaded(_written(*headers), "qemu").plan.mode == "snp"
    # A release build takes SNP wherever it stands; only debug builds assert that it stands first.
    (doubt,) = _loaded(_written(*headers), "cloud-hypervisor-kvm").doubts
    assert doubt == (
        "cannot-boot",
        "in a debug build, which asserts that SEV_SNP is the file's first platform",
    )
    weaker: list[Header] = [NATIVE, SEV, SEV_ES, GuestPolicy(5, 2), page]
    assert _loaded(_written(*weaker), "qemu").plan.mode == "sev-es"
    with pytest.raises(SevbuildError, match="platforms are NATIVE; it takes snp, sev-es, sev"):
        _loaded(_written(NATIVE, page), "qemu")
    for mode in ("snp", "sev-es", "sev"):
        assert _loaded(_written(*headers), "qemu", mode=mode).plan.mode == mode
    with pytest.raises(SevbuildError, match="NATIVE, SEV, SEV_ES; asked for is snp"):
        _loaded(_written(*weaker), "qemu", mode="snp")
    with pytest.raises(SevbuildError, match="it takes snp, not sev"):
        _loaded(_written(*headers), "cloud-hypervisor-kvm", mode="sev")


def test_each_loader_takes_the_policy_it_takes() -> None:
    """Cloud Hypervisor's reader leaves other platforms out and it passes zeros over; QEMU keeps the last."""
    policies = [GuestPolicy(0xB0000, 8), GuestPolicy(0, 1), POLICY, GuestPolicy(0x3001F, 1)]
    found = {name: _loaded(_written(SNP, NATIVE, *policies, PAGE, BSP), name).plan.policy for name in ALL}
    assert found == {
        "igvm-reference": 0,
        "igvmmeasure": 0,
        "igvmmeasure-native-zero": 0,
        "qemu": 0x3001F,
        "cloud-hypervisor-kvm": 0x30000,
        "cloud-hypervisor-mshv": 0x30000,
    }
    without = _written(SNP, PAGE, BSP)
    assert _loaded(without, "qemu").plan.policy == 0x30000
    with pytest.raises(SevbuildError, match="the file has no GUEST_POLICY"):
        _loaded(without, "igvm-reference")


HUGE = PageData(0x200000, 1, None, PageFlags.IS_2MB_PAGE)


def test_a_2_mib_page() -> None:
    """The crate and igvmmeasure were run on page_2mb_flag.igvm; nothing is known of the others."""
    pages = {name: len(_flat(name, SNP, POLICY, PAGE, HUGE, BSP)) - 2 for name in ALL[:3]}
    assert pages == {"igvm-reference": 1, "igvmmeasure": 512, "igvmmeasure-native-zero": 512}
    full = HUGE._replace(data=b"\1" * 4096)
    assert len(_flat("igvm-reference", SNP, POLICY, full, BSP)) == 2
    with pytest.raises(SevbuildError, match="a 2 MiB page with 4 KiB of data stops it"):
        _loaded(_written(SNP, POLICY, PAGE, full, BSP), "igvmmeasure")
    for name, huge in [("qemu", full), ("qemu", HUGE), ("cloud-hypervisor-kvm", HUGE)]:
        with pytest.raises(SevbuildError, match="2 MiB page is not known"):
            _loaded(_written(SNP, POLICY, PAGE, huge, BSP), name)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (UnknownHeader(0x80000350, b""), r"header 4, type 0x80000350, stops it, whatever its mask"),
        (Parameter(HeaderType.DEVICE_TREE, 0), "DEVICE_TREE, stops it"),
    ],
)
def test_headers_that_stop_a_loader(header: Header, message: str) -> None:
    data = _written(SNP, POLICY, ParameterArea(0x1000, 0), PAGE, header, BSP)
    with pytest.raises(SevbuildError, match=message):
        _loaded(data, "qemu")
    doubts = _loaded(data, "cloud-hypervisor-kvm").doubts
    assert {doubt.kind for doubt in doubts} == {"cannot-boot"}
    assert "directives" in {breach.rule for breach in portable_breaches(read_igvm(MemorySource(data)))}


def test_doubts_about_cloud_hypervisor() -> None:
    cpuid = PageData(0x20000, 1, None, PageFlags(0), PageDataType.CPUID_DATA)
    xf = cpuid._replace(gpa=0x21000, data_type=PageDataType.CPUID_XF)
    data = _written(SNP, POLICY, PAGE, cpuid, xf, BSP, BSP._replace(vp_index=1))
    assert [tuple(doubt) for doubt in _loaded(data, "cloud-hypervisor-mshv").doubts] == [
        ("cannot-boot", "it reads a table from the CPUID page, which has no data"),
        ("cannot-boot", "a page of type CPUID_XF stops it"),
        ("not-established", "what it makes of 2 VP contexts"),
    ]
    assert len(_loaded(data, "cloud-hypervisor-kvm").doubts) == 1
    assert not _loaded(data, "qemu").doubts


RESET = build_vmsa({"rip": 0xFFF0, "rdx": 0xA00F11})


def _reset(features: int) -> bytes:
    return build_vmsa({**parse_vmsa(RESET), "sev_features": features})


def test_the_number_of_vcpus() -> None:
    data = _written(SNP, POLICY, PAGE, BSP, BSP._replace(vp_index=1))
    for name in ALL:
        loaded = _loaded(data, name)
        assert (loaded.vcpus, loaded.contexts) == (2, 2)
        assert loaded.label == f"snp/{name}/-/vcpus2"
    for name in ("igvm-reference", "igvmmeasure", "cloud-hypervisor-mshv"):
        # They launch or measure what the file holds: more vCPUs change nothing.
        assert _digest(data, name, vcpus=5) == _digest(data, name)
        with pytest.raises(SevbuildError, match="describes 2 vCPUs, the launch has 1"):
            _loaded(data, name, vcpus=1)
    with pytest.raises(SevbuildError, match="describes vCPU 1, the launch has 1") as caught:
        _loaded(data, "qemu", vcpus=1)
    assert caught.value.hint == "--vcpus 2"
    with pytest.raises(SevbuildError, match="vCPU 2: it starts in the reset state") as caught:
        _loaded(data, "qemu", vcpus=3)
    assert caught.value.hint == "name it: --cpu EPYC-Milan"
    plan = _loaded(data, "qemu", vcpus=4, reset_state=_reset).plan
    assert [update.origin for update in plan.vmsas] == [
        "vp context 0",
        "vp context 1",
        "reset state 2",
        "reset state 3",
    ]
    assert {update.gpa for update in plan.vmsas} == {TOP}
    assert plan.vmsas[2].data == _reset(1)
    assert len(_loaded(data, "cloud-hypervisor-kvm", vcpus=1).plan.vmsas) == 1
    with pytest.raises(SevbuildError, match="vCPU 2: how it starts is not known"):
        _loaded(data, "cloud-hypervisor-kvm", vcpus=3)


def test_vcpus_with_gaps_and_twins() -> None:
    data = _written(SNP, POLICY, PAGE, BSP._replace(vp_index=2), BSP)
    plan = _loaded(data, "qemu", reset_state=_reset).plan
    assert [update.origin for update in plan.vmsas] == ["vp context 0", "reset state 1", "vp context 2"]
    twins = _written(SNP, POLICY, PAGE, BSP, BSP)
    with pytest.raises(SevbuildError, match="describes vCPU 0 twice"):
        _loaded(twins, "qemu")
    for bad in (data, twins):
        assert "VP contexts" in {b.rule for b in portable_breaches(read_igvm(MemorySource(bad)))}


def test_a_file_without_contexts() -> None:
    data = _written(SNP, POLICY, PAGE)
    loaded = _loaded(data, "qemu")
    assert (loaded.vcpus, loaded.plan.vmsas) == (0, ())
    assert loaded.doubts[0].reason.startswith("the file describes no vCPU")
    assert len(_loaded(data, "qemu", vcpus=2, reset_state=_reset).plan.vmsas) == 2
    sev = _loaded(_written(SEV, PAGE._replace(compatibility_mask=4)), "qemu")
    assert (sev.vcpus, sev.plan.vmsas, sev.doubts) == (1, (), ())


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        ({"star": 1}, "VP context 0 sets star"),
        ({"fpreg_xmm": b"\1" * 256}, "VP context 0 sets fpreg_xmm"),
        ({"sev_features": 0}, "SEV_FEATURES 0x0, which is not for mode snp"),
    ],
)
def test_registers_that_qemu_refuses(registers: dict[str, Any], message: str) -> None:
    page = build_vmsa({**parse_vmsa(VMSA), **registers})
    data = _written(SNP, POLICY, PAGE, BSP._replace(data=page))
    with pytest.raises(SevbuildError, match=message):
        _loaded(data, "qemu")
    assert _loaded(data, "igvmmeasure").plan.regions[-1].data == page
    (breach,) = portable_breaches(read_igvm(MemorySource(data)))
    assert breach.reason.endswith("QEMU with KVM refuses it")


def test_reserved_bytes_that_qemu_refuses() -> None:
    page = VMSA[:0xFFF] + b"\1"
    with pytest.raises(SevbuildError, match="VP context 0 sets reserved bytes at 0xfff"):
        _loaded(_written(SNP, POLICY, PAGE, BSP._replace(data=page)), "qemu")


def test_registers_that_change_on_their_way_through_kvm() -> None:
    """The base of TR comes from LDTR, CR0.ET is set, and SEV_FEATURES are those of the first vCPU."""
    page = build_vmsa({**parse_vmsa(VMSA), "cr0": 1, "ldtr": {"base": 0x1000}, "tr": {"base": 0x2000}})
    ap = build_vmsa({**parse_vmsa(VMSA), "sev_features": 0x21})
    data = _written(SNP, POLICY, PAGE, BSP._replace(data=page), BSP._replace(vp_index=1, data=ap))
    first, second = _loaded(data, "qemu").plan.vmsas
    assert isinstance(first.data, bytes)
    values = parse_vmsa(first.data)
    assert (values["cr0"], values["tr"], values["ldtr"]) == (
        0x11,
        {"selector": 0, "attributes": 0, "limit": 0, "base": 0x1000},
        {"selector": 0, "attributes": 0, "limit": 0, "base": 0x1000},
    )
    assert second.data == VMSA
    assert "VP contexts" in {b.rule for b in portable_breaches(read_igvm(MemorySource(data)))}


HASHES = KernelHashes(b"\1" * 32, b"\2" * 32, b"\3" * 32)


def _hashed(*headers: Header) -> tuple[LaunchUpdate, ...]:
    data = _written(SNP, POLICY, *headers, BSP)
    return _loaded(data, "cloud-hypervisor-kvm", kernel_hashes=HASHES).plan.regions


def test_the_kernel_hashes_that_cloud_hypervisor_writes() -> None:
    """vmm/src/igvm/igvm_loader.rs: into the file's page at 0x10000, or in a page after all others."""
    away = PAGE._replace(gpa=0x20000)
    *_, last = _hashed(away)
    assert (last.gpa, last.page_type, last.data) == (0x10000, PageType.NORMAL, hash_page(HASHES, 0x10C00))
    run = [PageData(0xF000 + 0x1000 * n, 1, bytes([n]) * 4096) for n in range(3)]
    before, page, after = _hashed(*run)
    assert (before.gpa, before.length, page.gpa, after.gpa, after.length) == (
        0xF000, 0x1000, 0x10000, 0x11000, 0x1000,
    )  # fmt: skip
    assert page.data == b"\1" * 0xC00 + hash_page(HASHES, 0x10C00)[0xC00:]
    assert after.data is not None
    assert not isinstance(after.data, bytes | memoryview)
    assert after.data.read(0, 4096) == b"\2" * 4096
    zeros = [PageData(0xF000 + 0x1000 * n, 1) for n in range(3)]
    kinds = [(update.page_type.label, update.gpa) for update in _hashed(*zeros, away)]
    assert kinds == [("zero", 0xF000), ("normal", 0x10000), ("zero", 0x11000), ("normal", 0x20000)]
    # Whatever else the page was, with the hashes in it it is measured.
    for other in (PAGE._replace(flags=PageFlags.UNMEASURED), PAGE._replace(data_type=PageDataType.SECRETS)):
        assert [update.page_type for update in _hashed(other)] == [PageType.NORMAL]


def test_kernel_hashes_that_would_prove_nothing() -> None:
    away = PAGE._replace(gpa=0x20000)
    with pytest.raises(SevbuildError, match="at 0x10000 is of type cpuid: it writes no hashes into that"):
        _hashed(PAGE._replace(data_type=PageDataType.CPUID_DATA))
    with pytest.raises(SevbuildError, match="parameter area 0 lies over the kernel hashes"):
        _hashed(ParameterArea(0x2000, 0), ParameterInsert(0xF000, 1, 0), away)
    for name in ("qemu", "cloud-hypervisor-mshv", "igvm-reference"):
        with pytest.raises(SevbuildError, match="it writes no kernel hashes of its own"):
            _loaded(_written(SNP, POLICY, PAGE, BSP), name, kernel_hashes=HASHES)


def test_what_sev_has_not_is_refused() -> None:
    page, policy = PAGE._replace(compatibility_mask=4), GuestPolicy(1, 4)
    secrets = page._replace(gpa=0x30000, data_type=PageDataType.SECRETS)
    with pytest.raises(SevbuildError, match="a SECRETS page cannot be launched in mode sev"):
        _loaded(_written(SEV, policy, page, secrets), "qemu")
    context = VpContext(0, 4, b"\1" * 0xE8, 0)
    with pytest.raises(SevbuildError, match="platform SEV has no VP context"):
        _loaded(_written(SEV, policy, page, context), "qemu")
    assert [u.origin for u in _loaded(_written(SEV, policy, page, context), "igvmmeasure").plan.updates] == [
        "page data"
    ]
    unmeasured = page._replace(gpa=0x30000, flags=PageFlags.UNMEASURED)
    area: list[Header] = [ParameterArea(0x1000, 0), ParameterInsert(0x100000, 4, 0)]
    data = _written(SEV, policy, *area, page, unmeasured)
    assert len(_loaded(data, "qemu").plan.updates) == 1
    assert len(_loaded(data, "igvmmeasure").plan.updates) == 2
    assert "page flags" in {breach.rule for breach in portable_breaches(read_igvm(MemorySource(data)))}


def test_what_no_loader_takes() -> None:
    with pytest.raises(SevbuildError, match="the file is for AArch64"):
        _loaded(write_igvm(IgvmFile(2, (SNP, PAGE), architecture=1)), "qemu")
    with pytest.raises(SevbuildError, match="unknown loader 'bochs'") as caught:
        loader_named("bochs")
    assert caught.value.hint is not None
    assert "cloud-hypervisor-mshv" in caught.value.hint
    file = IgvmFile(1, (SNP, PAGE))
    with pytest.raises(TypeError):
        load(file, LOADERS["qemu"], UpdateMaker(MemorySource(b"")))
    areas: list[Header] = []
    for index in range(5):
        areas += [ParameterArea(0xFFFFF000, index), ParameterInsert(0x1000, 1, index)]
    with pytest.raises(SevbuildError, match="more than 4194304 pages"):
        _loaded(_written(SNP, POLICY, PAGE, *areas), "igvm-reference")
    overlap = _written(SNP, POLICY, PAGE, PAGE, BSP)
    with pytest.raises(LaunchError, match="INVALID_PAGE_STATE"):
        _digest(overlap, "igvmmeasure")


def test_equal_plans_share_their_updates() -> None:
    data = shared_file("igvm/snp_portable.igvm").read_bytes()
    source = MemorySource(data)
    file, maker = read_igvm(source), UpdateMaker(source)
    plans = [load(file, loader, maker).plan.updates for loader in LOADERS.values()]
    assert {tuple(map(id, plan)) for plan in plans} == {tuple(map(id, plans[0]))}


@st.composite
def _snp_headers(draw: st.DrawFn) -> list[Header]:
    """Draw the headers of a small SNP guest, in an order that may be portable or not."""
    gpas = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True))
    if draw(st.booleans()):
        gpas.sort()
    pages: list[Header] = []
    for gpa in gpas:
        data = draw(st.sampled_from([b"\1", b"\2", b"\1", None]))
        kind = draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
        flags = draw(st.sampled_from([0, 0, 0, 0, 2, 4]))
        pages.append(PageData(0x10000 * gpa, 1, data, PageFlags(flags), PageDataType(kind)))
    area: list[Header] = [
        ParameterArea(0x1000 * draw(st.sampled_from([1, 1, 1, 2])), 0),
        Parameter(HeaderType.VP_COUNT_PARAMETER, 0),
        ParameterInsert(draw(st.sampled_from([0x1000, 0x1000, 0x900000])), 1, 0),
    ]
    parts: list[list[Header]] = [[RequiredMemory(0, 1, 0x100000)], area if draw(st.booleans()) else [], pages]
    parts.append([BSP._replace(vp_index=index) for index in range(draw(st.integers(1, 3)))])
    if draw(st.integers(0, 3)) == 0:
        parts = draw(st.permutations(parts))
    return [SNP, POLICY, *(header for part in parts for header in part), PageData(0xA00000, 1, b"end")]


@pytest.mark.slow
@given(_snp_headers(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_file_that_breaks_no_rule_has_one_digest(headers: list[Header], move: bool) -> None:
    if move:
        # The last page back among the others, where portable files have it.
        last = max(number for number, header in enumerate(headers[:-1]) if isinstance(header, PageData))
        headers = [*headers[: last + 1], headers[-1], *headers[last + 1 : -1]]
    source = MemorySource(_written(*headers))
    file, maker = read_igvm(source), UpdateMaker(source)
    tree = LaunchTree()
    digests = {tree.digest(load(file, loader, maker).plan) for loader in LOADERS.values()}
    if not portable_breaches(file):
        assert len(digests) == 1


@given(_snp_headers())
@settings(max_examples=50, deadline=None)
def test_the_rules_are_not_too_strict(headers: list[Header]) -> None:
    """A file that breaks a rule about pages, areas or order has more than one digest, but for rare luck.

    A single page can break the rule of ascending GPAs only against its neighbours, so order is left out.
    """
    source = MemorySource(_written(*headers))
    file, maker = read_igvm(source), UpdateMaker(source)
    rules = {breach.rule for breach in portable_breaches(file)} & {"zero pages", "page flags"}
    digests = {LaunchTree().digest(load(file, loader, maker).plan) for loader in LOADERS.values()}
    assert len(digests) > 1 or not rules

"""VP contexts of several platforms: which of them each loader measures.

The digests are those that programs of others gave for files that the igvm crate wrote (tests/data/igvm).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sevbuild.igvm.describe import describe_igvm
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    ErrorRange,
    GuestPolicy,
    Header,
    PageData,
    PlatformType,
    SupportedPlatform,
    UnknownHeader,
    VpContext,
)
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import Loaded, LoadRequest
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.native_context import native_registers
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.platforms import file_modes
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.scan import IgvmError
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import PageType
from sevbuild.measure.tree import LaunchTree
from sevbuild.vcpu.save_area import build_vmsa

DATA = Path(__file__).resolve().parents[1] / "data" / "igvm"
DIGESTS = json.loads((DATA / "digests.json").read_text())

TOP = 0xFFFFFFFFF000
SNP = SupportedPlatform(1, 0, PlatformType.SEV_SNP)
SEV_ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
SEV = SupportedPlatform(4, 0, PlatformType.SEV)
NATIVE = SupportedPlatform(8, 0, PlatformType.NATIVE)
VSM = SupportedPlatform(16, 0, PlatformType.VSM_ISOLATION)
PAGE = PageData(0x10000, 31, b"\1" * 4096)
POLICIES: list[Header] = [GuestPolicy(0x30000, 1), GuestPolicy(5, 2), GuestPolicy(1, 4)]


def _vmsa(features: int) -> bytes:
    registers = {"cr0": 0x10, "efer": 0x1000, "rflags": 2, "rip": 0xFFF0, "sev_features": features}
    return build_vmsa(registers)


SNP_VP = VpContext(TOP, 1, _vmsa(0x21), 0)
ES_VP = VpContext(TOP, 2, _vmsa(0), 0)
NATIVE_VP = VpContext(0, 8, b"\1" * 0xE8, 0)


def _file(*headers: Header) -> IgvmFile:
    return read_igvm(MemorySource(write_igvm(IgvmFile(1, headers))))


def _loaded(data: bytes, name: str, mode: Mode | None = None) -> Loaded:
    source = MemorySource(data)
    return load(read_igvm(source), LOADERS[name], UpdateMaker(source), LoadRequest(mode))


def _of(name: str, mode: Mode, *headers: Header) -> Loaded:
    return _loaded(write_igvm(IgvmFile(1, headers)), name, mode)


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_the_digests_of_others(name: str) -> None:
    data = (DATA / name).read_bytes()
    assert sorted(DIGESTS[name]) == sorted(file_modes(read_igvm(MemorySource(data))))
    for mode, digests in DIGESTS[name].items():
        found = {loader: LaunchTree().digest(_loaded(data, loader, mode).plan).hex() for loader in digests}
        assert found == digests, mode


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_what_the_crate_wrote_we_write(name: str) -> None:
    data = (DATA / name).read_bytes()
    assert write_igvm(read_igvm(MemorySource(data))) == data


def _read(name: str) -> IgvmFile:
    return read_igvm(MemorySource((DATA / name).read_bytes()))


@pytest.mark.parametrize("loader", sorted(LOADERS))
def test_native_contexts_are_measured_by_none(loader: str) -> None:
    loaded = _of(loader, "snp", SNP, NATIVE, *POLICIES, NATIVE_VP, PAGE, SNP_VP)
    vmsas = [update for update in loaded.plan.updates if update.page_type == PageType.VMSA]
    assert [(update.gpa, update.origin) for update in vmsas] == [(TOP, "vp context 0")]
    assert (loaded.vcpus, loaded.contexts, loaded.guest_features) == (1, 1, 0x21)


def test_a_native_context_keeps_no_file_from_being_portable() -> None:
    assert not portable_breaches(_file(SNP, NATIVE, *POLICIES, PAGE, SNP_VP, NATIVE_VP))


def test_igvmmeasure_takes_the_vmsas_of_both_platforms() -> None:
    headers: list[Header] = [SEV_ES, SNP, *POLICIES, ES_VP, PAGE, SNP_VP]
    pairs: tuple[tuple[Mode, Mode], ...] = (("snp", "sev-es"), ("sev-es", "snp"))
    own = "vp context 0"
    for mode, other in pairs:
        loaded = _of("igvmmeasure", mode, *headers)
        origins = [update.origin for update in loaded.plan.updates if update.page_type == PageType.VMSA]
        assert sorted(origins) == sorted([own, f"{other} vp context 0"])
        # What the guest has are the registers of its own platform.
        assert (loaded.vcpus, loaded.contexts) == (1, 1)
        assert [update.origin for update in loaded.vmsas] == [own]
        assert loaded.guest_features == (0x21 if mode == "snp" else 0)
        assert len(_of("qemu", mode, *headers).plan.vmsas) == 1
    assert {breach.rule for breach in portable_breaches(_file(*headers))} >= {"platforms"}


def test_vcpus_are_counted_and_ordered_by_the_platform() -> None:
    second = SNP_VP._replace(vp_index=1, data=_vmsa(1))
    headers = [SNP, SEV_ES, *POLICIES, *(ES_VP._replace(vp_index=n) for n in range(3)), PAGE, second, SNP_VP]
    loaded = _of("igvmmeasure", "snp", *headers)
    assert (loaded.vcpus, loaded.label) == (2, "snp/igvmmeasure/-/vcpus2")
    assert [update.origin for update in loaded.vmsas] == ["vp context 0", "vp context 1"]
    assert loaded.guest_features == 0x21
    assert _of("igvmmeasure", "sev-es", *headers).vcpus == 3


def test_a_platform_after_a_header_of_an_unknown_type() -> None:
    file = _file(NATIVE, UnknownHeader(0x80000002, b""), SNP, *POLICIES, PAGE, SNP_VP, NATIVE_VP)
    assert [platform.platform_type.name for platform in file.platforms] == ["NATIVE", "SEV_SNP"]
    assert [entry["platform"] for entry in describe_igvm(file)["vp_contexts"]] == ["sev_snp", "native"]


def test_a_sev_policy_has_32_bits() -> None:
    loaded = _of("igvmmeasure", "sev", SEV, GuestPolicy(0x100000001, 4), PAGE)
    assert loaded.plan.policy == 1
    assert len(LaunchTree().digest(loaded.plan)) == 32
    assert _of("qemu", "snp", SNP, GuestPolicy(1 << 63 | 0x30000, 1), PAGE).plan.policy == 1 << 63 | 0x30000


def test_contexts_of_a_sev_platform() -> None:
    contexts = [VpContext(0, 4, bytes([n]) * 0xE8, n) for n in range(1, 4)]
    headers: list[Header] = [SEV, *POLICIES, PAGE, *contexts]
    loaded = _of("igvmmeasure", "sev", *headers)
    assert [update.origin for update in loaded.plan.updates] == ["page data"]
    assert (loaded.vcpus, loaded.guest_features) == (1, None)
    assert {breach.rule for breach in portable_breaches(_file(*headers))} == {"VP contexts"}
    # A VMSA of another platform is data where there are no VMSAs.
    mixed = _of("igvmmeasure", "sev", SEV, SEV_ES, *POLICIES, PAGE, ES_VP)
    assert [update.page_type for update in mixed.plan.updates] == [PageType.NORMAL, PageType.NORMAL]


def test_a_directive_of_another_platform_stops_no_reader_that_leaves_it_out() -> None:
    """Cloud Hypervisor never sees what is not for SNP; QEMU meets every header of the file."""
    data = write_igvm(IgvmFile(1, [SNP, NATIVE, *POLICIES, PAGE, ErrorRange(0x50000, 8, 4096), SNP_VP]))
    assert not _loaded(data, "cloud-hypervisor-kvm").doubts
    ours = write_igvm(IgvmFile(1, [SNP, NATIVE, *POLICIES, PAGE, ErrorRange(0x50000, 9, 4096), SNP_VP]))
    assert _loaded(ours, "cloud-hypervisor-kvm").doubts


def test_a_vsm_context_is_a_list_of_registers() -> None:
    registers = (2).to_bytes(4, "little") + b"\5" * 64
    headers: list[Header] = [SNP, VSM, *POLICIES, PAGE, SNP_VP, VpContext(0, 16, registers, 0)]
    data = write_igvm(IgvmFile(1, headers))
    assert data.endswith(registers)
    assert write_igvm(read_igvm(MemorySource(data))) == data
    empty = [*headers[:-1], VpContext(0, 16, bytes(4), 0)]
    with pytest.raises(IgvmError, match="it has no registers"):
        write_igvm(IgvmFile(1, empty))
    many = [*headers[:-1], VpContext(0, 16, b"\xff" * 4, 0)]
    with pytest.raises(IgvmError, match="is not in the file data"):
        write_igvm(IgvmFile(1, many))
    short = [*headers[:-1], VpContext(0, 16, b"\1", 0)]
    with pytest.raises(IgvmError, match="is not in the file data"):
        write_igvm(IgvmFile(1, short))


def test_a_native_context_is_described() -> None:
    described = describe_igvm(_read("native-and-snp.igvm"))["vp_contexts"]
    assert [(entry["platform"], entry["sev_features"]) for entry in described] == [
        ("native", None),
        ("sev_snp", ["snp-active"]),
    ]
    native, vmsa = (entry["registers"] for entry in described)
    assert (native["rip"], native["cr0"], native["cs.base"], native["efer"]) == (
        "0xfff0",
        "0x31",
        "0x1000",
        "0x500",
    )
    assert set(native) < set(vmsa)
    assert native_registers(bytes(4096))["rip"] == 0

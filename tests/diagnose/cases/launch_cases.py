"""What lays the launch out otherwise: VMM and sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.diagnose.cases.case import Case, Peer, Report, tables_of
from tests.diagnose.cases.hosts import EC2, EC2_RDX0, GCE, GCE_GENOA, IGVM, LEGACY_FPU, number
from tests.diagnose.cases.world import Tables, World
from tests.support.chain import Launch, digest, hashes

__all__ = ["CASES"]


def _profile(name: str) -> dict[str, Any]:
    return {"launch": {"profile": name}}


def _asked(release: str, vmm: str) -> Peer:
    arguments = ["--mode", "snp", "--vcpus", "2", "--vcpu-type", "EPYC-v4", "--ovmf", "@generic"]
    return Peer(f"sev-snp-measure {release}", [*arguments, "--vmm-type", vmm])


TWO = {"vcpu": {"count": 2}}

VMMS = [
    Case(
        "QEMU declared, Amazon EC2 launched",
        "vmm",
        "virtee/sev-snp-measure#13, #60",
        "generic",
        {"profile": "ec2"},
        {**EC2, "vcpus": 2},
        TWO,
        peer=_asked("0.0.13", "ec2"),
    ),
    Case(
        "QEMU declared, Amazon EC2 of 2023 launched",
        "vmm",
        "virtee/sev#2, aws/uefi#10",
        "generic",
        {"profile": "ec2-rdx0"},
        {**EC2_RDX0, "vcpus": 2},
        TWO,
        peer=Peer(
            "snpguest 0.11.0",
            ["--vcpus", "2", "--vcpu-type", "EPYC-v4", "--vmm-type", "EC2", "--ovmf", "@generic"],
        ),
    ),
    Case(
        "QEMU declared, Google Compute Engine launched",
        "vmm",
        "virtee/sev-snp-measure#56",
        "generic",
        {"profile": "gce"},
        {**GCE, "vcpus": 2},
        TWO,
        peer=_asked("0.0.13", "gce"),
    ),
    Case(
        "Genoa at Google Compute Engine, by sev-snp-measure 0.0.12",
        "vmm",
        "virtee/sev-snp-measure#56",
        "generic",
        {"profile": "gce"},
        {**GCE, "vcpus": 2},
        {**TWO, **_profile("gce-genoa")},
        peer=_asked("0.0.12", "gce"),
    ),
    Case(
        "QEMU declared, Genoa at Google Compute Engine",
        "vmm",
        "virtee/sev-snp-measure#56",
        "plain",
        {"profile": "gce-genoa"},
        GCE_GENOA,
    ),
    Case(
        "Milan declared at Google Compute Engine, Genoa launched",
        "vmm",
        "virtee/sev-snp-measure#56",
        "gce",
        {"profile": "gce-genoa"},
        GCE_GENOA,
    ),
    Case(
        "Amazon EC2 declared, QEMU launched",
        "vmm",
        "virtee/sev-snp-measure#13",
        "generic",
        {"profile": "qemu"},
        manifest=_profile("ec2"),
    ),
    Case(
        "Google Compute Engine declared, QEMU launched",
        "vmm",
        "virtee/sev-snp-measure#56",
        "plain",
        {"profile": "qemu"},
        manifest=_profile("gce"),
    ),
    Case(
        "Amazon EC2 declared, Google Compute Engine launched",
        "vmm",
        "oak#5060",
        "plain",
        {"profile": "gce"},
        GCE,
        _profile("ec2"),
    ),
    Case(
        "QEMU declared, Amazon EC2 launched, and more vCPUs",
        "vmm",
        "virtee/sev-snp-measure#13, c8s#217",
        "plain",
        {"profile": "ec2", "vcpus": "48"},
        {**EC2, "vcpus": 48},
    ),
    Case(
        "QEMU declared, an IGVM file of it launched",
        "vmm",
        "openvmm#4285, #4361, cloud-hypervisor#8084, #8123",
        "direct",
        {"profile": "qemu-igvm"},
        IGVM,
    ),
    Case(
        "libkrun, which lays out no OVMF",
        "vmm",
        "libkrunfw#37, libkrunfw#42, virtee/sev#2",
        "plain",
        host={
            "fpu": False,
            "sections": [(0x5000, 0x1000, 2), (0x6000, 0x1000, 3), (0x8000, 0x7000, 1)],
            "vmsa": {0x310: number(0), 0x330: number(0x7000), 0x328: number(0x8FF0), 0x1D8: number(0x8FF0)},
        },
        excludes=r"firmware",
    ),
]


def _dstack(name: str, cause: Mapping[str, str], manifest: Any, **more: Any) -> Case:
    """Return a case of dstack's published ingredients with one of them another, and its report."""
    row = more.pop("row", "sections")
    threads = "dstack's ingredients"
    report = Report("publish/dstack/extracted-report.bin")
    return Case(name, row, threads, "dstack", cause, {}, manifest, expected=report, public=True, **more)


def _metadata(**changed: Any) -> Any:
    def laid(world: World) -> Tables:
        tables = tables_of(Case("", "", "", "dstack"), world)
        known = tables["firmware"]["metadata"]
        if "sections" in changed:
            changed_rows = changed["sections"](known["sections"])
            return {"firmware": {"metadata": {**known, "sections": changed_rows}}}
        return {"firmware": {"metadata": {**known, **changed}}}

    return laid


def _by_address(rows: list[dict[str, int]]) -> list[dict[str, int]]:
    return sorted(rows, key=lambda row: row["gpa"])


NOT_THESE = r"firmware or kernel hashes"

INGREDIENTS = [
    _dstack("dstack, another count", {"vcpus": "2"}, {"vcpu": {"count": 3}}, row="vcpus"),
    _dstack("dstack, another CPU", {"cpu": "0x00800f12"}, {"vcpu": {"model": "EPYC-Milan"}}, row="cpu"),
    _dstack(
        "dstack, DebugSwap", {"guest-features": "0x1"}, {"launch": {"guest-features": 0x21}}, row="features"
    ),
    _dstack("dstack, an older host", {"profile": "qemu"}, _profile("qemu-snp-legacy-fpu"), row="era"),
    _dstack(
        "dstack, another count and CPU",
        {"vcpus": "2", "cpu": "0x00800f12"},
        {"vcpu": {"count": 1, "model": "EPYC-Genoa"}},
        row="vcpus",
    ),
    _dstack(
        "dstack, the hash page before the memory, as before 2024-08",
        {"sections-last": "as published"},
        _metadata(sections=_by_address),
    ),
    _dstack(
        "dstack, a newline at the end of the line",
        {"cmdline": "without the newline"},
        lambda world: {
            "kernel": {"cmdline": tables_of(Case("", "", "", "dstack"), world)["kernel"]["cmdline"] + "\n"}
        },
        row="kernel",
    ),
    _dstack(
        "dstack, another command line, with the right one at hand",
        {"cmdline": "that of the file given"},
        {"kernel": {"cmdline": "console=ttyS0"}},
        options=["--cmdline", "@dstack.cmdline"],
        row="kernel",
    ),
    _dstack(
        "dstack, another command line",
        {},
        {"kernel": {"cmdline": "console=ttyS0"}},
        excludes=NOT_THESE,
        row="kernel",
    ),
    _dstack(
        "dstack, another kernel", {}, {"kernel": {"sha256": "22" * 32}}, excludes=NOT_THESE, row="kernel"
    ),
    _dstack(
        "dstack, another initrd", {}, {"initrd": {"sha256": "33" * 32}}, excludes=NOT_THESE, row="kernel"
    ),
    _dstack(
        "dstack, another seed", {}, {"firmware": {"seed": "11" * 48}}, excludes=NOT_THESE, row="firmware"
    ),
    _dstack("dstack, another reset address", {}, _metadata(reset=0x80B008), excludes=NOT_THESE),
]

NEW_LAYOUT = [
    *[(0x800000, 0x9000, 1), (0x80A000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3)],
    *[(0x80F000, 0x1000, 4), (0x810000, 0x1000, 0x10), (0x811000, 0xF000, 1)],
]


V008 = "1c784beb8c49aa604b7fd57fbc73b36ec53a3f5fb48a2b895ad6cc2ea15d18ee7cc15e3e57c792766b45f944c3e81cfe"


def _by_newer_sections(world: World) -> Tables:
    """Return a guest whose publisher keeps the seed of a firmware beside the sections of a newer build."""
    seed = digest(Launch(firmware=world["AmdSev_suffix_2024.bin"], sections=[], vcpus=0))
    rows = [dict(zip(("gpa", "size", "kind"), section, strict=True)) for section in NEW_LAYOUT]
    metadata = {"reset": 0x80B004, "hash-table": 0x810C00, "sections": rows}
    return {
        "firmware": {"path": None, "seed": seed, "metadata": metadata},
        "kernel": {"path": world.path("empty"), "cmdline": ""},
        "initrd": {"path": world.path("empty")},
        "vcpu": {"count": 4},
    }


SECTIONS = [
    Case(
        "the CPUID page after all others",
        "sections",
        "virtee/sev-snp-measure#13",
        "plain",
        {"sections-last": "cpuid"},
        {"last": (3,)},
    ),
    Case(
        "memory that is not measured",
        "sections",
        "virtee/sev-snp-measure#56",
        "direct",
        {"page-types.snp-sec-mem": "unmeasured"},
        {"types": {1: 4}},
    ),
    Case(
        "memory that is not measured, and more vCPUs",
        "sections",
        "virtee/sev-snp-measure#56, c8s#217",
        "plain",
        {"page-types.snp-sec-mem": "unmeasured", "vcpus": "4"},
        {"types": {1: 4}, "vcpus": 4},
    ),
    Case(
        "zeros written where QEMU lets them be",
        "sections",
        "gce-tcb-verifier#78",
        "direct",
        {"page-types.kernel-hashes-absent": "normal"},
        {"types": {0x10: 1}, "hashes": None},
        {"kernel": {"hashes": False}},
    ),
    Case(
        "the page of the SVSM's calling area, not measured",
        "sections",
        "virtee/sev-snp-measure#50, #53",
        "direct",
        {"page-types.svsm-caa": "unmeasured"},
        {"types": {4: 4}},
    ),
    Case(
        "data by ascending address, as the proposal of 2019 has it",
        "sections",
        "AMDSEV#195",
        "direct",
        {"order": "canonical"},
        {"ascending": True},
    ),
    Case(
        "the layout of sev-snp-measure 0.0.8's firmware",
        "sections",
        "virtee/sev-snp-measure#12, edk2#6054",
        "suffix",
        {"sections": "those before 2024-08", "profile": "qemu-snp-legacy-fpu"},
        {**LEGACY_FPU, "hashes": hashes(b""), "vcpus": 4},
        _by_newer_sections,
        published=V008,
        public=True,
    ),
]


CASES = [*VMMS, *INGREDIENTS, *SECTIONS]

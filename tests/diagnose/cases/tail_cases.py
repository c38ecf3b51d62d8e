"""What the VMSAs hold: CPU model, era of the host kernel, SEV_FEATURES."""

from __future__ import annotations

from typing import Any

from tests.diagnose.cases.case import Case, Peer, report_with
from tests.diagnose.cases.hosts import DEBUGSWAP, EC2_RDX0, INIT2, LEGACY_FPU, number
from tests.support.chain import segment

__all__ = ["CASES"]


def _cpu(name: str, threads: str, signature: int, guest: str = "direct", **more: Any) -> Case:
    return Case(name, "cpu", threads, guest, {"cpu": f"{signature:#010x}"}, {"signature": signature}, **more)


CPUS = [
    _cpu("EPYC-v4 declared, EPYC-Milan started", "virtee/sev#317, kata#13874", 0xA00F11),
    _cpu("EPYC-v4 is Naples: Genoa started", "aleph-vm#1145, aleph-vm#1238", 0xA10F10),
    _cpu("EPYC-Rome", "kata#12210", 0x830F10, "plain"),
    _cpu("EPYC-Turin", "virtee/sev-snp-measure#61, sev#392", 0xB00F00, "generic"),
    _cpu("Hygon's Dhyana", "kata#13588", 0x900F01, "plain"),
    _cpu("QEMU without -cpu: qemu64", "kata#13600, kata#13601", 0x60FB1),
    _cpu("EPYC-Milan of an SEV-ES guest", "virtee/sev-snp-measure#15", 0xA00F11, "sev-es"),
    _cpu("Genoa's stepping 1, not 0", "LIT-Protocol/sev-snp-utils#11, #12", 0xA10F11, "plain"),
    _cpu("signature 0 hard-coded by the publisher", "salmiac#66", 0, "plain"),
    _cpu("a VMM that sets no CPUID before reset", "aws/uefi#19", 0x600, "plain"),
    _cpu(
        "-cpu host on Turin, from its report",
        "salmiac#67",
        0xB00F21,
        expected=report_with("reports/turin-v5-oak.report.bin"),
    ),
    _cpu(
        "-cpu host on Bergamo, from its report",
        "salmiac#67",
        0xAA0F02,
        expected=report_with("reports/siena-bergamo-v5-attestation-rs.report.bin"),
    ),
    Case(
        "-cpu host on Genoa, more vCPUs, from its report",
        "cpu",
        "salmiac#67, c8s#217",
        "direct",
        {"cpu": "0x00a10f11", "vcpus": "4"},
        {"signature": 0xA10F11, "vcpus": 4},
        expected=report_with("reports/genoa-v5-oak.report.bin"),
    ),
    Case(
        "another CPU on a host with DebugSwap",
        "cpu",
        "AMDSEV#212, aleph-vm#1145",
        "direct",
        {"cpu": "0x00a00f11", "guest-features": "0x21"},
        {"signature": 0xA00F11, **DEBUGSWAP},
    ),
    Case(
        "another CPU on an older host kernel",
        "cpu",
        "amd/sev-utils#8, virtee/sev#317",
        "generic",
        {"cpu": "0x00a00f11", "profile": "qemu-snp-legacy-fpu"},
        {"signature": 0xA00F11, **LEGACY_FPU},
    ),
]


def _asked(release: str, firmware: str, mode: str = "snp", vmm: str = "QEMU", *more: str) -> Peer:
    arguments = ["--mode", mode, "--vcpus", "2", "--vcpu-type", "EPYC-v4", "--ovmf", f"@{firmware}", *more]
    if release != "0.0.5":
        arguments += ["--vmm-type", vmm]
    return Peer(f"sev-snp-measure {release}", arguments)


TWO = {"vcpu": {"count": 2}}
OLD_FPU = {"profile": "qemu-snp-legacy-fpu"}
KERNEL = ["--kernel", "@kernel", "--initrd", "@initrd", "--append", "console=ttyS0 root=/dev/vda ro panic=-1"]

ERAS = [
    *(
        Case(
            f"what sev-snp-measure {release} prints (87ef91f9)",
            "era",
            "amd/sev-utils#8, #9, virtee/sev-snp-measure#48, #49",
            "suffix",
            OLD_FPU,
            LEGACY_FPU,
            peer=_asked(release, "AmdSev_suffix_2024.bin"),
            public=True,
        )
        for release in ("0.0.5", "0.0.6", "0.0.7", "0.0.8")
    ),
    Case(
        "what sev-snp-measure 0.0.9 prints (5cda9712)",
        "era",
        "amd/sev-utils#10, virtee/sev-snp-measure#43, #44",
        "suffix",
        {**OLD_FPU, "guest-features": "0x21"},
        {**LEGACY_FPU, **DEBUGSWAP},
        peer=_asked("0.0.9", "AmdSev_suffix_2024.bin"),
        public=True,
    ),
    *(
        Case(
            f"what sev-snp-measure {release} prints (54db6ced), values of an older host",
            "era",
            "amd/sev-utils#11",
            "suffix",
            {"profile": "qemu"},
            {},
            {"launch": {"profile": "qemu-snp-legacy-fpu"}},
            peer=_asked(release, "AmdSev_suffix_2024.bin"),
            public=True,
        )
        for release in ("0.0.10", "0.0.11", "0.0.12", "0.0.13")
    ),
    Case(
        "a host kernel before 6.9, by sev-snp-measure 0.0.7",
        "era",
        "amd/sev-utils#8",
        "generic",
        OLD_FPU,
        {**LEGACY_FPU, "vcpus": 2},
        TWO,
        peer=_asked("0.0.7", "generic"),
    ),
    Case(
        "a host kernel before 6.9 with DebugSwap, by sev-snp-measure 0.0.9",
        "era",
        "virtee/sev-snp-measure#32",
        "plain",
        {**OLD_FPU, "guest-features": "0x21"},
        {**LEGACY_FPU, **DEBUGSWAP, "vcpus": 2},
        TWO,
        peer=_asked("0.0.9", "code"),
    ),
    *(
        Case(
            f"SEV-ES by sev-snp-measure {release}: the FPU state of INIT2",
            "era",
            "virtee/sev-snp-measure#48",
            "sev-es",
            {"profile": "qemu-es-init2"},
            {**INIT2, "vcpus": 2},
            TWO,
            peer=_asked(release, "amdsev", "seves", "QEMU", *KERNEL),
        )
        for release in ("0.0.10", "0.0.13")
    ),
    Case(
        "SEV-ES by sev-snp-measure 0.0.8: no FPU state",
        "era",
        "virtee/sev-snp-measure#49",
        "sev-es",
        {"profile": "qemu"},
        {"vcpus": 2},
        {**TWO, "launch": {"profile": "qemu-es-init2"}},
        peer=_asked("0.0.8", "amdsev", "seves", "QEMU", *KERNEL),
    ),
    *(
        Case(
            f"EC2 by sev-snp-measure {release}: RDX 0",
            "era",
            "virtee/sev-snp-measure#13, #60, aws/uefi#19",
            "generic",
            {"profile": "ec2-rdx0"},
            {**EC2_RDX0, "vcpus": 2},
            {**TWO, "launch": {"profile": "ec2"}},
            peer=_asked(release, "generic", "snp", "ec2"),
        )
        for release in ("0.0.6", "0.0.12")
    ),
    Case(
        "EC2 by sev-snp-measure 0.0.9: RDX 0 and DebugSwap",
        "era",
        "virtee/sev-snp-measure#30, #60",
        "generic",
        {"profile": "ec2-rdx0", "guest-features": "0x21"},
        {**EC2_RDX0, **DEBUGSWAP, "vcpus": 2},
        {**TWO, "launch": {"profile": "ec2"}},
        peer=_asked("0.0.9", "generic", "snp", "ec2"),
    ),
    Case(
        "MXCSR without FCW",
        "era",
        "svsm#294, virtee/sev-snp-measure#54",
        "plain",
        {"registers.x87-fcw": "0x0"},
        {"vmsa": {0x410: number(0, 2)}},
    ),
    Case(
        "G_PAT of another VMM",
        "era",
        "openvmm#4247",
        "direct",
        {"registers.g-pat": "0x70106"},
        {"vmsa": {0x268: number(0x70106)}},
    ),
    Case(
        "the busy bit of TR",
        "era",
        "virtee/sev-snp-measure#13",
        "plain",
        {"registers.tr.attributes": "0x83"},
        {"vmsa": {0x090: segment(0x83)}},
    ),
    Case(
        "the VMSA at the top of 52 bits",
        "era",
        "svsm#123",
        "direct",
        {"vmsa-gpa": "0xffffffffff000"},
        {"gpa": 0xFFFFFFFFFF000},
    ),
    Case(
        "the VMSA at the top of 52 bits, and more vCPUs",
        "era",
        "svsm#123, c8s#217",
        "direct",
        {"vmsa-gpa": "0xffffffffff000", "vcpus": "4"},
        {"gpa": 0xFFFFFFFFFF000, "vcpus": 4},
    ),
    Case(
        "only the first VMSA measured of four: the launch of one vCPU",
        "era",
        "oak#3495, svsm#353",
        "direct",
        {"vcpus": "1"},
        {"measured": 1, "vcpus": 4},
        {"vcpu": {"count": 4}},
    ),
    Case(
        "FPU state, DebugSwap, another CPU and another line at once",
        "era",
        "amd/sev-utils#8",
        "plain",
        host={
            **LEGACY_FPU,
            "features": 0x25,
            "signature": 0xA00F12,
            "vcpus": 77,
            "gpa": 0xFFFFFFFFF000,
            "vmsa": {0x268: number(1)},
        },
        excludes=r"firmware",
    ),
]


def _features(name: str, threads: str, bits: int, guest: str = "direct") -> Case:
    host = {"features": bits}
    return Case(name, "features", threads, guest, {"guest-features": f"{bits:#x}"}, host)


FEATURES = [
    _features("DebugSwap", "AMDSEV#195, #212, virtee/sev-snp-measure#30, #32, svsm#365", 0x21),
    _features("DebugSwap of an SEV-ES guest", "AMDSEV#195", 0x20, "sev-es"),
    _features("no feature at all", "salmiac#66", 0x0, "plain"),
    _features("SecureTSC", "dstack#1275, snphost#193", 0x201),
    _features("SecureAVIC", "svsm#897", 0x10001, "plain"),
    _features("what COCONUT-SVSM asks for", "svsm#897, svsm#365", 0x29, "plain"),
    _features("vTOM", "svsm#897", 0x3, "plain"),
    _features("BTB isolation", "svsm#897", 0x81, "generic"),
    _features("VMSA register protection", "svsm#897", 0x4001, "generic"),
    _features("IBPB on entry", "salmiac#66", 0x200001, "plain"),
    _features("SMT protection", "svsm#897", 0x8001, "plain"),
    Case(
        "0x21 declared after an older default, 0x1 launched",
        "features",
        "virtee/sev-snp-measure#43, #44",
        "direct",
        {"guest-features": "0x1"},
        {},
        {"launch": {"guest-features": 0x21}},
    ),
    Case(
        "SecureTSC, and more vCPUs",
        "features",
        "dstack#1275, c8s#217",
        "dstack",
        {"guest-features": "0x201", "vcpus": "8"},
        {"features": 0x201, "vcpus": 8},
    ),
    Case(
        "DebugSwap on SEV-ES, and another CPU",
        "features",
        "AMDSEV#195, virtee/sev#317",
        "sev-es",
        {"guest-features": "0x20", "cpu": "0x00a00f11"},
        {"features": 0x20, "signature": 0xA00F11},
    ),
]

CASES = [*CPUS, *ERAS, *FEATURES]

"""Rules of the initial state of vCPUs: eras of host kernels, other hypervisors, where VMSAs lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.applying import departing, side_of_vmsas
from sevbuild.diagnose.rules.weights import REGISTERS, SWEPT
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.profile import MEASURED_VCPUS

__all__ = ["register_changes"]

_BOTH = ("bsp", "ap")


class _Era(NamedTuple):
    """Registers as one era of hosts, one hypervisor or one tool has them; `roles` are the vCPUs that do.

    Names are those of profiles, a part of a segment after a dot.
    """

    name: str
    registers: Mapping[str, int]
    source: str
    weight: int
    roles: tuple[str, ...] = _BOTH


_FPU = "Linux before 6.9 copied no FPU state; virtee/sev-snp-measure pulls 48 and 49"
_ATTRIBUTES = "virtee/sev-snp-measure 0.0.13 vmsa.py: bits of SS, TR and CS as VMRUN leaves them"

_ERAS = (
    _Era("fpu-zero", {"mxcsr": 0, "x87-fcw": 0}, _FPU, REGISTERS),
    _Era(
        "fpu-set",
        {"mxcsr": 0x1F80, "x87-fcw": 0x37F},
        "Linux 6.9 and 6.10 copy the FPU state into the VMSA of SNP and KVM_SEV_INIT2 guests",
        REGISTERS,
    ),
    _Era(
        "fpu-mxcsr",
        {"mxcsr": 0x1F80, "x87-fcw": 0},
        "virtee/sev-snp-measure since 0.0.10, mode snp:svsm: MXCSR is set and FCW is not",
        REGISTERS + 4,
    ),
    _Era(
        "g-pat-reset",
        {"g-pat": 0x0007040600070406},
        "APM vol. 2 section 7.8.1: the value after a reset, as KVM has it",
        REGISTERS + 5,
    ),
    _Era("g-pat-gce", {"g-pat": 0x00070106}, "google/gce-tcb-verifier 74582c0 sev/vmsa.go", REGISTERS + 5),
    _Era(
        "attributes-kvm",
        {"ss.attributes": 0x93, "tr.attributes": 0x8B, "cs.attributes": 0x9B},
        "QEMU 10.2 target/i386/cpu.c: segments with the accessed and busy bits",
        REGISTERS + 6,
    ),
    _Era(
        "attributes-vmrun",
        {"ss.attributes": 0x92, "tr.attributes": 0x83, "cs.attributes": 0x9A},
        "libkrun, and virtee/sev 7.1 vmsa.rs for it: CS of every vCPU",
        REGISTERS + 7,
    ),
    _Era("attributes-ss", {"ss.attributes": 0x92}, _ATTRIBUTES, SWEPT + 1),
    _Era("attributes-tr", {"tr.attributes": 0x83}, _ATTRIBUTES, SWEPT + 1),
    _Era("attributes-cs", {"cs.attributes": 0x9A}, _ATTRIBUTES, SWEPT + 1),
    _Era("attributes-cs-bsp", {"cs.attributes": 0x9A}, _ATTRIBUTES, SWEPT + 1, ("bsp",)),
    _Era(
        "limits-zero",
        {"gdtr.limit": 0, "idtr.limit": 0},
        "buildigvm: GDTR and IDTR without a limit",
        REGISTERS + 8,
    ),
    _Era(
        "cr0-reset",
        {"cr0": 0x60000010},
        "Linux KVM_X86_QUIRK_CD_NW_CLEARED: without the quirk CD and NW stay set",
        REGISTERS + 9,
    ),
    _Era("cr0-protected", {"cr0": 0x11}, "COCONUT-SVSM on its QEMU fork: protected mode", SWEPT + 5),
    _Era("cr0-extension", {"cr0": 0x31}, "igvmmeasure --check-kvm wants CR0 0x31 or 0x30", SWEPT + 5),
    _Era("cr0-numeric", {"cr0": 0x30}, "igvmmeasure --check-kvm wants CR0 0x31 or 0x30", SWEPT + 6),
    _Era("cr4-zero", {"cr4": 0}, "Linux arch/x86/kvm/svm/svm.c: CR4.MCE is the host's", SWEPT + 7),
    _Era(
        "krun",
        {"rsp": 0x8FF0, "rbp": 0x8FF0, "rsi": 0x7000},
        "libkrun: the stack and the boot parameters of its first vCPU",
        SWEPT + 10,
        ("bsp",),
    ),
)

_ENTRIES = (
    (
        0xFFFFFFF0,
        "the reset vector",
        "QEMU 10.2 backends/igvm.c: a vCPU that a file does not describe is not told of OVMF's reset block",
        SWEPT - 10,
    ),
    (0xFFFFFFF3, "libkrun's", "libkrun: further vCPUs begin three bytes after the first", SWEPT + 3),
    (0x91000, "that of virtee/sev for libkrun", "virtee/sev 7.1 vmsa.rs, init_krun", SWEPT + 4),
)

_WIDTHS = {
    52: "google/gce-tcb-verifier 74582c0 sev/sev.go: Genoa has 52 physical address bits",
    48: "Linux arch/x86/kvm/svm/sev.c, INITIAL_VMSA_GPA: the top of 48 bits",
    47: "CPUID Fn8000_001F EBX: of 52 or 48 physical address bits memory encryption takes some",
    46: "CPUID Fn8000_001F EBX: of 52 or 48 physical address bits memory encryption takes some",
    43: "CPUID Fn8000_001F EBX: of 52 or 48 physical address bits memory encryption takes some",
    51: "CPUID Fn8000_001F EBX: bit 51 is the C-bit of Milan and Genoa",
}
_GPA = "github.com/coconut-svsm/svsm #433: before v9 of the SNP host patches the VMSA had another address"


def register_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of registers, of where further vCPUs start, and of where which VMSAs are measured."""
    setup = start.setup
    if setup.mode == "sev" or not isinstance(setup, LaidOut | FileLaunch):
        return
    side = side_of_vmsas(setup)
    for era in _ERAS:
        values = {
            f"registers.{role}.{name}": value for role in era.roles for name, value in era.registers.items()
        }
        other = {name: value for name, value in era.registers.items() if _own(setup, name) != value}
        names = ", ".join(f"{_spelled(name)} {value:#x}" for name, value in (other or era.registers).items())
        whose = "of the first vCPU" if era.roles == ("bsp",) else "of every vCPU"
        says = f"{names} in the initial state {whose}"
        yield Change("registers", era.name, side, departing(values), says, era.source, era.weight)
    if not isinstance(setup, LaidOut):
        return
    yield from _entry_changes(setup)
    for word in MEASURED_VCPUS:
        if word != setup.shape.launch.measured_vcpus:
            says = "the VMSA of the first vCPU alone" if word == "bsp" else "the VMSA of every vCPU"
            source = "github.com/coconut-svsm/svsm pull 353: its host kernel measures the first vCPU alone"
            apply = departing({"measured-vcpus": word})
            yield Change("measured-vcpus", word, "tail", apply, says, source, REGISTERS + 15)
    if setup.mode == "snp":
        yield from _gpa_changes(setup)


def _own(setup: Setup, register: str) -> object:
    """Return a register of the first vCPU of a launch that is laid out: a number, or a word for one."""
    if not isinstance(setup, LaidOut):
        return None
    name, _, part = register.partition(".")
    value = setup.shape.launch.vcpu_state(setup.mode, "bsp").get(name.replace("-", "_"), 0)
    return value.get(part, 0) if isinstance(value, Mapping) else value


def _spelled(register: str) -> str:
    name, _, part = register.partition(".")
    return f"{part} of {name.upper()}" if part else name.upper()


def _entry_changes(setup: LaidOut) -> Iterator[Change]:
    reset = setup.inputs.firmware.metadata.reset or 0
    entries = list(_ENTRIES)
    if reset >> 24:
        source = "sevctl 0.6.2 reads three bytes of the reset address"
        entries.insert(0, (reset & 0xFFFFFF, "three bytes of OVMF's reset address", source, SWEPT - 9))
    for entry, name, source, weight in entries:
        says = f"{entry:#x} as the address at which further vCPUs start ({name})"
        apply = departing({"entry.ap": entry})
        yield Change("entry", f"ap {entry:#x}", "tail", apply, says, source, weight)


def _gpa_changes(setup: LaidOut) -> Iterator[Change]:
    own = setup.shape.launch.vmsa_gpa
    for rank, width in enumerate(dict.fromkeys((*_WIDTHS, *range(36, 53)))):
        gpa = (1 << width) - PAGE_SIZE
        if gpa != own:
            weight = (REGISTERS + 10 if width in _WIDTHS else SWEPT) + rank
            says = f"VMSAs at {gpa:#x} (the top of {width} address bits)"
            apply = departing({"vmsa-gpa": gpa})
            yield Change("vmsa-gpa", f"{gpa:#x}", "tail", apply, says, _WIDTHS.get(width, _GPA), weight)

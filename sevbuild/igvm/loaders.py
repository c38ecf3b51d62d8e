"""What is known of each program that loads or measures IGVM files, as data.

Each value was read in the source named beside it; what a value stands for is documented at its field.
"""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.igvm.headers import HeaderType
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import PageType
from sevbuild.vcpu.save_area import FIELDS

__all__ = ["LOADERS", "ORDERS", "Loader", "loader_named"]

KVM_VMSA_GPA = 0xFFFFFFFFF000
"""Where KVM measures every VMSA (Linux 6.11 arch/x86/kvm/svm/sev.c, INITIAL_VMSA_GPA: 48 bits of ones)."""

ORDERS = ("file", "gpa", "buffered")
"""How loaders order what they launch (Loader says what each word means)."""


class Loader(NamedTuple):
    """One loader, and how it reads a file.

    `modes`: what it launches or measures, strongest first.
    `launches`: it starts guests; else it only measures files.
    `filtered`: its reader leaves out the headers of other platforms; else it meets them all.
    `first_platform`: a debug build stops where the file's first platform is another than the one it takes.
    `needs_policy`: it refuses a platform without GUEST_POLICY.
    `policy`: which GUEST_POLICY of its platform it takes: the `first`, the first `nonzero` or the `last`.
    `zero_page`: the type of a normal page without data.
    `shared_launched`: it takes a shared page for a private one; else it leaves it out.
    `insert_pages`: how many pages of an inserted parameter area are launched, None for all.
    `huge_pages`: how many 4 KiB pages an empty page with the 2 MiB flag is, None where that is not known.
    `huge_data`: it takes such a page with data for one of 4 KiB; else it stops, or `huge_pages` is None too.
    `order`: `file`, `gpa` (stable, VMSAs included) or `buffered` (pages wait until their run ends, other
    directives act at once).
    `vmsas_last`: one VMSA a vCPU after everything else, in the order of vCPUs; else in their places.
    `other_vmsas`: it takes the VMSAs of every platform that has them, SNP and SEV-ES, in every mode. A
    context that is no VMSA (NATIVE, SEV) no loader takes.
    `vmsa_gpa`: where VMSAs are measured, None for where the file says.
    `vmsa_gpa_checked`: it refuses a context at any other place.
    `vmsa_fields`: the registers it takes from a context, and it refuses one with others set; None for all.
    `reset_profile`: a vCPU that the file does not describe starts at the reset vector with the registers of
    this profile's first vCPU; None where that is unknown.
    `handled`: the variable headers it knows, None for all.
    `unhandled_refused`: others are refused here as well; else the digest is given with the doubt.
    `several_contexts`: it is known what it makes of more than one.
    `cpuid_needs_data`: it reads a table out of the data of a CPUID page.
    `hash_page`: the GPA of the page into which it writes kernel hashes of its own, None for none.
    `hash_offset`: where in that page.
    `sev_zero_pages`, `sev_unmeasured`: in SEV and SEV-ES, whether a page without data and an unmeasured
    page enter the digest.
    """

    name: str
    summary: str
    source: str
    modes: tuple[Mode, ...] = ("snp",)
    launches: bool = True
    filtered: bool = False
    first_platform: bool = False
    needs_policy: bool = False
    policy: str = "first"
    zero_page: PageType = PageType.NORMAL
    shared_launched: bool = True
    insert_pages: int | None = None
    huge_pages: int | None = None
    huge_data: bool = False
    order: str = "file"
    vmsas_last: bool = False
    other_vmsas: bool = False
    vmsa_gpa: int | None = None
    vmsa_gpa_checked: bool = False
    vmsa_fields: frozenset[str] | None = None
    reset_profile: str | None = None
    handled: frozenset[HeaderType] | None = None
    unhandled_refused: bool = False
    several_contexts: bool = True
    cpuid_needs_data: bool = False
    hash_page: int | None = None
    hash_offset: int = 0
    sev_zero_pages: bool = True
    sev_unmeasured: bool = False


_REFERENCE = Loader(
    "igvm-reference",
    "the igvm crate's own measurement, as igvmfilegen and Hyper-V take it",
    "microsoft/igvm e6c3ff1c (2026-06-09) igvm/src/measurement",
    launches=False,
    needs_policy=True,
    shared_launched=False,
    huge_pages=1,
    huge_data=True,
)

_IGVMMEASURE = Loader(
    "igvmmeasure",
    "COCONUT-SVSM's igvmmeasure",
    "coconut-svsm/svsm f4bc4bcd (2026-08-20) tools/igvmmeasure",
    modes=("snp", "sev-es", "sev"),
    launches=False,
    insert_pages=1,
    huge_pages=512,
    other_vmsas=True,
    sev_zero_pages=False,
    sev_unmeasured=True,
)

# QEMU takes these through KVM's registers, and compares the rest of the page with zeros.
_QEMU_FIELDS = frozenset(
    [
        *(field.name for field in FIELDS if field.kind == "segment"),
        "efer",
        "cr4",
        "cr3",
        "cr0",
        "dr7",
        "dr6",
        "rflags",
        "rip",
        "rsp",
        "rax",
        "g_pat",
        "rcx",
        "rdx",
        "rbx",
        "rbp",
        "rsi",
        "rdi",
        *(f"r{number}" for number in range(8, 16)),
        "sev_features",
        "xcr0",
        "mxcsr",
        "x87_fcw",
    ]
)

_HANDLED = frozenset(
    {
        HeaderType.GUEST_POLICY,
        HeaderType.PARAMETER_AREA,
        HeaderType.PAGE_DATA,
        HeaderType.PARAMETER_INSERT,
        HeaderType.VP_CONTEXT,
        HeaderType.REQUIRED_MEMORY,
        HeaderType.VP_COUNT_PARAMETER,
        HeaderType.SNP_ID_BLOCK,
        HeaderType.MEMORY_MAP,
    }
)
"""The variable headers that every hypervisor knows."""

_QEMU = Loader(
    "qemu",
    "QEMU with KVM",
    "QEMU 10.2.50 (2026-02) backends/igvm.c, target/i386/sev.c, target/i386/igvm.c",
    modes=("snp", "sev-es", "sev"),
    policy="last",
    order="buffered",
    vmsas_last=True,
    vmsa_gpa=KVM_VMSA_GPA,
    vmsa_gpa_checked=True,
    vmsa_fields=_QEMU_FIELDS,
    reset_profile="qemu",
    handled=_HANDLED | {HeaderType.MADT, HeaderType.ENVIRONMENT_INFO_PARAMETER},
    unhandled_refused=True,
)

_CLOUD_HYPERVISOR_HANDLED = _HANDLED | {HeaderType.COMMAND_LINE}
_CLOUD_HYPERVISOR_SOURCE = (
    "cloud-hypervisor ae44c297 (2026-08-22) vmm/src/igvm/igvm_loader.rs, vmm/src/sev.rs"
)

_CLOUD_HYPERVISOR_KVM = Loader(
    "cloud-hypervisor-kvm",
    "Cloud Hypervisor with KVM",
    _CLOUD_HYPERVISOR_SOURCE,
    filtered=True,
    first_platform=True,
    policy="nonzero",
    zero_page=PageType.ZERO,
    vmsas_last=True,
    vmsa_gpa=KVM_VMSA_GPA,
    handled=_CLOUD_HYPERVISOR_HANDLED,
    hash_page=0x10000,
    hash_offset=0xC00,
)

_CLOUD_HYPERVISOR_MSHV = Loader(
    "cloud-hypervisor-mshv",
    "Cloud Hypervisor with Microsoft's hypervisor",
    _CLOUD_HYPERVISOR_SOURCE,
    filtered=True,
    first_platform=True,
    policy="nonzero",
    insert_pages=1,
    order="gpa",
    handled=_CLOUD_HYPERVISOR_HANDLED,
    several_contexts=False,
    cpuid_needs_data=True,
)

LOADERS: dict[str, Loader] = {
    loader.name: loader
    for loader in (
        _REFERENCE,
        _IGVMMEASURE,
        _IGVMMEASURE._replace(
            name="igvmmeasure-native-zero",
            summary="COCONUT-SVSM's igvmmeasure --native-zero",
            zero_page=PageType.ZERO,
        ),
        _QEMU,
        _CLOUD_HYPERVISOR_KVM,
        _CLOUD_HYPERVISOR_MSHV,
    )
}
"""Every loader by name, in the order of the tables."""


def loader_named(name: str) -> Loader:
    """Return a loader; raises SevbuildError for a name there is not."""
    loader = LOADERS.get(name)
    if loader is None:
        raise SevbuildError(f"unknown loader {name!r}", hint=f"known: {', '.join(LOADERS)}, or all")
    return loader

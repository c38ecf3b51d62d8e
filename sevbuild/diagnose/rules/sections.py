"""Rules of the firmware's sections: their order, which of them are launched, and as which pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.departures import LEFT_OUT
from sevbuild.diagnose.rules.applying import departing, on_laid_out
from sevbuild.diagnose.rules.weights import SECTIONS, SWEPT
from sevbuild.diagnose.setup import LaidOut
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import SECTION_KINDS, Area, Metadata, Section, section_kind_name
from sevbuild.launch.page_type import PageType, page_type_word

__all__ = ["section_changes"]

_SWEPT = "not seen in the wild: virtee/sev-snp-measure pulls 12 and 13 show that hosts differ in the order"
_HASHES, _ABSENT = "kernel-hashes", "kernel-hashes-absent"
_LAST = (
    ((), "sections in the order of the firmware's table", "QEMU 10.2 target/i386/sev.c", SECTIONS),
    (
        ("cpuid",),
        "the CPUID page after all other sections",
        "virtee/sev-snp-measure: the CPUID page follows all other sections on EC2",
        SECTIONS + 1,
    ),
    (
        (_HASHES,),
        "the page of the kernel hashes after all other sections",
        "github.com/tianocore/edk2 pull 6054: it moved in 2024-08",
        SECTIONS + 3,
    ),
    (("snp-secrets", "cpuid"), "secrets and CPUID after all other sections", _SWEPT, SWEPT + 40),
    (("snp-secrets",), "secrets after all other sections", _SWEPT, SWEPT + 41),
    (("snp-sec-mem",), "memory after all other sections", _SWEPT, SWEPT + 42),
    (("svsm-caa",), "the SVSM calling area after all other sections", _SWEPT, SWEPT + 43),
)
_FIRST = (
    "virtee/sev-snp-measure 0.0.4 and pull 12: QEMU patches of early 2023 launched it before the sections"
)
_FILLED_IN = "not seen in the wild: a digest of the pages alone whose contents a tool knows"
_LEFT_OUT = {
    "cpuid": ("no CPUID page", _FILLED_IN, SECTIONS + 6),
    _HASHES: (
        "no page for kernel hashes",
        "OvmfX64 has no section of kind 0x10; tools that know none leave it out",
        SECTIONS + 4,
    ),
    "svsm-caa": (
        "no SVSM calling area",
        "github.com/virtee/sev-snp-measure #50 and #53: section kind 4 was not known",
        SECTIONS + 5,
    ),
    "snp-secrets": ("no secrets page", _FILLED_IN, SWEPT + 44),
    "snp-sec-mem": ("no memory sections", _FILLED_IN, SWEPT + 44),
}
_NORMAL, _ZERO, _UNMEASURED = PageType.NORMAL, PageType.ZERO, PageType.UNMEASURED
_WRITTEN = "QEMU 10.2 backends/igvm.c: a page of zeros in an IGVM file is launched as it is written"
_UNSEEN = "not seen in the wild: google/gce-tcb-verifier shows that hosts leave memory unmeasured"
_TYPES = (
    (
        "snp-sec-mem",
        _UNMEASURED,
        "google/gce-tcb-verifier 74582c0 sev/sev.go: SEC_MEM is UNMEASURED",
        SECTIONS + 2,
    ),
    ("snp-sec-mem", _ZERO, "QEMU 10.2 target/i386/sev.c: SEC_MEM is ZERO", SECTIONS + 2),
    ("snp-sec-mem", _NORMAL, _WRITTEN, SECTIONS + 8),
    (_ABSENT, _NORMAL, _WRITTEN, SECTIONS + 4),
    (_ABSENT, _ZERO, "QEMU 10.2 target/i386/sev.c: without kernel hashes the page is ZERO", SECTIONS + 4),
    (_ABSENT, _UNMEASURED, _UNSEEN, SWEPT + 45),
    ("svsm-caa", _UNMEASURED, _UNSEEN, SWEPT + 46),
    ("svsm-caa", _ZERO, "QEMU 10.2 target/i386/sev.c: by its default", SECTIONS + 9),
    ("svsm-caa", _NORMAL, _WRITTEN, SWEPT + 46),
)


class _Layout(NamedTuple):
    """The SEV metadata of one era of firmware builds."""

    name: str
    says: str
    hash_table: int | None
    sections: tuple[Section, ...]
    source: str


_BASE = (Section(0x800000, 0x9000, 1), Section(0x80A000, 0x3000, 1), Section(0x80D000, 0x1000, 2))
_CPUID = Section(0x80E000, 0x1000, 3)
_CAA = Section(0x80F000, 0x1000, 4)
_LAYOUTS = (
    _Layout(
        "AmdSev since 2024-08",
        "the sections of AmdSev builds since August 2024",
        0x810C00,
        (*_BASE, _CPUID, _CAA, Section(0x810000, 0x1000, 0x10), Section(0x811000, 0xF000, 1)),
        "github.com/tianocore/edk2 pull 6054",
    ),
    _Layout(
        "AmdSev before 2024-08",
        "the sections of AmdSev builds before August 2024",
        0x80FC00,
        (*_BASE, _CPUID, Section(0x80F000, 0x1000, 0x10), Section(0x810000, 0x10000, 1)),
        "virtee/sev-snp-measure v0.0.8 tests; github.com/tianocore/edk2 pull 6054",
    ),
    _Layout(
        "OvmfX64 since 2024-08",
        "the sections of OvmfX64 builds since August 2024",
        None,
        (*_BASE, _CPUID, _CAA, Section(0x810000, 0x10000, 1)),
        "github.com/tianocore/edk2 pull 6054",
    ),
    _Layout(
        "OvmfX64 before 2024-08",
        "the sections of OvmfX64 builds before August 2024",
        None,
        (*_BASE, _CPUID, Section(0x80F000, 0x11000, 1)),
        "github.com/tianocore/edk2, OvmfPkg/ResetVector before pull 6054",
    ),
)


def section_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of axes sections and page-types, as far as the firmware has such sections.

    A firmware that is known by its seed can have had the metadata of another era besides.
    """
    setup = start.setup
    if not isinstance(setup, LaidOut) or setup.mode != "snp":
        return
    svsm, firmware = setup.inputs.svsm, setup.inputs.firmware
    sections = (firmware.metadata.sections if svsm is None else svsm.sections) or ()
    kinds = [section_kind_name(section.kind) for section in sections]
    yield from _order_changes(kinds)
    for kind, (says, source, weight) in _LEFT_OUT.items():
        if kind in kinds:
            apply = departing({LEFT_OUT: (kind,)})
            yield Change("sections", f"no {kind}", "body", apply, says, source, weight)
    if isinstance(firmware, FirmwareSeed) and svsm is None:
        for rank, layout in enumerate(_LAYOUTS):
            yield _layout_change(firmware, layout, SECTIONS + 2 + rank)
    yield from _type_changes(kinds)


def _order_changes(kinds: Sequence[str]) -> Iterator[Change]:
    first = tuple(kind for kind in dict.fromkeys(kinds) if kind != _HASHES)
    says = "the page of the kernel hashes before all other sections"
    seen: set[tuple[str, ...]] = set()
    for last, what, source, weight in (*_LAST, (first, says, _FIRST, SECTIONS + 2)):
        order = (*(kind for kind in kinds if kind not in last), *(kind for kind in kinds if kind in last))
        if order not in seen:
            seen.add(order)
            value = f"{', '.join(last)} last" if last else "as listed"
            value = f"{_HASHES} first" if last == first else value
            apply = departing({"sections-last": last})
            yield Change("sections", value, "body", apply, what, source, weight)


def _layout_change(seed: FirmwareSeed, layout: _Layout, weight: int) -> Change:
    metadata = Metadata(
        sections=layout.sections,
        reset=seed.metadata.reset,
        hash_table=None if layout.hash_table is None else Area(layout.hash_table, 0),
    )

    def change(setup: LaidOut) -> LaidOut:
        if not isinstance(setup.inputs.firmware, FirmwareSeed):
            return setup
        firmware = setup.inputs.firmware._replace(metadata=metadata)
        return setup._replace(inputs=setup.inputs._replace(firmware=firmware))

    listed = ", ".join(
        f'{{ gpa = {section.gpa:#x}, size = {section.size:#x}, kind = "{SECTION_KINDS[section.kind]}" }}'
        for section in layout.sections
    )
    table = None if layout.hash_table is None else f"{layout.hash_table:#x}"
    edits = (
        Edit("firmware.metadata.hash-table", table),
        Edit("firmware.metadata.sections", f"[{listed}]"),
    )
    apply = on_laid_out(change)
    return Change("sections", layout.name, "body", apply, layout.says, layout.source, weight, edits)


def _type_changes(kinds: Sequence[str]) -> Iterator[Change]:
    present = {*kinds, *([_ABSENT] if _HASHES in kinds else [])}
    for kind, page_type, source, weight in _TYPES:
        if kind in present:
            yield _type_change([kind], page_type, source, weight)
    unknown = [kind for kind in dict.fromkeys(kinds) if kind not in SECTION_KINDS.values()]
    if unknown:
        for page_type in (_ZERO, _NORMAL, _UNMEASURED):
            source = "QEMU 10.2 target/i386/sev.c launches kinds that it does not know as ZERO; others differ"
            yield _type_change(["unknown"], page_type, source, SWEPT + 47)
    written = [kind for kind in ("snp-sec-mem", "svsm-caa", _ABSENT) if kind in present]
    if len(written) > 1:
        yield _type_change(written, _NORMAL, _WRITTEN, SECTIONS + 8)


def _type_change(kinds: Sequence[str], page_type: PageType, source: str, weight: int) -> Change:
    word, names = page_type_word(page_type), ", ".join(kinds)
    apply = departing({f"page-types.{kind}": page_type for kind in kinds})
    says = f"sections {names} launched as {word} pages"
    return Change("page-types", f"{names} {word}", "body", apply, says, source, weight)

"""What a firmware can and cannot do, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.guid import GUID_NAMES
from sevbuild.image.igvm_areas import read_igvm_areas
from sevbuild.image.kernel_hashes import TABLE_SIZE
from sevbuild.image.oddities import image_oddities, section_oddities
from sevbuild.image.ovmf import SECTION_KINDS, Area, Firmware, check_sections, section_kind_name

__all__ = ["Finding", "describe_firmware", "lint_firmware"]

_PAGE = 4096
_AMD_SEV = "build OvmfPkg/AmdSev/AmdSevX64.dsc (Debian: package ovmf-amdsev)"
_SHOWN_DATA = 64


class Finding(NamedTuple):
    """One finding: `level` is ok, note, warning or error, `topic` what it is about.

    Topics are `image`, `snp`, `sections`, `smp`, `kernel-hashes` and `igvm`; an error means that no host can
    use the firmware for its topic.
    """

    level: str
    topic: str
    message: str
    hint: str | None = None


def lint_firmware(firmware: Firmware, *, verifier: bool | None) -> list[Finding]:
    """Return what the firmware is good for and what is wrong with it.

    `verifier` tells whether it contains the kernel-hashes verifier, None if that could not be seen.
    """
    return [
        *_image(firmware),
        *_snp(firmware),
        *_sections(firmware),
        *_smp(firmware),
        *_kernel_hashes(firmware, verifier),
        *_igvm(firmware),
    ]


def _image(firmware: Firmware) -> Iterator[Finding]:
    for message, hint in image_oddities(firmware):
        yield Finding("warning", "image", message, hint)
    guids = [entry.guid for entry in firmware.entries]
    for guid in dict.fromkeys(guid for guid in guids if guids.count(guid) > 1):
        name = GUID_NAMES.get(guid, guid)
        yield Finding(
            "warning", "image", f"the footer table has several entries of the {name}; the last one counts"
        )


def _snp(firmware: Firmware) -> Iterator[Finding]:
    sections = firmware.metadata.sections
    if sections is None:
        hint = "SNP needs an OVMF of 2022 or later (edk2-stable202202)"
        yield Finding("error", "snp", "cannot boot SNP: it has no SEV metadata", hint)
        return
    kinds = [section.kind for section in sections]
    missing = [SECTION_KINDS[kind] for kind in (2, 3) if kind not in kinds]
    if missing:
        yield Finding("warning", "snp", f"SNP guests lack a page: no section of kind {' or '.join(missing)}")
    else:
        yield Finding("ok", "snp", "boots SNP")
    for kind in (2, 3):
        if kinds.count(kind) > 1:
            yield Finding(
                "warning", "snp", f"{kinds.count(kind)} sections of kind {SECTION_KINDS[kind]}; one is usual"
            )


def _sections(firmware: Firmware) -> Iterator[Finding]:
    sections = firmware.metadata.sections or ()
    reason = check_sections(sections)
    if reason is not None:
        yield Finding("error", "sections", f"cannot be launched: {reason}")
    for message, hint in section_oddities(firmware):
        yield Finding("warning", "sections", message, hint)
    for index, section in enumerate(sections):
        if section.gpa + section.size > firmware.gpa and section.gpa < firmware.gpa + len(firmware.data):
            name = section_kind_name(section.kind)
            yield Finding("error", "sections", f"section {index} ({name}) overlaps the firmware itself")


def _smp(firmware: Firmware) -> Iterator[Finding]:
    if firmware.metadata.reset:
        yield Finding(
            "ok", "smp", f"starts several vCPUs under SEV-ES and SNP (at {firmware.metadata.reset:#x})"
        )
        return
    what = (
        "has no SEV-ES reset block" if firmware.metadata.reset is None else "has a reset block with address 0"
    )
    yield Finding("warning", "smp", f"one vCPU only under SEV-ES and SNP: it {what}")


def _kernel_hashes(firmware: Firmware, verifier: bool | None) -> Iterator[Finding]:
    area = firmware.metadata.hash_table
    if area is None or not area.base or area.size < TABLE_SIZE:
        what = "no area for kernel hashes"
        if area is not None:
            what = f"the area for kernel hashes is empty (base {area.base:#x}, {area.size} bytes)"
        yield Finding("warning", "kernel-hashes", f"no measured direct boot: {what}", _AMD_SEV)
        return
    if area.base % _PAGE + TABLE_SIZE > _PAGE:
        yield Finding(
            "error", "kernel-hashes", f"the kernel-hashes table at {area.base:#x} crosses the end of its page"
        )
    covered = _covered(firmware, area)
    if firmware.metadata.sections is not None and not covered:
        message = "no measured direct boot under SNP: no kernel-hashes section has the table"
        yield Finding("warning", "kernel-hashes", message, _AMD_SEV)
    modes = "SEV, SEV-ES and SNP" if covered else "SEV and SEV-ES"
    if verifier is False:
        message = (
            "advertises an area for kernel hashes but contains nothing that verifies them: "
            "the digest is reproducible and proves nothing about the kernel"
        )
        yield Finding("warning", "kernel-hashes", message, _AMD_SEV)
    elif verifier is None:
        message = (
            f"measured direct boot ({modes}), if it verifies kernel hashes: no compressed volume to look into"
        )
        yield Finding("warning", "kernel-hashes", message)
    else:
        yield Finding("ok", "kernel-hashes", f"measured direct boot ({modes}); verifies kernel hashes")


def _igvm(firmware: Firmware) -> Iterator[Finding]:
    try:
        read_igvm_areas(firmware)
    except SevbuildError as error:
        yield Finding("warning", "igvm", error.message)


def _covered(firmware: Firmware, area: Area) -> bool:
    sections = firmware.metadata.sections or ()
    return any(
        section.kind == 0x10
        and section.gpa <= area.base
        and area.base + TABLE_SIZE <= section.gpa + section.size
        for section in sections
    )


def describe_firmware(firmware: Firmware) -> dict[str, Any]:
    """Return a JSON-able description: 32- and 64-bit values as hex strings, sizes as numbers."""
    metadata = firmware.metadata
    return {
        "kind": "firmware",
        "size": len(firmware.data),
        "sha256": sha256(firmware.data).hexdigest(),
        "gpa": hex(firmware.gpa),
        "reset": _hex(metadata.reset),
        "hash_table": _area(metadata.hash_table),
        "secret": _area(metadata.secret),
        "svsm_entry": _hex(metadata.svsm_entry),
        "sections": None
        if metadata.sections is None
        else [
            {
                "index": index,
                "gpa": hex(section.gpa),
                "size": hex(section.size),
                "kind": section_kind_name(section.kind),
            }
            for index, section in enumerate(metadata.sections)
        ],
        "igvm_areas": _igvm_areas(firmware),
        "entries": [
            {
                "guid": entry.guid,
                "name": GUID_NAMES.get(entry.guid),
                "offset": hex(entry.offset),
                "size": len(entry.data),
                "data": entry.data[:_SHOWN_DATA].hex(),
            }
            for entry in firmware.entries
        ],
    }


def _igvm_areas(firmware: Firmware) -> list[dict[str, str]]:
    try:
        areas = read_igvm_areas(firmware)
    except SevbuildError:
        # The lint says what is wrong with them.
        return []
    return [{"kind": area.name, "base": hex(area.base), "size": hex(area.size)} for area in areas]


def _hex(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _area(area: Area | None) -> dict[str, str] | None:
    return None if area is None else {"base": hex(area.base), "size": hex(area.size)}

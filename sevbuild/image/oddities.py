"""What is odd about a firmware whoever launches it: said of the file alone, and of every guest it is in."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.image.ovmf import SECTION_KINDS, Firmware, section_kind_name

__all__ = ["image_oddities", "section_oddities"]

_LARGEST_FLASH = 8 << 20
_BIOS_MULTIPLE = 64 << 10


def image_oddities(firmware: Firmware) -> Iterator[tuple[str, str | None]]:
    """Yield what is odd about the image as a whole, and a hint."""
    size = len(firmware.data)
    if size % _BIOS_MULTIPLE:
        hint = "it works as flash unit 0; a split OVMF_CODE is measured without its variable store"
        yield f"{size} bytes is not a multiple of 64 KiB: QEMU's -bios refuses it", hint
    if size > _LARGEST_FLASH:
        yield f"{size} bytes; QEMU maps at most 8 MiB as flash", None
    if not firmware.entries:
        hint = "plain SEV can launch it; SEV-ES needs the table for several vCPUs, SNP always"
        yield "no footer table: is this an OVMF?", hint


def section_oddities(firmware: Firmware) -> Iterator[tuple[str, str | None]]:
    """Yield what is odd about the sections that SNP hosts launch, and a hint."""
    for index, section in enumerate(firmware.metadata.sections or ()):
        if section.kind not in SECTION_KINDS:
            name = section_kind_name(section.kind)
            hint = "older SNP trees of QEMU refuse to start"
            yield f"section {index} has the unknown kind {name}; QEMU launches it as zero pages", hint

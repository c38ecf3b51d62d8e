"""A COCONUT-SVSM binary, placed below OVMF and its variable store."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.ovmf import Section, parse_firmware

__all__ = ["Svsm", "place_svsm"]

_PAGE = 4096


class Svsm(NamedTuple):
    """An SVSM image: `data` is None where its pages are part of a seed.

    `gpa` is where it is loaded, `entry` the address at which every vCPU starts.
    """

    data: bytes | None
    gpa: int
    entry: int
    sections: tuple[Section, ...]


def place_svsm(data: bytes, *, firmware_gpa: int, vars_size: int) -> Svsm:
    """Return the SVSM of `data`, which ends `vars_size` bytes below the firmware.

    Its footer table is OVMF's; the entry point is an offset in it (SVSM_INFO). Raises SevbuildError.
    """
    image = parse_firmware(data)
    entry, sections = image.metadata.svsm_entry, image.metadata.sections
    gpa = firmware_gpa - vars_size - len(data)
    if entry is None or sections is None:
        hint = "it must be the svsm.bin of the QEMU fork; newer SVSMs are IGVM files"
        raise SevbuildError("the SVSM has no entry point or no SEV metadata", hint=hint)
    if gpa < 0 or vars_size % _PAGE:
        raise SevbuildError(f"the SVSM cannot be placed {vars_size:#x} bytes below {firmware_gpa:#x}")
    if entry >= len(data):
        raise SevbuildError(f"the SVSM's entry point {entry:#x} lies outside of it")
    return Svsm(data, gpa, gpa + entry, sections)

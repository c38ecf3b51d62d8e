"""The areas that an OVMF sets aside for an IGVM loader's parameters, listed behind its footer table."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.ovmf import Firmware

__all__ = ["AREA_KINDS", "IGVM_GUID", "IgvmArea", "read_igvm_areas"]

IGVM_GUID = "784fa70e-3176-4677-8a20-04b68699e374"

AREA_KINDS: dict[int, str] = {
    0x100: "parameters",
    0x101: "memory-map",
    0x102: "vp-count",
    0x200: "hobs",
}
"""Kinds of areas (edk2 OvmfPkg/ResetVector/X64, IGVM metadata)."""

_HEADER = Struct("<4sIII")  # signature, length, version, number of areas
_AREA = Struct("<III")  # base, size, kind
_MOST_AREAS = 256


class IgvmArea(NamedTuple):
    """One area: `base` is a GPA, or an offset in the parameters area for what lies in it."""

    base: int
    size: int
    kind: int

    @property
    def name(self) -> str:
        """Return the kind's name, its number in hex if it has none."""
        return AREA_KINDS.get(self.kind, f"{self.kind:#x}")


def read_igvm_areas(firmware: Firmware) -> tuple[IgvmArea, ...]:
    """Return the areas in the order of the table, none where the firmware has no table.

    Raises SevbuildError for a table whose numbers do not add up.
    """
    entry = next((entry for entry in firmware.entries if entry.guid == IGVM_GUID), None)
    if entry is None:
        return ()
    data = firmware.data
    offset = int.from_bytes(entry.data[:4], "little")
    start = len(data) - offset
    if len(entry.data) < 4 or start < 0 or offset < _HEADER.size:
        raise SevbuildError(f"the IGVM metadata is said to be {offset:#x} bytes before the end")
    signature, length, version, count = _HEADER.unpack_from(data, start)
    if signature != b"IGVM" or version != 1:
        raise SevbuildError(f"no IGVM metadata of version 1 at offset {start:#x}")
    end = start + _HEADER.size + count * _AREA.size
    if count > _MOST_AREAS or end > len(data) or end - start > length:
        raise SevbuildError(
            f"the IGVM metadata says it has {count} areas in {length} bytes, which is impossible"
        )
    return tuple(
        IgvmArea(*_AREA.unpack_from(data, at)) for at in range(start + _HEADER.size, end, _AREA.size)
    )

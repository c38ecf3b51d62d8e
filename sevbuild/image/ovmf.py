"""OVMF as a hypervisor reads it: the GUIDed table at its end, and the SEV metadata."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from sevbuild.by_identity import by_identity
from sevbuild.errors import SevbuildError
from sevbuild.image.guid import format_guid
from sevbuild.kind import HEAD_SIZE, kind_of

__all__ = [
    "SECTION_KINDS",
    "Area",
    "Firmware",
    "FooterEntry",
    "Metadata",
    "Section",
    "check_sections",
    "parse_firmware",
    "section_kind_name",
]

FOUR_GIB = 1 << 32
LARGEST = 256 << 20
"""No flash is as large; it keeps a wrong file from being hashed for minutes."""

SECTION_KINDS: dict[int, str] = {
    1: "snp-sec-mem",
    2: "snp-secrets",
    3: "cpuid",
    4: "svsm-caa",
    0x10: "kernel-hashes",
}
"""Kinds of SEV metadata sections (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm)."""

_PAGE = 4096
_FOOTER_AT = 0x20  # the table ends this far before the end of the file
_HEADER = 18  # u16 size, GUID
_METADATA = Struct("<4sIII")  # signature, length, version, number of sections
_SECTION = Struct("<III")  # GPA, size, kind
_MOST_SECTIONS = 4096

_FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
_RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
_SECRET = "4c2eb361-7d9b-4cc3-8081-127c90d3d294"  # noqa: S105 - a GUID
_HASHES = "7255371f-3a3b-4b04-927b-1da6efa8d454"
_SEV = "dc886566-984a-4798-a75e-5585a7bf67cc"
_SVSM = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"


class Area(NamedTuple):
    """An area of guest memory; `size` is 0 where only its address is known."""

    base: int
    size: int


class Section(NamedTuple):
    """One section of the SEV metadata, as the table has it."""

    gpa: int
    size: int
    kind: int


class FooterEntry(NamedTuple):
    """One entry of the footer table; `offset` is that of its data in the file."""

    guid: str
    offset: int
    data: bytes


class Metadata(NamedTuple):
    """What a launch needs besides the pages.

    `sections` is None where the image has no SEV metadata, so SNP cannot boot it. `reset` is the address
    application processors start at. `svsm_entry` is an offset in an SVSM image.
    """

    sections: tuple[Section, ...] | None
    reset: int | None
    hash_table: Area | None
    secret: Area | None = None
    svsm_entry: int | None = None


@by_identity
class Firmware(NamedTuple):
    """An image and what was read from it; `entries` go from the footer downward.

    Images are told apart by identity: a comparison of their bytes would be one of megabytes.
    """

    data: bytes
    metadata: Metadata
    entries: tuple[FooterEntry, ...]

    @property
    def gpa(self) -> int:
        """Return where the image lies: it ends at 4 GiB."""
        return FOUR_GIB - len(self.data)


def section_kind_name(kind: int) -> str:
    """Return the name of a section kind, its number in hex if it has none."""
    return SECTION_KINDS.get(kind, f"{kind:#x}")


def check_sections(sections: Sequence[Section]) -> str | None:
    """Return the first reason why no host can launch these sections, else None."""
    taken: list[tuple[int, int, int]] = []
    for index, (gpa, size, _) in enumerate(sections):
        if gpa % _PAGE or size % _PAGE:
            return f"section {index} ({gpa:#x}, {size:#x} bytes) is not made of whole pages"
        if not size:
            return f"section {index} at {gpa:#x} is empty"
        if gpa + size > FOUR_GIB:
            return f"section {index} ({gpa:#x}, {size:#x} bytes) reaches beyond 4 GiB"
        taken.append((gpa, gpa + size, index))
    taken.sort()
    for (_, end, first), (start, _, second) in pairwise(taken):
        if start < end:
            low, high = sorted((first, second))
            return f"sections {low} and {high} overlap at {start:#x}"
    return None


def parse_firmware(data: bytes) -> Firmware:
    """Return the firmware in `data`, of whole pages.

    An image without a footer table is accepted: plain SEV needs none. Raises SevbuildError for a table
    or metadata whose lengths do not add up.
    """
    size = len(data)
    if not size or size % _PAGE:
        kind = kind_of(data[:HEAD_SIZE]) if size else None
        hint = "a firmware is launched in pages of 4096 bytes" if kind is None else f"it is {kind.phrase}"
        raise SevbuildError(
            f"not a firmware image: {size} bytes is not a positive multiple of 4096", hint=hint
        )
    if size > LARGEST:
        raise SevbuildError(f"not a firmware image: {size} bytes; the limit is {LARGEST} bytes")
    entries = _entries(data)
    first: dict[str, FooterEntry] = {}
    for entry in entries:
        # QEMU takes the first it meets on its way down.
        first.setdefault(entry.guid, entry)
    reset = _numbers(first, _RESET, 1)
    svsm = _numbers(first, _SVSM, 1)
    offset = _numbers(first, _SEV, 1)
    metadata = Metadata(
        sections=None if offset is None else _sections(data, offset[0]),
        reset=None if reset is None else reset[0],
        hash_table=_area(first, _HASHES),
        secret=_area(first, _SECRET),
        svsm_entry=None if svsm is None else svsm[0],
    )
    return Firmware(data, metadata, entries)


def _entries(data: bytes) -> tuple[FooterEntry, ...]:
    end = len(data) - _FOOTER_AT
    guid, length = _header(data, end)
    if guid == _RESET:
        # Images older than the table have the reset block alone, in the footer's place.
        if length != _HEADER + 4:
            raise SevbuildError(f"the lone SEV-ES reset block has {length} bytes, not {_HEADER + 4}")
        return (FooterEntry(guid, end - length, bytes(data[end - length : end - _HEADER])),)
    if guid != _FOOTER:
        return ()
    start = end - length
    if length < _HEADER or start < 0:
        raise SevbuildError(f"the footer table says it has {length} bytes, which is impossible")
    at = end - _HEADER
    found = []
    while at > start:
        if at - start < _HEADER:
            raise SevbuildError(f"the footer table has {at - start} bytes left over at offset {start:#x}")
        guid, length = _header(data, at)
        if length < _HEADER or at - length < start:
            raise SevbuildError(
                f"the footer table's entry at offset {at:#x} says it has {length} bytes, which is impossible"
            )
        found.append(FooterEntry(guid, at - length, bytes(data[at - length : at - _HEADER])))
        at -= length
    return tuple(found)


def _header(data: bytes, end: int) -> tuple[str, int]:
    """Return GUID and size of the table entry that ends at `end`."""
    return format_guid(data[end - 16 : end]), int.from_bytes(data[end - _HEADER : end - 16], "little")


def _numbers(entries: dict[str, FooterEntry], guid: str, count: int) -> tuple[int, ...] | None:
    entry = entries.get(guid)
    if entry is None:
        return None
    if len(entry.data) < 4 * count:
        raise SevbuildError(
            f"the footer table's entry {guid} has {len(entry.data)} bytes of data, not {4 * count}"
        )
    return tuple(int.from_bytes(entry.data[at : at + 4], "little") for at in range(0, 4 * count, 4))


def _area(entries: dict[str, FooterEntry], guid: str) -> Area | None:
    numbers = _numbers(entries, guid, 2)
    return None if numbers is None else Area(*numbers)


def _sections(data: bytes, offset: int) -> tuple[Section, ...]:
    start = len(data) - offset
    if start < 0 or offset < _METADATA.size:
        raise SevbuildError(
            f"the SEV metadata is said to be {offset:#x} bytes before the end, outside of the image"
        )
    signature, length, version, count = _METADATA.unpack_from(data, start)
    if signature != b"ASEV":
        raise SevbuildError(
            f"no SEV metadata at offset {start:#x}: signature {bytes(signature)!r}, not b'ASEV'"
        )
    if version != 1:
        raise SevbuildError(f"SEV metadata of version {version}; only version 1 is known")
    end = start + _METADATA.size + count * _SECTION.size
    if count > _MOST_SECTIONS or end > len(data) or end - start > length:
        raise SevbuildError(
            f"the SEV metadata says it has {count} sections in {length} bytes, which is impossible"
        )
    return tuple(
        Section(*_SECTION.unpack_from(data, at)) for at in range(start + _METADATA.size, end, _SECTION.size)
    )

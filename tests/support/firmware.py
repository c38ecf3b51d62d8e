"""Firmware of our own making, like OVMF where a hypervisor looks: valid by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

__all__ = [
    "HASH_TABLE",
    "SECTIONS",
    "footer_table",
    "make_firmware",
    "sev_metadata",
    "standard_firmware",
    "standard_svsm",
    "table_entry",
    "variable_volume",
]

SECTIONS = [(0x800000, 0x2000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
"""Memory, secrets, CPUID and the page of the kernel hashes, as (GPA, size, kind)."""

HASH_TABLE = (0x810C00, 0x400)
"""Where the kernel hashes go in their page, and how much room they have."""

FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
INJECTED = "4c2eb361-7d9b-4cc3-8081-127c90d3d294"
HASHES = "7255371f-3a3b-4b04-927b-1da6efa8d454"
METADATA = "dc886566-984a-4798-a75e-5585a7bf67cc"
NVRAM = "fff12b8d-7696-4c8b-a985-2747075b4f50"
SVSM = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"

TABLE_END = 0x20
"""The table ends this far before the end of the image."""


def words(*numbers: int) -> bytes:
    """Return 32-bit little-endian numbers."""
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def table_entry(guid: str, data: bytes) -> bytes:
    """Return an entry of the footer table: data, u16 size, GUID."""
    return data + (len(data) + 18).to_bytes(2, "little") + UUID(guid).bytes_le


def footer_table(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the table of these entries, the last of them next to the footer."""
    table = b"".join(table_entry(guid, data) for guid, data in entries)
    return table + (len(table) + 18).to_bytes(2, "little") + UUID(FOOTER).bytes_le


def sev_metadata(sections: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the SEV metadata of (GPA, size, kind) sections."""
    header = b"ASEV" + words(16 + 12 * len(sections), 1, len(sections))
    return header + b"".join(words(*section) for section in sections)


def make_firmware(
    *,
    size: int = 0x10000,
    sections: Sequence[tuple[int, int, int]] | None = None,
    reset: int | None = 0x80B004,
    hash_table: tuple[int, int] | None = None,
    secret: tuple[int, int] | None = None,
    svsm_entry: int | None = None,
    extra_entries: Sequence[tuple[str, bytes]] = (),
    fill: bytes = b"\0",
) -> bytes:
    """Return an image of `size` bytes filled with `fill`, metadata and footer table at its end."""
    image = bytearray((fill * (size // len(fill) + 1))[:size])
    entries = list(extra_entries)
    if reset is not None:
        entries.append((RESET, words(reset)))
    if hash_table is not None:
        entries.append((HASHES, words(*hash_table)))
    if secret is not None:
        entries.append((INJECTED, words(*secret)))
    if svsm_entry is not None:
        entries.append((SVSM, words(svsm_entry)))
    if sections is not None:
        metadata = sev_metadata(sections)
        # Below the largest table these arguments make.
        start = size - TABLE_END - 1024 - len(metadata)
        image[start : start + len(metadata)] = metadata
        entries.append((METADATA, words(size - start)))
    table = footer_table(entries)
    image[size - TABLE_END - len(table) : size - TABLE_END] = table
    return bytes(image)


def standard_firmware(**more: Any) -> bytes:
    """Return 64 KiB of firmware that can launch in every mode, with or without a kernel.

    `more` is what `make_firmware` takes, and comes before what is standard.
    """
    return make_firmware(**{"sections": SECTIONS, "hash_table": HASH_TABLE, "fill": b"OVMF", **more})


def standard_svsm(**more: Any) -> bytes:
    """Return an SVSM with an entry point, a secrets page and a CPUID page; `more` is as above."""
    return make_firmware(
        **{"size": 0x3000, "sections": SECTIONS[:3], "reset": None, "svsm_entry": 0x40, **more}
    )


def variable_volume(size: int, guid: str = NVRAM) -> bytes:
    """Return a firmware volume of `size` bytes for variables, which a whole flash image begins with."""
    head = bytes(16) + UUID(guid).bytes_le + size.to_bytes(8, "little") + b"_FVH"
    return head.ljust(size, b"\xff")


@st.composite
def section_tables(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Draw sections that do not overlap, with one secrets, one CPUID and one kernel-hashes page."""
    kinds = draw(st.permutations([2, 3, 0x10, *draw(st.lists(st.sampled_from([1, 1, 4]), max_size=5))]))
    gpa = draw(st.integers(1, 0x7FF)) * 0x1000
    found = []
    for kind in kinds:
        gpa += draw(st.integers(0, 3)) * 0x1000
        pages = draw(st.integers(1, 9)) if kind in (1, 4) else 1
        found.append((gpa, pages * 0x1000, kind))
        gpa += pages * 0x1000
    return draw(st.permutations(found))

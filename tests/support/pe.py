"""Unified kernel images of our own making: PE32+ headers and sections, and no code."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

__all__ = ["FILE_ALIGNMENT", "make_uki"]

FILE_ALIGNMENT = 512


def make_uki(sections: Sequence[tuple[str, bytes]], *, machine: int = 0x8664) -> bytes:
    """Return a PE32+ image of these sections, each padded to the file alignment as ukify does."""
    count = len(sections)
    headers = 0x40 + 4 + 20 + 240 + 40 * count
    offset = -(-headers // FILE_ALIGNMENT) * FILE_ALIGNMENT
    rva = 0x1000
    table, body = b"", b""
    for name, data in sections:
        raw = -(-len(data) // FILE_ALIGNMENT) * FILE_ALIGNMENT
        table += pack(
            "<8sIIIIIIHHI", name.encode(), len(data), rva, raw, offset + len(body), 0, 0, 0, 0, 0x40000040
        )
        body += data.ljust(raw, b"\0")
        rva += -(-max(len(data), 1) // 0x1000) * 0x1000
    dos = b"MZ".ljust(0x3C, b"\0") + pack("<I", 0x40)
    coff = b"PE\0\0" + pack("<HHIIIHH", machine, count, 0, 0, 0, 240, 0x22)
    optional = pack("<HBBIIIII", 0x20B, 0, 0, 0, 0, 0, 0x1000, 0x1000)
    optional += pack(
        "<QIIHHHHHHIIIIHH", 0x10000, 0x1000, FILE_ALIGNMENT, 0, 0, 0, 0, 0, 0, 0, rva, offset, 0, 10, 0
    )
    optional += pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(128)
    image = dos + coff + optional + table
    return image.ljust(offset, b"\0") + body

"""Launch digests from nothing of this project: what explanations are checked against.

Offsets and values are those of APM volume 2 table B-4, of SNP_LAUNCH_UPDATE in the SNP ABI, and of OVMF's
GUIDed table; tests/diagnose/test_chain.py compares the whole with sev-snp-measure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256, sha384
from typing import NamedTuple
from uuid import UUID

__all__ = ["Launch", "digest", "hash_table", "hashes", "sections_of", "segment", "vmsas"]

GUIDS = """00f771de-1a7e-4fcb-890e-68c77e2fb44e 7255371f-3a3b-4b04-927b-1da6efa8d454
dc886566-984a-4798-a75e-5585a7bf67cc 9438d606-4f22-4cc9-b479-a793d411fd21
97d02dd8-bd20-4c94-aa78-e7714d36ab2a 44baf731-3a2f-4bd7-9af1-41e29169781d 4de79437-abd2-427f-b835-d5b172d2045b"""
RESET, HASHES, METADATA, TABLE, *PARTS = (UUID(guid).bytes_le for guid in GUIDS.split())


class Launch(NamedTuple):
    """One launch; what of the firmware's own (sections, reset, table) is None is read from its bytes."""

    mode: str = "snp"
    firmware: bytes = b""
    seed: bytes | None = None  # the digest after the firmware, in place of its bytes
    sections: Sequence[tuple[int, int, int]] | None = None  # (GPA, size, kind)
    reset: int | None = None
    table: int | None = None
    hashes: tuple[bytes, bytes, bytes] | None = None
    types: Mapping[int, int] = {}  # page types by kind of section, where they are not QEMU's
    last: Sequence[int] = ()  # kinds of sections that follow all others
    ascending: bool = False
    vcpus: int = 1
    measured: int | None = None
    signature: int = 0x800F12
    features: int | None = None
    fpu: bool | None = None
    vmsa: Mapping[int, bytes] = {}  # bytes by offset in every VMSA
    bsp: Mapping[int, bytes] = {}  # likewise in the first alone
    gpa: int = 0xFFFFFFFFF000


def hashes(kernel: bytes, initrd: bytes = b"", cmdline: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """Return the SHA-256 digests of a direct boot in the order of the table."""
    return sha256(cmdline + b"\0").digest(), sha256(initrd).digest(), sha256(kernel).digest()


def hash_table(values: Sequence[bytes]) -> bytes:
    parts = [guid + struct.pack("<H", 50) + value for guid, value in zip(PARTS, values, strict=True)]
    return (TABLE + struct.pack("<H", 168) + b"".join(parts)).ljust(176, b"\0")


def _word(firmware: bytes, guid: bytes) -> int:
    """Return the first 32 bits of an entry of OVMF's table: data, u16 size, GUID."""
    end = firmware.rindex(guid) - 2
    size: int = struct.unpack_from("<H", firmware, end)[0] - 18
    return int.from_bytes(firmware[end - size : end][:4], "little")


def sections_of(firmware: bytes) -> list[tuple[int, int, int]]:
    at = len(firmware) - _word(firmware, METADATA)
    count = struct.unpack_from("<I", firmware, at + 12)[0]
    return [struct.unpack_from("<III", firmware, at + 16 + 12 * index) for index in range(count)]


def _pages(launch: Launch) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield type, GPA and contents of each page before the VMSAs."""
    for at in range(0, len(launch.firmware), 4096):
        yield 1, 0x100000000 - len(launch.firmware) + at, launch.firmware[at : at + 4096]
    found = sections_of(launch.firmware) if launch.sections is None else launch.sections
    kinds = {1: 3, 2: 5, 3: 6, 4: 3, 0x10: 3 if launch.hashes is None else 1, **launch.types}
    for base, size, kind in sorted(found, key=lambda section: section[2] in launch.last):
        for gpa in range(base, base + size, 4096):
            page = bytes(4096) if kinds[kind] == 1 else None
            if page and kind == 0x10 and launch.hashes is not None:
                area = _word(launch.firmware, HASHES) if launch.table is None else launch.table
                page = (bytes(area & 0xFFF) + hash_table(launch.hashes)).ljust(4096, b"\0")
            yield kinds[kind], gpa, page


def segment(attributes: int, selector: int = 0, limit: int = 0xFFFF, base: int = 0) -> bytes:
    return struct.pack("<HHIQ", selector, attributes, limit, base)


def vmsas(launch: Launch) -> Iterator[bytes]:
    snp, reset = launch.mode == "snp", launch.reset
    for vcpu in range(launch.vcpus if launch.measured is None else launch.measured):
        if vcpu and reset is None:
            reset = _word(launch.firmware, RESET)
        start = reset if vcpu and reset is not None else 0xFFFFFFF0
        values = {at: segment(0x93) for at in (0x000, 0x020, 0x030, 0x040, 0x050)}
        values |= {0x060: segment(0), 0x070: segment(0x82), 0x080: segment(0), 0x090: segment(0x8B)}
        values[0x010] = segment(0x9B, 0xF000, base=start & 0xFFFF0000)
        words = {0x0D0: 0x1000, 0x148: 0x40, 0x158: 0x10, 0x160: 0x400, 0x168: 0xFFFF0FF0, 0x170: 2}
        words |= {0x178: start & 0xFFFF, 0x268: 0x0007040600070406, 0x310: launch.signature, 0x3E8: 1}
        words[0x3B0] = int(snp) if launch.features is None else launch.features
        words |= {0x408: 0x1F80, 0x410: 0x37F} if (snp if launch.fpu is None else launch.fpu) else {}
        values |= {at: struct.pack("<Q", word) for at, word in words.items()}
        page = bytearray(4096)
        for at, value in [*values.items(), *launch.vmsa.items(), *(() if vcpu else launch.bsp.items())]:
            page[at : at + len(value)] = value
        yield bytes(page)


def digest(launch: Launch) -> str:
    """Return the launch digest in hex."""
    if launch.mode != "snp":
        parts = [launch.firmware, *([hash_table(launch.hashes)] if launch.hashes else [])]
        return sha256(b"".join([*parts, *(vmsas(launch) if launch.mode == "sev-es" else [])])).hexdigest()
    pages = sorted(_pages(launch), key=lambda page: page[1] if launch.ascending else 0)
    ld = launch.seed or bytes(48)
    for kind, gpa, data in [*pages, *((2, launch.gpa, vmsa) for vmsa in vmsas(launch))]:
        contents = bytes(48) if data is None else sha384(data).digest()
        ld = sha384(ld + contents + struct.pack("<HBBIQ", 0x70, kind, 0, 0, gpa)).digest()
    return ld.hex()

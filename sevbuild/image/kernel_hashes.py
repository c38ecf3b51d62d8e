"""The kernel-hashes table: how a firmware learns which kernel, initrd and command line are the right ones."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.guid import parse_guid

__all__ = [
    "EMPTY_INITRD_DIGEST",
    "ENTRY_GUIDS",
    "TABLE_SIZE",
    "KernelHashes",
    "cmdline_digest",
    "hash_page",
    "hash_table",
    "read_hash_table",
]

TABLE_SIZE = 176
"""168 bytes of header and three entries, padded to a multiple of 16 (QEMU 10.2 target/i386/sev.c)."""

EMPTY_INITRD_DIGEST = sha256(b"").digest()
"""What stands for no initrd."""

ENTRY_GUIDS = {
    "cmdline": "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",
    "initrd": "44baf731-3a2f-4bd7-9af1-41e29169781d",
    "kernel": "4de79437-abd2-427f-b835-d5b172d2045b",
}
"""The entries in the order of the table (QEMU 10.2 target/i386/sev.c)."""

# A search lays out thousands of tables.
_ENTRIES = {name: parse_guid(guid) for name, guid in ENTRY_GUIDS.items()}
_TABLE = parse_guid("9438d606-4f22-4cc9-b479-a793d411fd21")
_PAGE = 4096
_HEADER, _DIGEST = 18, 32  # GUID and u16 length; SHA-256


class KernelHashes(NamedTuple):
    """Three SHA-256 digests, 32 bytes each."""

    kernel: bytes
    initrd: bytes
    cmdline: bytes


def cmdline_digest(cmdline: bytes) -> bytes:
    """Return the SHA-256 of a command line as QEMU hashes it: with the NUL that ends it."""
    return sha256(cmdline + b"\0").digest()


def hash_table(hashes: KernelHashes) -> bytes:
    """Return the 176-byte table, as LAUNCH_UPDATE_DATA takes it."""
    entries = b""
    for name, guid in _ENTRIES.items():
        digest: bytes = getattr(hashes, name)
        entries += guid + (18 + len(digest)).to_bytes(2, "little") + digest
    header = _TABLE + (18 + len(entries)).to_bytes(2, "little")
    return (header + entries).ljust(TABLE_SIZE, b"\0")


def read_hash_table(data: bytes) -> KernelHashes | None:
    """Return the digests of a table that is somewhere in `data`, a page say; None where none is."""
    start = data.find(_TABLE)
    at, found = start + _HEADER, dict[str, bytes]()
    if start < 0:
        return None
    for name, guid in _ENTRIES.items():
        entry = data[at : at + _HEADER + _DIGEST]
        if len(entry) < _HEADER + _DIGEST or not entry.startswith(guid):
            return None
        found[name] = entry[_HEADER:]
        at += len(entry)
    return KernelHashes(**found)


def hash_page(hashes: KernelHashes, table_gpa: int) -> bytes:
    """Return the 4096-byte page that has the table at the offset of `table_gpa`, zeros around it."""
    offset = table_gpa % _PAGE
    if offset + TABLE_SIZE > _PAGE:
        raise SevbuildError(f"the kernel-hashes table at {table_gpa:#x} would cross the end of its page")
    return (bytes(offset) + hash_table(hashes)).ljust(_PAGE, b"\0")

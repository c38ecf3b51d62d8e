"""The smallest files that are told for a kernel and an initrd, and archives that a kernel unpacks."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BZIMAGE", "CPIO", "boot_image"]

BZIMAGE = b"MZ".ljust(0x1FE, b"\0") + b"\x55\xaa\0\0HdrS" + b"\0" * 100
CPIO = b"070701" + b"0" * 200


def boot_image(version: str = "6.1.0-18-amd64 (debian)", patched: Mapping[int, int] | None = None) -> bytes:
    """Return a small kernel with a setup header and a version; `patched` are bytes by their offset."""
    image = bytearray(0x4000)
    image[:2] = b"MZ"
    image[0x1F1] = 7
    image[0x1FE:0x202] = b"\x55\xaa\xeb\x6a"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = (0x20F).to_bytes(2, "little")
    image[0x20E:0x210] = (0x1000).to_bytes(2, "little")
    image[0x1200 : 0x1200 + len(version)] = version.encode()
    for offset, value in (patched or {}).items():
        image[offset] = value
    return bytes(image)


def newc(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files in newc form, as a kernel unpacks it."""
    members = [*((name, data, 0o100644) for name, data in files.items()), ("TRAILER!!!", b"", 0)]
    return b"".join(_member(name, data, mode) for name, data, mode in members)


def _member(name: str, data: bytes, mode: int) -> bytes:
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)

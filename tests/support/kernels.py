"""The smallest files that are told for a kernel and an initrd."""

from __future__ import annotations

__all__ = ["BZIMAGE", "CPIO"]

BZIMAGE = b"MZ".ljust(0x1FE, b"\0") + b"\x55\xaa\0\0HdrS" + b"\0" * 100
CPIO = b"070701" + b"0" * 200

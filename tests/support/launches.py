"""Guests over throw-away files, and their launches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sevbuild.commands.launch import Launch, describe_launch
from sevbuild.guest.guest import Guest
from tests.support.firmware import make_firmware
from tests.support.guests import guest_of

__all__ = ["FILES", "firmware_bytes", "launch_of", "launching_guest"]

FILES = {"firmware": "OVMF.fd", "kernel": "vmlinuz", "initrd": "initrd.img", "igvm": "guest.igvm"}


def firmware_bytes() -> bytes:
    """Return a firmware with a place for kernel hashes."""
    sections = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
    return make_firmware(sections=sections, hash_table=(0x810C00, 0x400))


def launching_guest(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Guest:
    """Return a guest with firmware, kernel and initrd in `folder`; tables are laid over it."""
    (folder / "OVMF.fd").write_bytes(firmware_bytes())
    (folder / "vmlinuz").write_bytes(b"kernel")
    (folder / "initrd.img").write_bytes(b"initrd")
    tables.setdefault("firmware", {"path": "OVMF.fd"})
    return guest_of(folder, **tables)


def launch_of(guest: Guest, files: Mapping[str, str] = FILES) -> Launch:
    """Return the launch of a guest's only target."""
    (target,) = guest.targets
    return describe_launch(guest, target, files)

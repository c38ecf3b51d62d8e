"""Guests over throw-away files, and their launches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sevbuild.commands.launch import Launch, describe_launch
from sevbuild.guest.guest import Guest
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of

__all__ = ["FILES", "launch_of", "launching_guest"]

FILES = {"firmware": "OVMF.fd", "kernel": "vmlinuz", "initrd": "initrd.img", "igvm": "guest.igvm"}


def launching_guest(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Guest:
    """Return a guest with firmware, kernel and initrd in `folder`; tables are laid over it."""
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel")
    (folder / "initrd.img").write_bytes(b"initrd")
    tables.setdefault("firmware", {"path": "OVMF.fd"})
    return guest_of(folder, **tables)


def launch_of(guest: Guest, files: Mapping[str, str] = FILES) -> Launch:
    """Return the launch of a guest's only target."""
    (target,) = guest.targets
    return describe_launch(guest, target, files)

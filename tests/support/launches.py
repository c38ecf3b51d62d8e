"""Guests over throw-away files, and their launches."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sevbuild.commands.launch import Launch, describe_launch
from sevbuild.documents.json_text import json_bytes
from sevbuild.guest.guest import Guest
from sevbuild.guest.trace import plan_document
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of

__all__ = ["FILES", "InPieces", "launch_of", "launching_guest", "plan_json"]

FILES = {"firmware": "OVMF.fd", "kernel": "vmlinuz", "initrd": "initrd.img", "igvm": "guest.igvm"}


class InPieces:
    """Contents that are read piece by piece, as those of a file are."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def read(self, start: int, end: int) -> bytes:
        return self._data[start:end]


def launching_guest(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Guest:
    """Return a guest with firmware, kernel and initrd in `folder`; tables are laid over it."""
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel")
    (folder / "initrd.img").write_bytes(b"initrd")
    tables.setdefault("firmware", {"path": "OVMF.fd"})
    return guest_of(folder, **tables)


def plan_json(mode: str) -> bytes:
    """Return the launch plan of a guest with a kernel, as `sevbuild plan --format json` prints it."""
    with tempfile.TemporaryDirectory() as folder:
        guest = launching_guest(Path(folder), launch={"mode": mode}, kernel={"path": "vmlinuz"})
        return json_bytes(plan_document(guest, guest.targets[0]))


def launch_of(guest: Guest, files: Mapping[str, str] = FILES) -> Launch:
    """Return the launch of a guest's only target."""
    (target,) = guest.targets
    return describe_launch(guest, target, files)

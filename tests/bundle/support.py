"""Guests to bundle, and what a bundle is compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sevbuild.bundle.document import BundleDocument
from sevbuild.bundle.write import build_bundle
from sevbuild.guest.guest import load_guest
from sevbuild.output.disk import Disk
from tests.support.firmware import make_firmware, standard_firmware
from tests.support.guests import write_manifest
from tests.support.pe import make_uki

__all__ = ["build", "contents", "make_inputs", "manifest_of"]

PARTS = [(".linux", b"kernel" * 99), (".initrd", b"initrd" * 9999), (".cmdline", b"quiet {x} ")]
SVSM_SECTIONS = [(0x2000, 0x1000, 2), (0x3000, 0x1000, 3), (0x1000, 0x1000, 0x10)]


def make_inputs(folder: Path) -> None:
    """Write firmware, kernel, initrds, a unified image and an SVSM into a folder."""
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(PARTS[0][1])
    (folder / "initrd").write_bytes(PARTS[1][1])
    (folder / "ucode").write_bytes(b"microcode")
    (folder / "vars.fd").write_bytes(bytes(0x2000))
    (folder / "image.efi").write_bytes(make_uki(PARTS))
    svsm = make_firmware(size=0x4000, sections=SVSM_SECTIONS, svsm_entry=0x100, reset=None, fill=b"SVSM")
    (folder / "svsm.bin").write_bytes(svsm)


def manifest_of(folder: Path, **tables: Any) -> Path:
    """Write inputs and a manifest of two SNP targets with kernel and two initrds; tables are laid over it."""
    if not (folder / "OVMF.fd").exists():
        make_inputs(folder)
    base: dict[str, Any] = {
        "launch": {"mode": "snp", "profile": "qemu", "policy": 0x30000},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet vcpus={vcpus}"},
        "initrd": {"path": ["ucode", "initrd"]},
        "vcpu": {"count": [1, 2]},
    }
    for name, table in tables.items():
        base[name] = {**base.get(name, {}), **table} if isinstance(table, dict) else table
        if table is None:
            del base[name]
    return write_manifest(folder, **base)


def build(manifest: Path, output: Path, *, inputs: str = "copy", disk: Disk | None = None) -> BundleDocument:
    """Build the bundle of a manifest."""
    return build_bundle(load_guest(str(manifest)), str(output), inputs=inputs, disk=disk)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and bytes of every file in a folder, the mode of every folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *sorted(folder.rglob("*"))]
    }

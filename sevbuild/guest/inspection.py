"""Say what a file is, by its contents."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.errors import SevbuildError, within
from sevbuild.fs import is_regular, read_file, read_range
from sevbuild.guest.inputs import read_hashed
from sevbuild.image.lint import describe_firmware, lint_firmware
from sevbuild.image.ovmf import parse_firmware
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.kind import HEAD_SIZE, KINDS, FileKind, kind_of
from sevbuild.launch.mode import Mode
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.progress import Progress
from sevbuild.text import decode_text
from sevbuild.vcpu.describe import describe_vmsa, looks_like_vmsa
from sevbuild.vcpu.save_area import VMSA_SIZE

__all__ = ["inspect_file", "told_by_its_end"]


def inspect_file(path: str, mode: Mode | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Return a JSON-able description of what a guest is made of, or its VMSA; `kind` tells which.

    `mode` picks a platform of an IGVM file, None for the strongest, and is for no other. A firmware has its
    lint under `findings`; a kernel, an image and an initrd are told by their first bytes and hashed. Raises
    SevbuildError for a file that is none of these.
    """
    kind = kind_of(read_range(path, 0, HEAD_SIZE)) if is_regular(path) else None
    if kind == KINDS["igvm"]:
        from sevbuild.guest.inspect_igvm import inspect_igvm

        return inspect_igvm(path, mode, progress)
    if kind is not None and not told_by_its_end(path, kind):
        return _describe_input(path, kind, progress)
    data = read_file(path, FIRMWARE.limit)
    if looks_like_vmsa(data):
        return {"name": os.path.basename(path), **describe_vmsa(data)}
    with within(path):
        firmware = parse_firmware(data)
    findings = lint_firmware(firmware, verifier=kernel_hash_verifier(data))
    return {
        "name": os.path.basename(path),
        **describe_firmware(firmware),
        "findings": [finding._asdict() for finding in findings],
    }


def told_by_its_end(path: str, kind: FileKind | None) -> bool:
    """Tell whether a file is a firmware or a VMSA, however it begins: a firmware's table is at its end."""
    if kind is not None and "firmware" in kind.roles:
        return True
    size = os.path.getsize(path)
    if size % VMSA_SIZE or size > FIRMWARE.limit:
        return False
    data = read_file(path, FIRMWARE.limit)
    try:
        return looks_like_vmsa(data) or bool(parse_firmware(data).entries)
    except SevbuildError:
        return False


def _describe_input(path: str, kind: FileKind, progress: Progress | None) -> dict[str, Any]:
    if not kind.roles:
        shown = (
            "firmware, kernels, images, initrds, IGVM files, VMSAs, bundles, reference values and attestation "
            "reports"
        )
        raise SevbuildError(f"{path} is {kind.phrase}", hint=f"inspect shows {shown}")
    digest, size = read_hashed([path], progress=progress)
    entry: dict[str, Any] = {
        "name": os.path.basename(path),
        "kind": kind.name,
        "description": kind.phrase,
        "roles": sorted(kind.roles),
        "size": size,
        "sha256": digest.hex(),
    }
    if kind == KINDS["uki"]:
        entry |= _parts(path, size)
    return entry


def _parts(path: str, size: int) -> dict[str, Any]:
    """Return the parts of a UKI that a direct boot uses, None for one that it lacks; or why it cannot."""
    from sevbuild.image.uki import HEAD_SIZE as IMAGE_HEAD
    from sevbuild.image.uki import cmdline_of, read_uki

    try:
        parts = read_uki(read_range(path, 0, IMAGE_HEAD), size)
        line = None
        if parts.cmdline is not None:
            line = cmdline_of(read_range(path, parts.cmdline.offset, parts.cmdline.size))
    except SevbuildError as error:
        return {"parts": None, "unusable": error.message}
    ranges = {"linux": parts.linux, "initrd": parts.initrd, "cmdline": parts.cmdline}
    return {
        "parts": {
            name: None if part is None else {"offset": hex(part.offset), "size": part.size}
            for name, part in ranges.items()
        },
        "other_sections": list(parts.others),
        "cmdline": None if line is None else decode_text(line),
    }

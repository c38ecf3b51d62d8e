"""Say what a file is, by its contents."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.errors import SevbuildError, within
from sevbuild.fs import file_starts_with, read_file
from sevbuild.guest.inputs import FIRMWARE_LIMIT
from sevbuild.image.lint import describe_firmware, lint_firmware
from sevbuild.image.ovmf import parse_firmware
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.vcpu.describe import describe_vmsa, looks_like_vmsa

__all__ = ["inspect_file"]


def inspect_file(path: str, mode: str = "") -> dict[str, Any]:
    """Return a JSON-able description of a firmware, a VMSA or an IGVM file; `kind` tells which.

    `mode` picks a platform of an IGVM file, empty for the strongest, and is for no other. A firmware's has its lint under `findings`. Raises SevbuildError for a file that is none of these.
    """
    if file_starts_with(path, b"IGVM"):
        from sevbuild.guest.inspect_igvm import inspect_igvm

        return inspect_igvm(path, mode)
    data = read_file(path, FIRMWARE_LIMIT)
    if looks_like_vmsa(data):
        return {"name": os.path.basename(path), **describe_vmsa(data)}
    if data[:2] == b"MZ":
        raise SevbuildError(f"{path}: an EFI image, neither a firmware nor a VMSA")
    with within(path):
        firmware = parse_firmware(data)
    findings = lint_firmware(firmware, verifier=kernel_hash_verifier(data))
    return {
        "name": os.path.basename(path),
        **describe_firmware(firmware),
        "findings": [finding._asdict() for finding in findings],
    }

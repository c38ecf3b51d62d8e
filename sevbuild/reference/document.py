"""The reference-values document: what was measured, of which inputs, with which values from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sevbuild.guest.guest import Measured
from sevbuild.guest.records import InputRecord
from sevbuild.manifest.model import Manifest

__all__ = ["DOCUMENT_SCHEMA", "reference_document"]

DOCUMENT_SCHEMA = 1
"""The version of this document's shape; a reader refuses any other."""


def reference_document(
    manifest: Manifest,
    inputs: Sequence[InputRecord],
    measured: Sequence[Measured],
    cmdlines: Sequence[str | None],
) -> dict[str, Any]:
    """Return the document: `schema`, `guest`, `inputs` and one entry of `values` a target.

    32- and 64-bit values are lower-case hex strings. Nothing in it depends on path, time or machine.
    `cmdlines` are those of the targets, None without a kernel.
    """
    return {
        "schema": DOCUMENT_SCHEMA,
        "guest": {"name": manifest.name, "version": manifest.version},
        "inputs": [_input(record) for record in inputs],
        "values": [_value(item, cmdline) for item, cmdline in zip(measured, cmdlines, strict=True)],
    }


def _input(record: InputRecord) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": record.role, "name": record.name}
    if record.size is not None:
        entry["size"] = record.size
    entry[record.algorithm] = record.digest.hex()
    return entry


def _value(item: Measured, cmdline: str | None) -> dict[str, Any]:
    target = item.target
    profile, mode = target.profile, target.mode
    kernel = target.variant.kernel
    return {
        "label": target.label,
        "mode": mode,
        "profile": profile.name,
        "cpu": target.cpu.label,
        "signature": f"0x{target.cpu.signature:08x}",
        "vcpus": target.vcpus,
        "guest_features": None if target.guest_features is None else hex(target.guest_features),
        "policy": hex(target.policy),
        "kernel_hashes": kernel is not None and kernel.hashes,
        "cmdline": cmdline,
        "order": target.order,
        "vmsa_gpa": hex(profile.vmsa_gpa) if mode == "snp" else None,
        "algorithm": "sha384" if mode == "snp" else "sha256",
        "digest": item.digest.hex(),
        "origins": {"guest_features": target.features_origin, "policy": target.policy_origin},
    }

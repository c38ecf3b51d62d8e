"""`hyperbeam`: the `snp_trusted` list of a HyperBEAM node's configuration (permaweb/HyperBEAM, b2743e4)."""

from __future__ import annotations

from typing import Any

from sevbuild.reference.export.ingredients import append_digest, ingredients_of
from sevbuild.reference.export.interface import Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.qemu_kernel import unlike_qemu_kernel
from sevbuild.reference.export.text import json_bytes, number, some_of

__all__ = ["EXPORTER", "VCPU_TYPES"]

VCPU_TYPES = {
    "EPYC": 0,
    "EPYC-v1": 1,
    "EPYC-IBPB": 3,
    "EPYC-v3": 4,
    "EPYC-v4": 5,
    "EPYC-Rome": 6,
    "EPYC-Rome-v1": 7,
    "EPYC-Rome-v2": 8,
    "EPYC-Rome-v3": 9,
    "EPYC-Milan": 10,
    "EPYC-Milan-v1": 11,
    "EPYC-Milan-v2": 12,
    "EPYC-Genoa": 13,
    "EPYC-Genoa-v1": 14,
}
"""Numbers of CPU models in virtee/sev's enumeration CpuType, which has no 2."""

# What native/dev_snp_nif/src/digest.rs computes with, whatever the record says.
_FIXED = {"vcpus": 32, "cpu": "EPYC-v4", "guest_features": "0x1"}

_QEMU = 1  # virtee/sev's enumeration GuestVmmType


class HyperBeam(Exporter):
    """One record a target; the node recomputes the launch digest from it."""

    name = "hyperbeam"
    summary = "HyperBEAM's snp_trusted list"
    files = ("hyperbeam.json",)

    def refusal(self, document: Document) -> str | None:
        """Return why a target has no such record."""
        reason = super().refusal(document)
        if reason is not None:
            return reason
        for value in values_of(document, self.modes):
            reason = unlike_qemu_kernel(document, value)
            if reason is None and value["cpu"] not in VCPU_TYPES:
                reason = f"vcpu_type has no number for {value['cpu']}"
            if reason is None and append_digest(ingredients_of(document, value) or {}, value) is None:
                reason = "the command line is not UTF-8"
            if reason is not None:
                return f"{value['label']}: {reason}"
        return None

    def warnings(self, document: Document, options: ExportOptions) -> list[str]:
        """Return which targets a node of the named version computes another digest for."""
        del options
        values = values_of(document, self.modes)
        other = [value["label"] for value in values if any(value[key] != _FIXED[key] for key in _FIXED)]
        if not other:
            return []
        fixed = "32 vCPUs, EPYC-v4 and guest features 0x1"
        return [
            f"HyperBEAM b2743e4 computes with {fixed} whatever a record says: no match for {some_of(other)}"
        ]

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `hyperbeam.json`."""
        del options
        records = [_record(document, value) for value in values_of(document, self.modes)]
        return {"hyperbeam.json": json_bytes({"snp_trusted": records})}


def _record(document: Document, value: dict[str, Any]) -> dict[str, Any]:
    entry = ingredients_of(document, value) or {}
    return {
        "vcpus": value["vcpus"],
        "vcpu_type": VCPU_TYPES[value["cpu"]],
        "vmm_type": _QEMU,
        "guest_features": number(value["guest_features"]),
        "firmware": entry["seed"],
        "kernel": entry["kernel"]["sha256"],
        "initrd": entry["kernel"]["initrd_sha256"],
        "append": append_digest(entry, value),
    }


EXPORTER = HyperBeam()

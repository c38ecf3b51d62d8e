"""`dstack`: the ingredients document that dstack and SecretVM publish (Dstack-TEE/dstack, 312dc60)."""

from __future__ import annotations

from typing import Any

from sevbuild.reference.export.ingredients import ingredients_of
from sevbuild.reference.export.interface import Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.qemu_kernel import unlike_qemu_kernel
from sevbuild.reference.export.text import json_bytes, number
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["EXPORTER"]

_MOST_VCPUS = 512
_MOST_SECTIONS = 64


class Dstack(Exporter):
    """Write one record a target: an object for one, as dstack has it, a list for several, as SecretVM."""

    name = "dstack"
    summary = "dstack's and SecretVM's ingredients document"

    def refusal(self, document: Document) -> str | None:
        """Return why a target has no such record."""
        reason = super().refusal(document)
        if reason is not None:
            return reason
        for value in values_of(document, self.modes):
            reason = unlike_qemu_kernel(document, value) or _beyond_its_bounds(document, value)
            if reason is not None:
                return f"{value['label']}: {reason}"
        return None

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `measurement.snp.json`; sections stay in launch order."""
        del options
        records = [_record(document, value) for value in values_of(document, self.modes)]
        return {"measurement.snp.json": json_bytes(records[0] if len(records) == 1 else records)}


def _beyond_its_bounds(document: Document, value: dict[str, Any]) -> str | None:
    entry = ingredients_of(document, value) or {}
    if value["cpu"] not in CPU_MODELS:
        return f"{value['cpu']} is no CPU model of QEMU, which vcpu_type names"
    if value["vcpus"] > _MOST_VCPUS or len(entry["sections"]) > _MOST_SECTIONS:
        return f"its readers take {_MOST_VCPUS} vCPUs and {_MOST_SECTIONS} sections at most"
    if entry["kernel"].get("cmdline") is None:
        return "the command line is not UTF-8"
    return None


def _record(document: Document, value: dict[str, Any]) -> dict[str, Any]:
    entry = ingredients_of(document, value) or {}
    kernel = entry["kernel"]
    return {
        "base_cmdline": value["cmdline"],
        "ovmf_hash": entry["seed"],
        "kernel_hash": kernel["sha256"],
        "initrd_hash": kernel["initrd_sha256"],
        "sev_hashes_table_gpa": number(entry["hash_table"]),
        "sev_es_reset_eip": number(entry["reset"]),
        "vcpus": value["vcpus"],
        "vcpu_type": value["cpu"],
        "guest_features": number(value["guest_features"]),
        "ovmf_sections": [
            {
                "gpa": number(section["gpa"]),
                "size": number(section["size"]),
                "section_type": section["number"],
            }
            for section in entry["sections"]
        ],
    }


EXPORTER = Dstack()

"""`dstack`: the ingredients document that dstack and SecretVM publish (Dstack-TEE/dstack, 312dc60)."""

from __future__ import annotations

import re
from typing import Any

from sevbuild.reference.export.ingredients import ingredients_of
from sevbuild.reference.export.interface import Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.qemu_kernel import unlike_qemu_kernel
from sevbuild.reference.export.text import json_bytes, number, some_of
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["EXPORTER"]

_MOST_VCPUS = 512
_MOST_SECTIONS = 64

_ROOTFS_HASH = "dstack.rootfs_hash="
_DSTACK_MODELS = frozenset(
    f"epyc{model}"
    for model in (
        *("", "-v1", "-v2", "-ibpb", "-v3", "-v4", "-rome", "-rome-v1", "-rome-v2", "-rome-v3"),
        *("-milan", "-milan-v1", "-milan-v2", "-genoa", "-genoa-v1"),
    )
)
_SECRETVM_SIGNATURE = 0x00800F12  # whatever vcpu_type says


class Dstack(Exporter):
    """One record a target: an object for one, as dstack has it, a list for several, as SecretVM."""

    name = "dstack"
    summary = "dstack's and SecretVM's ingredients document"
    files = ("measurement.snp.json",)

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

    def notes(self, document: Document, options: ExportOptions) -> list[str]:
        """Return what SecretVM, which reads a list of such records, would make of a single one."""
        values = values_of(document, self.modes)
        found = super().notes(document, options)
        return found + _secretvm_differs(values) if len(values) == 1 else found

    def warnings(self, document: Document, options: ExportOptions) -> list[str]:
        """Return what dstack (it reads an object) or SecretVM (it reads a list) refuses in the records."""
        del options
        values = values_of(document, self.modes)
        if len(values) == 1:
            return _refused_by_dstack(values[0])
        about = f"a list is for SecretVM; dstack takes one target, with {_ROOTFS_HASH} in its command line"
        return [about, *_secretvm_differs(values)]

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `measurement.snp.json`; sections stay in launch order."""
        del options
        records = [_record(document, value) for value in values_of(document, self.modes)]
        return {"measurement.snp.json": json_bytes(records[0] if len(records) == 1 else records)}


def _refused_by_dstack(value: dict[str, Any]) -> list[str]:
    """Return why dstack refuses a record (dstack-mr/src/sev.rs: validate_measurement_input)."""
    found = []
    # The first such word counts.
    hashes = [word for word in value["cmdline"].split() if word.startswith(_ROOTFS_HASH)]
    if not hashes or not re.fullmatch("[0-9a-fA-F]{64}", hashes[0][len(_ROOTFS_HASH) :]):
        found.append(f"dstack refuses a command line without {_ROOTFS_HASH} and 64 hexadecimal digits")
    if value["cpu"].lower() not in _DSTACK_MODELS:
        found.append(f"dstack knows no CPU model {value['cpu']}")
    if number(value["guest_features"]) == 0:
        found.append("dstack refuses guest features 0x0")
    return found


def _secretvm_differs(values: list[dict[str, Any]]) -> list[str]:
    """Return which targets SecretVM computes another digest for (secretvm-verify 32e020b, workload.py)."""
    other = [
        value["label"]
        for value in values
        if number(value["signature"]) != _SECRETVM_SIGNATURE or value["guest_features"] != "0x1"
    ]
    fixed = f"CPU signature {_SECRETVM_SIGNATURE:#x} and guest features 0x1"
    return [f"SecretVM computes with {fixed} alone: no match for {some_of(other)}"] if other else []


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

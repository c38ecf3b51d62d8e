"""`dstack`: the ingredients document that dstack and SecretVM publish (Dstack-TEE/dstack, 312dc60)."""

from __future__ import annotations

import re

from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.qemu_kernel import QemuKernel, qemu_kernel_refusal, qemu_kernels
from sevbuild.reference.export.text import ordered_json, some_of
from sevbuild.reference.model import ReferenceValues, Value
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

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why a target has no such record."""
        return super().refusal(values) or qemu_kernel_refusal(values, _beyond_its_bounds)

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return what SecretVM, which reads a list of such records, would make of a single one."""
        taken = values_of(values, self.modes)
        found = super().notes(values, options)
        return found + _secretvm_differs(taken) if len(taken) == 1 else found

    def warnings(self, values: ReferenceValues, _options: ExportOptions) -> list[str]:
        """Return what dstack (it reads an object) or SecretVM (it reads a list) refuses in the records."""
        launches = qemu_kernels(values)
        if len(launches) == 1:
            return _refused_by_dstack(launches[0])
        about = f"a list is for SecretVM; dstack takes one target, with {_ROOTFS_HASH} in its command line"
        return [about, *_secretvm_differs([launch.value for launch in launches])]

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `measurement.snp.json`; sections stay in launch order."""
        records = [_record(launch) for launch in qemu_kernels(values)]
        return {"measurement.snp.json": ordered_json(records[0] if len(records) == 1 else records)}


def _refused_by_dstack(launch: QemuKernel) -> list[str]:
    """Return why dstack refuses a record (dstack-mr/src/sev.rs: validate_measurement_input)."""
    found = []
    # The first such word counts.
    hashes = [word for word in launch.cmdline.split() if word.startswith(_ROOTFS_HASH)]
    if not hashes or not re.fullmatch("[0-9a-fA-F]{64}", hashes[0][len(_ROOTFS_HASH) :]):
        found.append(f"dstack refuses a command line without {_ROOTFS_HASH} and 64 hexadecimal digits")
    if launch.value.cpu.lower() not in _DSTACK_MODELS:
        found.append(f"dstack does not know CPU model {launch.value.cpu}")
    if launch.guest_features == 0:
        found.append("dstack refuses guest features 0x0")
    return found


def _secretvm_differs(values: list[Value]) -> list[str]:
    """Return which targets SecretVM computes another digest for (secretvm-verify 32e020b, workload.py)."""
    other = [
        value.label for value in values if (value.signature, value.guest_features) != (_SECRETVM_SIGNATURE, 1)
    ]
    fixed = f"CPU signature {_SECRETVM_SIGNATURE:#x} and guest features 0x1"
    return [f"SecretVM computes with {fixed} alone: no match for {some_of(other)}"] if other else []


def _beyond_its_bounds(launch: QemuKernel) -> str | None:
    if launch.value.cpu not in CPU_MODELS:
        return f"{launch.value.cpu} is not a CPU model of QEMU, which vcpu_type names"
    if launch.value.vcpus > _MOST_VCPUS or len(launch.sections) > _MOST_SECTIONS:
        return f"its readers take {_MOST_VCPUS} vCPUs and {_MOST_SECTIONS} sections at most"
    if launch.kernel.cmdline is None:
        return "the command line is not UTF-8"
    return None


def _record(launch: QemuKernel) -> dict[str, object]:
    return {
        "base_cmdline": launch.cmdline,
        "ovmf_hash": launch.seed.hex(),
        "kernel_hash": launch.kernel.kernel.hex(),
        "initrd_hash": launch.kernel.initrd.hex(),
        "sev_hashes_table_gpa": launch.hash_table,
        "sev_es_reset_eip": launch.reset,
        "vcpus": launch.value.vcpus,
        "vcpu_type": launch.value.cpu,
        "guest_features": launch.guest_features,
        "ovmf_sections": [
            {"gpa": section.gpa, "size": section.size, "section_type": section.kind}
            for section in launch.sections
        ],
    }


EXPORTER = Dstack()

"""`hyperbeam`: the `snp_trusted` list of a HyperBEAM node's configuration (permaweb/HyperBEAM, b2743e4)."""

from __future__ import annotations

from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.qemu_kernel import QemuKernel, qemu_kernel_refusal, qemu_kernels
from sevbuild.reference.export.text import ordered_json, some_of
from sevbuild.reference.model import ReferenceValues

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

# What native/dev_snp_nif/src/digest.rs computes with, whatever the record says: vCPUs, model and features.
_FIXED = (32, "EPYC-v4", 1)

_QEMU = 1  # virtee/sev's enumeration GuestVmmType


class HyperBeam(Exporter):
    """One record a target; the node recomputes the launch digest from it."""

    name = "hyperbeam"
    summary = "HyperBEAM's snp_trusted list"
    files = ("hyperbeam.json",)

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why a target has no such record."""
        return super().refusal(values) or qemu_kernel_refusal(values, _beyond_its_record)

    def warnings(self, values: ReferenceValues, _options: ExportOptions) -> list[str]:
        """Return which targets a node of the named version computes another digest for."""
        other = [
            value.label
            for value in values_of(values, self.modes)
            if (value.vcpus, value.cpu, value.guest_features) != _FIXED
        ]
        if not other:
            return []
        fixed = "32 vCPUs, EPYC-v4 and guest features 0x1"
        return [
            f"HyperBEAM b2743e4 computes with {fixed} whatever a record says: no match for {some_of(other)}"
        ]

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `hyperbeam.json`."""
        records = [_record(launch) for launch in qemu_kernels(values)]
        return {"hyperbeam.json": ordered_json({"snp_trusted": records})}


def _beyond_its_record(launch: QemuKernel) -> str | None:
    if launch.value.cpu not in VCPU_TYPES:
        return f"vcpu_type has no number for {launch.value.cpu}"
    if launch.kernel.cmdline is None and launch.kernel.cmdline_sha256 is None:
        return "the command line is not UTF-8"
    return None


def _record(launch: QemuKernel) -> dict[str, object]:
    kernel = launch.kernel
    append = kernel.cmdline_sha256 or cmdline_digest(launch.cmdline.encode())
    return {
        "vcpus": launch.value.vcpus,
        "vcpu_type": VCPU_TYPES[launch.value.cpu],
        "vmm_type": _QEMU,
        "guest_features": launch.guest_features,
        "firmware": launch.seed.hex(),
        "kernel": kernel.kernel.hex(),
        "initrd": kernel.initrd.hex(),
        "append": append.hex(),
    }


EXPORTER = HyperBeam()

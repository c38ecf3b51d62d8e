"""What two verifiers of others recompute: launches by QEMU with a measured kernel, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sevbuild.image.ovmf import Section
from sevbuild.reference.export.interface import RECOMPUTED_PROFILE, values_of
from sevbuild.reference.model import KernelIngredients, ReferenceValues, Value

__all__ = ["QemuKernel", "qemu_kernel_refusal", "qemu_kernels"]


class QemuKernel(NamedTuple):
    """An SNP target, and all that its launch digest is recomputed from."""

    value: Value
    cmdline: str
    guest_features: int
    seed: bytes
    kernel: KernelIngredients
    reset: int
    hash_table: int
    sections: tuple[Section, ...]


def qemu_kernels(values: ReferenceValues) -> list[QemuKernel]:
    """Return the SNP targets that can be recomputed from seed, kernel hashes and vCPU model."""
    found = [_qemu_kernel(values, value) for value in values_of(values, ("snp",))]
    return [launch for launch in found if not isinstance(launch, str)]


def qemu_kernel_refusal(values: ReferenceValues, beyond: Callable[[QemuKernel], str | None]) -> str | None:
    """Return why an SNP target cannot be recomputed, also by a verifier that has bounds; None where all can.

    `beyond` says of a launch that is within the common ones why that verifier does not take it.
    """
    for value in values_of(values, ("snp",)):
        launch = _qemu_kernel(values, value)
        reason = launch if isinstance(launch, str) else beyond(launch)
        if reason is not None:
            return f"{value.label}: {reason}"
    return None


def _qemu_kernel(values: ReferenceValues, value: Value) -> QemuKernel | str:
    """Return the launch of a target, or why it cannot be recomputed."""
    if not value.kernel_hashes:
        return "no kernel is measured"
    if value.profile != RECOMPUTED_PROFILE:
        return f"verifiers recompute launches of profile {RECOMPUTED_PROFILE}, not of {value.profile}"
    if value.order != "profile":
        return f"verifiers recompute in QEMU's order, not in {value.order} order"
    entry = values.ingredients_of(value)
    cmdline, features = value.cmdline, value.guest_features
    if entry is None or cmdline is None or features is None or entry.seed is None or entry.kernel is None:
        return "the document has no ingredients of it"
    reset, table, sections = entry.metadata.reset, entry.metadata.hash_table, entry.metadata.sections
    if reset is None or table is None or sections is None:
        return "the firmware has no AP reset address, hash table or SEV metadata"
    return QemuKernel(value, cmdline, features, entry.seed, entry.kernel, reset, table.base, sections)

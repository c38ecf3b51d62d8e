"""What each target was made of, by basename, size and digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import FoundInput
from sevbuild.guest.record import InputRecord, record_of
from sevbuild.manifest.inputs import RECORDED_ROLES
from sevbuild.manifest.model import Variant
from sevbuild.manifest.targets import Target

__all__ = ["cmdline_text", "input_records", "measured_inputs"]


def input_records(guest: Guest, targets: Iterable[Target]) -> list[InputRecord]:
    """Return the inputs of these targets, each once, ordered by role and name."""
    found: dict[InputRecord, None] = {}
    for variant in dict.fromkeys(target.variant for target in targets):
        for measured in measured_inputs(guest, variant):
            found[record_of(measured)] = None
    return sorted(found, key=lambda record: (RECORDED_ROLES.index(record.role), record.name, record.digest))


def cmdline_text(guest: Guest, target: Target) -> str | None:
    """Return the command line of a target for a document, None without a measured kernel."""
    kernel = target.variant.kernel
    if kernel is None or not kernel.hashes:
        return None
    return guest.kernels.cmdline(target).decode("utf-8", "backslashreplace")


def measured_inputs(guest: Guest, variant: Variant) -> Iterator[FoundInput]:
    """Yield the inputs of a variant that enter its launch digests by their own bytes."""
    for declared in variant.inputs:
        found = guest.found(declared) if declared.measured and declared.role.recorded else None
        if found is not None:
            yield found

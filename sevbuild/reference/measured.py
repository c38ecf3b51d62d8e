"""From a declared guest to its reference-values document, and from a published document back to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sevbuild.guest.guest import Guest
from sevbuild.manifest.targets import Target
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import reference_document

__all__ = ["measured_document", "read_document"]


def measured_document(guest: Guest, targets: Sequence[Target]) -> dict[str, Any]:
    """Return the document of these targets of a guest, measuring them now."""
    return reference_document(collect_values(guest, guest.measure(targets)))


def read_document(source: str, data: bytes) -> dict[str, Any]:
    """Return a published document, read strictly; raises FaultsError with every fault in it."""
    from sevbuild.reference.read import read_reference_values

    return reference_document(read_reference_values(source, data))

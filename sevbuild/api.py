"""What the Python API has of its own: one call where the command line takes several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sevbuild.bundle.published import read_values
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.manifest.targets import Target
from sevbuild.manifest.vcpu_keys import cpu_named
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import document_text
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.recompute import Recomputed, Request, recompute_values

__all__ = ["collect_reference_values", "read_reference_values", "recompute", "reference_values_text"]


def collect_reference_values(guest: Guest, measured: Sequence[Measured[Target]]) -> ReferenceValues:
    """Return the reference values of what `guest.measure()` gave; raises SevbuildError."""
    return collect_values(guest, measured)


def reference_values_text(values: ReferenceValues) -> str:
    """Return the text of reference-values.json, as `sevbuild measure --format json` prints it."""
    return document_text(values)


def read_reference_values(path: str) -> ReferenceValues:
    """Return what was published at `path`: a reference-values.json, or the folder of a release or bundle.

    Raises FaultsError with every fault of the document by its JSON path, SevbuildError where there is none.
    """
    return read_values(path)[1]


def recompute(
    values: ReferenceValues,
    *,
    vcpus: Iterable[int] | None = None,
    cpus: Iterable[str] | None = None,
    cmdline: bytes | None = None,
) -> list[Recomputed]:
    """Return launch digests computed from published ingredients, without the files.

    `vcpus`, `cpus` (models, or signatures such as `0x00a00f11`) and `cmdline` take the place of what the
    values have; None keeps it. Raises SevbuildError for what the ingredients cannot tell.
    """
    request = Request(
        None if vcpus is None else tuple(vcpus),
        None if cpus is None else tuple(map(cpu_named, cpus)),
        cmdline,
    )
    return recompute_values(values, values.values, request)

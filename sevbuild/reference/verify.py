"""Hold published reference values to their own ingredients, or to a guest's inputs."""

from __future__ import annotations

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.reference.changes import Change
from sevbuild.reference.collect import collect_values
from sevbuild.reference.compare import Comparison, TargetChange, compare_values
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.recompute import Recomputer, own_digest, why_not
from sevbuild.reference.releases import at_release

__all__ = ["UNCHECKED", "verify_against", "verify_alone"]

UNCHECKED = "unchecked"
"""The status of a target that the document alone cannot tell."""


def verify_alone(values: ReferenceValues) -> Comparison:
    """Return whether each value is what the document's own ingredients give.

    A target is `equal`, `changed`, or `unchecked` with the reason why no ingredients tell its digest.
    """
    by_name = {entry.name: entry for entry in values.ingredients}
    recomputer = Recomputer(profile.profile() for profile in values.profiles)
    targets = []
    for value in values.values:
        published = value.digest.hex()
        entry = None if value.ingredients is None else by_name[value.ingredients]
        reason = "the document has no ingredients of it" if entry is None else why_not(entry)
        digest = None
        if entry is not None and reason is None:
            try:
                digest = own_digest(recomputer, entry, value)
            except SevbuildError as error:
                reason = error.message
        if digest is None:
            found = TargetChange(value.label, UNCHECKED, published, None, (Change(reason or "", None, None),))
        elif digest == value.digest:
            found = TargetChange(value.label, "equal", published, published, ())
        else:
            change = Change("the ingredients give another digest", published, digest.hex())
            found = TargetChange(value.label, "changed", published, digest.hex(), (change,))
        targets.append(found)
    return Comparison((), tuple(targets))


def verify_against(values: ReferenceValues, guest: Guest) -> Comparison:
    """Return how each value compares with what the inputs of `guest` measure to, and which input differs.

    Of a document of several releases, that of the guest's version is taken. Raises SevbuildError.
    """
    if values.releases:
        values = at_release(values, guest.manifest.version)
    return compare_values(values, collect_values(guest, guest.measure()))

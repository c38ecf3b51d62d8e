"""Hold published reference values to their own ingredients, or to a guest's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.errors import SevbuildError
from sevbuild.reference.changes import Change, Comparison, TargetChange
from sevbuild.reference.expected import Expected, Run, compare_expected, expected_release
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.narrow import Selection, narrow_values
from sevbuild.reference.recompute import NO_INGREDIENTS, Recomputer, own_digest, why_not

if TYPE_CHECKING:
    from sevbuild.guest.foreign import ForeignFile

__all__ = ["UNCHECKED", "verify_against", "verify_against_file", "verify_alone"]

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
        reason = NO_INGREDIENTS if entry is None else why_not(entry)
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


def verify_against(source: str, values: ReferenceValues, run: Run, release: str = "") -> Comparison:
    """Return how each value compares with a run that measured its inputs, and which input differs.

    Of a document of several releases that of the guest's version is taken, unless `release` names another.
    Raises SevbuildError, also for a document of an IGVM file.
    """
    if values.of_file:
        hint = "--against takes the file"
        raise SevbuildError(f"{source}: these are reference values of an IGVM file", hint=hint)
    return compare_expected(Expected(source, values=values), run, release)


def verify_against_file(
    source: str, values: ReferenceValues, file: ForeignFile, selection: Selection, release: str = ""
) -> tuple[Comparison, Run]:
    """Return how each value compares with what an IGVM file measures to, and that; raises SevbuildError.

    The document is one of an IGVM file: no other says how loaders start it.
    """
    if not values.of_file:
        hint = "--against takes its manifest"
        raise SevbuildError(f"{source}: these are reference values of a guest", hint=hint)
    # Only a document of an IGVM file needs to know the format.
    from sevbuild.reference.igvm_file import measure_again

    published = narrow_values(expected_release(values, None, release, source), selection)
    again = measure_again(published, file)
    pairs = [(value.label, value.digest.hex()) for value in again.values]
    run = Run(pairs, lambda: again, selection)
    return compare_expected(Expected(source, values=values), run, release), run

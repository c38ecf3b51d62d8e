"""Hold published reference values to what they were measured from: a guest's inputs, or an IGVM file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.errors import SevbuildError
from sevbuild.reference.changes import Comparison
from sevbuild.reference.expected import Expected, Run, compare_expected, expected_release
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.narrow import Selection, narrow_values

if TYPE_CHECKING:
    from sevbuild.guest.foreign import ForeignFile

__all__ = ["verify_against", "verify_against_file"]


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
    pairs = [(value.label, value.digest) for value in again.values]
    run = Run(pairs, lambda: again, selection)
    return compare_expected(Expected(source, values=values), run, release), run

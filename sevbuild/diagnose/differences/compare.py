"""Any two things of a launch compared, each pair in the way of its kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.differences.model import LAUNCHED, Difference
from sevbuild.diagnose.differences.things import DOCUMENTS, NOUNS, Thing
from sevbuild.errors import Notice, SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.diagnose.differences.launch_sides import LaunchSide
    from sevbuild.guest.foreign import ForeignLaunch, GivenKernel
    from sevbuild.guest.inputs import Network
    from sevbuild.progress import Progress
    from sevbuild.reference.changes import Comparison
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Request", "compare_documents", "compare_things"]

GUESTS = ("manifest", *DOCUMENTS)
"""What says which files a guest is made of."""

PARTS = ("firmware", "kernel", "initrd")
"""The files that it has one of."""


class Request(NamedTuple):
    """What narrows a comparison, and what its sides need.

    `patterns` pick targets. `releases` name those of documents of several, empty for none; `apart` tells that
    each side was given one. `launch` is what a launch adds to an IGVM file, with its `kernel`.
    """

    patterns: Sequence[str] = ()
    releases: tuple[str, str] = ("", "")
    apart: bool = False
    launch: ForeignLaunch | None = None
    kernel: GivenKernel | None = None
    network: Network | None = None
    progress: Progress | None = None


def compare_things(old: Thing, new: Thing, request: Request) -> tuple[Difference, list[Notice]]:
    """Return what tells two things apart, and what should be known of either.

    Raises SevbuildError for kinds that cannot be compared.
    """
    kinds = (old.kind, new.kind)
    if "lock" in kinds and all(kind in ("lock", *GUESTS) for kind in kinds):
        return _compare_locks(old, new, request)
    if all(kind in LAUNCHED for kind in kinds):
        from sevbuild.diagnose.differences.launches import compare_launches

        sides = _sides((old, new), request)
        difference = compare_launches(*sides, request.patterns)
        return difference, _notices(sides)
    from sevbuild.diagnose.differences.parts import compare_parts, compare_with_guest

    if old.kind == new.kind:
        return compare_parts((old.path, new.path), old.kind), []
    for thing, guest in ((old, new), (new, old)):
        if thing.kind in PARTS and guest.kind in GUESTS:
            side = _side(guest, request, int(guest is new))
            return compare_with_guest(thing, side, guest_first=guest is old), _notices([side])
    message = f"{old.name} is {NOUNS[old.kind]}, {new.name} is {NOUNS[new.kind]}: they have nothing to be compared in"
    raise SevbuildError(message, hint=_instead(old, new))


def _instead(old: Thing, new: Thing) -> str:
    """Return what could be compared in place of two things that have nothing in common."""
    if "vmsa" in (old.kind, new.kind) and {old.kind, new.kind} & set(GUESTS):
        return "`sevbuild measure --dump-vmsa DIR` writes the VMSAs of a manifest, to be compared with it"
    launched = ", ".join(NOUNS[kind] for kind in LAUNCHED)
    return f"give two of one kind, or two that are launched: {launched}"


def compare_documents(
    old: Thing, new: Thing, request: Request
) -> tuple[Comparison, Callable[[], Difference]]:
    """Return what tells two published sets of values apart, and what makes it a comparison as of all things.

    Raises SevbuildError where one cannot be read.
    """
    from sevbuild.diagnose.differences.document_sides import ValuesSide
    from sevbuild.diagnose.differences.launches import chosen_labels, difference_of
    from sevbuild.reference.compare import compare_values
    from sevbuild.reference.releases import at_release

    documents = [_values(thing) for thing in (old, new)]
    merged = any(values.releases for _, values in documents)
    sides = []
    for thing, (source, values), version in zip((old, new), documents, request.releases, strict=True):
        # One version for both is that of the document that has several; the other one has its own.
        own = merged and not request.apart and not values.releases
        with within(source):
            narrowed = at_release(values, values.version if own or not version else version)
        sides.append(ValuesSide(thing.name, thing.kind, source, narrowed))
    first, second = sides
    labels = chosen_labels((first, second), request.patterns)
    partial = bool(request.patterns)
    comparison = compare_values(first.values(labels[0]), second.values(labels[1]), partial=partial)
    there = set(labels[1])
    pairs = [(label, label) for label in labels[0] if label in there]
    return comparison, lambda: difference_of(comparison, (first, second), pairs)


def _values(thing: Thing) -> tuple[str, ReferenceValues]:
    from sevbuild.bundle.published import read_values
    from sevbuild.reference.read import read_reference_values

    if thing.data is None:
        return read_values(thing.path)
    return thing.name, read_reference_values(thing.name, thing.data)


def _sides(things: tuple[Thing, Thing], request: Request) -> tuple[LaunchSide, LaunchSide]:
    """Return both sides of a comparison of launches.

    What an IGVM file, or a document of several releases, is taken for is as the other side says.
    """
    kinds = [thing.kind for thing in things]
    late = kinds.index("igvm") if "igvm" in kinds else int(kinds[0] not in DOCUMENTS)
    other = _side(things[1 - late], request, 1 - late)
    found = _side(things[late], request, late, other)
    return (found, other) if late == 0 else (other, found)


def _side(thing: Thing, request: Request, index: int, other: LaunchSide | None = None) -> LaunchSide:
    from sevbuild.diagnose.differences.document_sides import PlanSide, ValuesSide
    from sevbuild.diagnose.differences.launch_sides import ManifestSide

    if thing.kind == "manifest":
        return ManifestSide(thing.path, thing.name, thing.data, request.network)
    if thing.kind == "plan":
        from sevbuild.diagnose.differences.plan_document import read_plan_document
        from sevbuild.documents.json_input import DOCUMENT_LIMIT

        return PlanSide(thing.name, read_plan_document(thing.name, thing.read(DOCUMENT_LIMIT)))
    if thing.kind == "igvm":
        from sevbuild.diagnose.differences.igvm_sides import igvm_side
        from sevbuild.guest.foreign import ForeignLaunch

        launch = request.launch or ForeignLaunch()
        return igvm_side(thing.path, other, launch, request.kernel, request.progress)
    from sevbuild.reference.expected import expected_release

    source, values = _values(thing)
    version = other.guest.manifest.version if isinstance(other, ManifestSide) else values.version
    with within(source):
        values = expected_release(values, version, request.releases[index], source)
    return ValuesSide(thing.name, thing.kind, source, values)


def _notices(sides: Sequence[LaunchSide]) -> list[Notice]:
    """Return what should be known of the sides, each once; where a value comes from stands beside a cause."""
    found = [notice for side in sides for notice in side.notices if side.of_file or notice.level == "warning"]
    return list(dict.fromkeys(found))


def _compare_locks(old: Thing, new: Thing, request: Request) -> tuple[Difference, list[Notice]]:
    from sevbuild.diagnose.differences.locks import Held, compare_held, held_by_lock, held_by_side

    held: list[Held] = []
    notices: list[Notice] = []
    for index, thing in enumerate((old, new)):
        if thing.kind == "lock":
            held.append(held_by_lock(thing.name, thing.read(_LOCK_LIMIT).decode("utf-8")))
        else:
            side = _side(thing, request, index)
            held.append(held_by_side(side))
            notices += _notices([side])
    return compare_held(*held), notices


_LOCK_LIMIT = 16 << 20

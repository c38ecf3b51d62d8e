"""Several releases in one document: merge them, and take one out again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sevbuild.errors import SevbuildError
from sevbuild.reference.model import Ingredients, Input, PublishedProfile, ReferenceValues, Span, Value

__all__ = ["at_release", "merge_values"]

Part = TypeVar("Part", Input, Value)
Named = TypeVar("Named", Ingredients, PublishedProfile)

_NO_VERSION = "-"
"""What stands for the version of an IGVM file while its documents are merged."""


def at_release(values: ReferenceValues, version: str | None) -> ReferenceValues:
    """Return what a document says of one release; raises SevbuildError if it is none of its.

    A document of an IGVM file has no version, and all of it is what it says of None.
    """
    if values.version is None:
        if version is not None:
            raise SevbuildError(f"{values.name}: the document is of an IGVM file, which has no releases")
        return values
    known = values.releases or (values.version,)
    if version not in known:
        hint = f"it has {', '.join(known)}"
        raise SevbuildError(f"{values.name}: the document has no release {version!r}", hint=hint)
    if not values.releases:
        return values
    at = known.index(version)
    found = tuple(value._replace(releases=()) for value in values.values if _holds(value.releases, known, at))
    inputs = tuple(
        entry._replace(releases=()) for entry in values.inputs if _holds(entry.releases, known, at)
    )
    return values.only(found)._replace(version=version, inputs=inputs, releases=())


def merge_values(documents: Sequence[tuple[str, ReferenceValues]]) -> ReferenceValues:
    """Return one document of all releases in these, the oldest first; each comes with its name.

    Two documents of one release add up, as do those of an IGVM file, which has none. Raises SevbuildError
    where they contradict each other, and for documents of different guests.
    """
    first = documents[0][1]
    merged = _Merge(first)
    for source, values in documents:
        if values.name != first.name:
            message = f"{source}: reference values of {values.name}; the others are of {first.name}"
            raise SevbuildError(message)
        if values.of_file != first.of_file:
            message = f"{source}: some of these are of a guest and some of an IGVM file, which has no version"
            raise SevbuildError(message, hint="a release of a guest is merged with others of that guest")
        for version in values.releases or (values.version,):
            merged.add(source, at_release(values, version), version or _NO_VERSION)
    return merged.result()


class _Merge:
    """What each release says, and which releases say the same."""

    def __init__(self, first: ReferenceValues) -> None:
        self._name = first.name
        self._of_file = first.of_file
        self._versions: list[str] = []
        self._values: dict[Value, set[int]] = {}
        self._labels: dict[tuple[int, str], tuple[str, Value]] = {}
        self._inputs: dict[Input, set[int]] = {}
        self._profiles: list[PublishedProfile] = []
        self._ingredients: list[Ingredients] = []

    def add(self, source: str, values: ReferenceValues, version: str) -> None:
        """Add one release; raises SevbuildError where it contradicts what is known of it."""
        if version not in self._versions:
            self._versions.append(version)
        at = self._versions.index(version)
        profiles = {entry.name: _settle(self._profiles, entry, version) for entry in values.profiles}
        names: dict[str | None, str | None] = {None: None}
        for entry in values.ingredients:
            names[entry.name] = _settle(
                self._ingredients, entry._replace(profile=profiles[entry.profile]), version
            )
        for record in values.inputs:
            self._inputs.setdefault(record, set()).add(at)
        for value in values.values:
            settled = value._replace(ingredients=names[value.ingredients])
            first, known = self._labels.setdefault((at, value.label), (source, settled))
            if known != settled:
                what = "two launch digests" if known.digest != settled.digest else "two settings"
                whose = "the file" if self._of_file else f"release {version}"
                message = f"{source}: {whose} has {what} of {value.label}"
                raise SevbuildError(message, hint=f"the other one is in {first}")
            self._values.setdefault(settled, set()).add(at)

    def result(self) -> ReferenceValues:
        """Return the merged document."""
        if self._of_file:
            return ReferenceValues(self._name, None, tuple(self._inputs), tuple(self._values))
        return ReferenceValues(
            self._name,
            self._versions[-1],
            tuple(self._spanned(self._inputs.items())),
            tuple(self._spanned(self._values.items())),
            tuple(sorted(self._profiles, key=lambda entry: entry.name)),
            tuple(self._ingredients),
            tuple(self._versions),
        )

    def _spanned(self, parts: Iterable[tuple[Part, set[int]]]) -> list[Part]:
        return [part._replace(releases=self._spans(sorted(at))) for part, at in parts]

    def _spans(self, positions: list[int]) -> tuple[Span, ...]:
        runs: list[list[int]] = []
        for at in positions:
            if runs and runs[-1][1] == at - 1:
                runs[-1][1] = at
            else:
                runs.append([at, at])
        return tuple(Span(self._versions[first], self._versions[last]) for first, last in runs)


def _settle(known: list[Named], entry: Named, version: str) -> str:
    """Return the name under which `entry` is known from now on: its own, or one with the release."""
    # A name that an earlier merge made is made again, so that merging in steps gives the same document.
    base = entry.name.partition("@")[0]
    for other in known:
        if other.name.partition("@")[0] == base and other._replace(name="") == entry._replace(name=""):
            return other.name
    taken = {other.name for other in known}
    name = base if base not in taken else f"{base}@{version}"
    number = 2
    while name in taken:
        name = f"{base}@{version}#{number}"
        number += 1
    known.append(entry._replace(name=name))
    return name


def _holds(spans: Sequence[Span], known: Sequence[str], at: int) -> bool:
    return any(known.index(span.first) <= at <= known.index(span.last) for span in spans)

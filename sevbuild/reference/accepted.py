"""Which values of a document an appraisal policy accepts, and why it does not accept the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.manifest.selection import LabelPatterns

if TYPE_CHECKING:
    from collections.abc import Collection

    from sevbuild.attest.appraisal import Published
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["Accepted", "refusal"]


def refusal(
    published: Published, patterns: LabelPatterns, guest: str, releases: Collection[str], label: str
) -> str:
    """Return why a target of a guest and these releases is not accepted, empty where it is.

    `patterns` are those of `published.targets`.
    """
    if published.guests and guest not in published.guests:
        return f"guest {guest} is not accepted (published.guest)"
    if published.releases and not set(published.releases) & set(releases):
        return f"no accepted release has it (published.release: {', '.join(published.releases)})"
    if not patterns.picks(label):
        return f"the target is not accepted (published.target: {', '.join(patterns.patterns)})"
    return ""


class Accepted:
    """The values of one document that `published` accepts."""

    def __init__(self, values: ReferenceValues, published: Published) -> None:
        self._values = values
        self._published = published
        self._patterns = LabelPatterns(published.targets, {value.label for value in values.values})

    def refusal(self, value: Value) -> str:
        """Return why a value is not accepted, empty where it is."""
        return refusal(self._published, self._patterns, self._values.name, self._releases(value), value.label)

    def snp_values(self) -> list[Value]:
        """Return the accepted values of SNP targets, in their order."""
        return [value for value in self._values.values if value.mode == "snp" and not self.refusal(value)]

    def _releases(self, value: Value) -> list[str]:
        """Return the versions in which a value holds; spans are runs in the order of the releases."""
        values = self._values
        if not values.releases:
            return [] if values.version is None else [values.version]
        order = values.releases
        return [
            release
            for span in value.releases
            for release in order[order.index(span.first) : order.index(span.last) + 1]
        ]

"""What was published, as named launch digests that a report is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.attest.named_target import NamedTarget
from sevbuild.manifest.selection import LabelPatterns

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import Published
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["named_targets"]


def named_targets(values: ReferenceValues, accepted: Published | None = None) -> list[NamedTarget]:
    """Return the targets of a document by name; those that `accepted` leaves out say why.

    In a document of several releases a target has the run of releases in which its value holds.
    """
    patterns = LabelPatterns(
        () if accepted is None else accepted.targets, {value.label for value in values.values}
    )
    found = []
    for value in values.values:
        version = ", ".join(span.text() for span in value.releases) if values.releases else values.version
        refused = "" if accepted is None else _refusal(values, value, accepted, patterns)
        found.append(
            NamedTarget(
                values.name,
                version,
                value.label,
                value.mode,
                value.digest,
                value.policy,
                value.id_block,
                refused,
            )
        )
    return found


def _refusal(values: ReferenceValues, value: Value, accepted: Published, patterns: LabelPatterns) -> str:
    if accepted.guests and values.name not in accepted.guests:
        return f"guest {values.name} is not accepted (published.guest)"
    if accepted.releases and not set(accepted.releases) & set(_releases(values, value)):
        return f"no accepted release has it (published.release: {', '.join(accepted.releases)})"
    if not patterns.picks(value.label):
        return f"the target is not accepted (published.target: {', '.join(patterns.patterns)})"
    return ""


def _releases(values: ReferenceValues, value: Value) -> list[str]:
    """Return the versions in which a value holds; spans are runs in the order of the document's releases."""
    if not values.releases:
        return [] if values.version is None else [values.version]
    order = values.releases
    return [
        release
        for span in value.releases
        for release in order[order.index(span.first) : order.index(span.last) + 1]
    ]

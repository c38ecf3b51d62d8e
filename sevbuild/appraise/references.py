"""What was published, as named launch digests that a report is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.attest.appraisal import Published
from sevbuild.attest.named_target import NamedTarget
from sevbuild.reference.accepted import Accepted

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = ["named_targets"]

EVERY = Published()


def named_targets(values: ReferenceValues, published: Published = EVERY) -> list[NamedTarget]:
    """Return the targets of a document by name; those that `published` leaves out say why.

    In a document of several releases a target has the run of releases in which its value holds.
    """
    accepted = Accepted(values, published)
    found = []
    for value in values.values:
        version = ", ".join(span.text() for span in value.releases) if values.releases else values.version
        found.append(
            NamedTarget(
                values.name,
                version,
                value.label,
                value.mode,
                value.digest,
                value.policy,
                value.id_block,
                accepted.refusal(value),
            )
        )
    return found

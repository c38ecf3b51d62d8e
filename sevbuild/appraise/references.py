"""What was published, as named launch digests that a report is held to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sevbuild.attest.appraisal import Published
from sevbuild.attest.named_target import NamedTarget
from sevbuild.bundle.published import is_document
from sevbuild.fs import read_file
from sevbuild.manifest.selection import LabelPatterns, select
from sevbuild.reference.accepted import Accepted, refusal

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = ["foreign_targets", "named_targets"]

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


def foreign_targets(
    path: str, published: Published = EVERY, targets: Sequence[str] = ()
) -> list[NamedTarget] | None:
    """Return the targets that others' ingredients lead to, None where the file is none of theirs.

    Such a document names neither guest, release nor policy: the file's name stands for the guest. `targets`
    pick some by their labels; those that `published` leaves out say why. Raises SevbuildError.
    """
    from sevbuild.documents.json_input import DOCUMENT_LIMIT, parse_json
    from sevbuild.reference.peers import is_foreign
    from sevbuild.reference.recompute import Request
    from sevbuild.reference.recompute_request import recompute_document

    if os.path.isdir(path) or not is_document(path):
        return None
    data = read_file(path, DOCUMENT_LIMIT)
    if not is_foreign(parse_json(path, data)):
        return None
    result = recompute_document(path, data, Request(), [], None)
    name = os.path.basename(path)
    patterns = LabelPatterns(published.targets, {item.label for item in result.recomputed})
    return [
        NamedTarget(
            name,
            None,
            item.label,
            "snp",
            item.digest,
            None,
            refused=refusal(published, patterns, name, (), item.label),
        )
        for item in select(targets, result.recomputed)
    ]

"""What a verb did, as JSON: what it wrote and computed, under the names that reference values have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.errors import Notice
from sevbuild.reference.document import reference_document, value_entry

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues
    from sevbuild.reference.recompute import Recomputed

__all__ = [
    "RESULT_SCHEMA",
    "WrittenFile",
    "recomputed_entries",
    "result_entry",
    "written_files",
]

RESULT_SCHEMA = 1
"""The version of this shape."""


class WrittenFile(NamedTuple):
    """One file that was written: its path, its bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


def written_files(files: Mapping[str, bytes]) -> list[WrittenFile]:
    """Return the entries of files by path, sorted."""
    return [WrittenFile(path, len(data), sha256(data).hexdigest()) for path, data in sorted(files.items())]


def result_entry(
    values: ReferenceValues | None = None,
    *,
    written: Iterable[WrittenFile] = (),
    notices: Iterable[Notice] = (),
) -> dict[str, Any]:
    """Return the result of one guest; `values` is None for a document of others, which names none.

    `inputs` and `values` are entries as a reference-values document has them. What a verb does not do is
    empty.
    """
    nothing: dict[str, Any] = {"guest": None, "inputs": [], "values": []}
    document = nothing if values is None else reference_document(values)
    return {
        **{key: document[key] for key in nothing},
        "written": [entry._asdict() for entry in written],
        "notices": [notice._asdict() for notice in notices],
    }


def recomputed_entries(recomputed: Iterable[Recomputed], silent: Sequence[str]) -> list[dict[str, Any]]:
    """Return entries of `values` for launch digests from ingredients; `published` is what the document says.

    Settings named by `silent`, of which a document of others says nothing, are left out, and so is where a
    value of the document came from.
    """
    entries = []
    for item in recomputed:
        entry = value_entry(item.value._replace(releases=item.releases))
        left_out = (*silent, "origins")
        kept = {key: value for key, value in entry.items() if key not in left_out}
        published = None if item.published is None else item.published.hex()
        entries.append({**kept, "published": published})
    return entries

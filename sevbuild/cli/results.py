"""What a verb did, printed as JSON (docs/results.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sevbuild.cli.report import print_data
from sevbuild.documents.json_text import json_text
from sevbuild.reference.results import RESULT_SCHEMA, WrittenFile, recomputed_entries, result_entry

if TYPE_CHECKING:
    from sevbuild.bundle.document import BundleDocument
    from sevbuild.errors import Notice
    from sevbuild.reference.peers import ForeignResult

__all__ = ["print_built", "print_recomputed", "print_result"]


def print_result(entry: Mapping[str, Any]) -> None:
    """Print one result, with the version of its shape."""
    print_data(json_text({"schema": RESULT_SCHEMA, **entry}))


def print_built(bundle: BundleDocument, output: str, notices: Sequence[Notice]) -> None:
    """Print what is in a bundle that was written to the folder `output`."""
    from sevbuild.bundle.contents import measured_records
    from sevbuild.bundle.document import all_files, bundle_document, encode_bundle
    from sevbuild.reference.model import Input, ReferenceValues

    inputs = tuple(Input(*record) for record in measured_records(bundle.inputs))
    written = [
        WrittenFile(os.path.join(output, entry.path), entry.size, entry.sha256.hex())
        for entry in all_files(bundle, encode_bundle(bundle))
    ]
    own = result_entry(
        ReferenceValues(bundle.name, bundle.version, inputs, ()), written=written, notices=notices
    )
    print_result({**own, "values": bundle_document(bundle)["targets"]})


def print_recomputed(result: ForeignResult, notices: Sequence[Notice]) -> None:
    """Print launch digests that were computed from ingredients."""
    document = None if result.document is None else result.document._replace(values=())
    values = recomputed_entries(result.recomputed, result.silent)
    print_result({**result_entry(document, notices=notices), "values": values})

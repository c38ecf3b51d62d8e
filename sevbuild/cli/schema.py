"""`sevbuild schema`: the JSON Schemas of manifests, reference values, appraisal policies and traces."""

from __future__ import annotations

import typer

from sevbuild.cli.options import check_format
from sevbuild.cli.report import print_data

__all__ = ["schema"]

DOCUMENTS = {
    "manifest": ("sevbuild.manifest.schema", "manifest_schema"),
    "reference-values": ("sevbuild.reference.schema", "reference_values_schema"),
    "appraisal": ("sevbuild.attest.appraisal_schema", "appraisal_schema"),
    "trace": ("sevbuild.diagnose.replay.schema", "trace_schema"),
}
"""Kinds of documents, and the module and function that hold the schema of each."""


def schema(
    of: str = typer.Option("manifest", "--of", metavar="|".join(DOCUMENTS), help="The kind of document."),
) -> None:
    """Print the JSON Schema of a kind of document, for editors and checkers."""
    import json
    from importlib import import_module

    check_format(of, tuple(DOCUMENTS), flag="--of")
    module, function = DOCUMENTS[of]
    document = getattr(import_module(module), function)()
    print_data(json.dumps(document, indent=2) + "\n")

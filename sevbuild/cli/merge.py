"""`sevbuild merge`: reference values of several releases in one document."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli.output import FORCE, protect, refuse_force, write_outputs
from sevbuild.cli.report import print_data
from sevbuild.errors import SevbuildError

__all__ = ["merge"]

_FILES: Any = typer.Argument(
    ..., metavar="OLD... NEW", help="reference-values.json, releases or bundles, oldest first."
)


def merge(
    files: list[str] = _FILES,
    output: str = typer.Option("", "--output", "-o", metavar="FILE", help="Where to write it."),
    force: bool = FORCE,
) -> None:
    """Make one document of several releases: each value says from which release to which it holds."""
    from sevbuild.bundle.published import document_path, read_consistent_values
    from sevbuild.reference.document import document_text
    from sevbuild.reference.releases import merge_values

    if force:
        refuse_force(output)
    if len(files) < 2:
        raise SevbuildError(
            "merge requires at least two documents", hint="`sevbuild merge OLD... NEW`, the oldest first"
        )
    text = document_text(merge_values([read_consistent_values(path) for path in files]))
    if output:
        write_outputs({output: text.encode()}, protect(documents=map(document_path, files)), force=force)
    else:
        print_data(text)

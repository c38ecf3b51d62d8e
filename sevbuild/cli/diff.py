"""`sevbuild diff`: what changed between two documents of reference values."""

from __future__ import annotations

import typer

from sevbuild.cli.options import check_format
from sevbuild.fs import read_file

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def diff(
        old: str = typer.Argument(..., metavar="OLD", help="reference-values.json as it was."),
        new: str = typer.Argument(..., metavar="NEW", help="reference-values.json as it is."),
        release: str = typer.Option(
            "", "--release", metavar="OLD[..NEW]", help="Of a document of several releases, these."
        ),
        fmt: str = typer.Option("table", "--format", "-f", metavar="table|json", help="How to print it."),
    ) -> None:
        """Show what changed, target by target: digests, inputs, settings. Exit 1 where anything did."""
        from sevbuild.cli.comparison import print_comparison
        from sevbuild.reference.compare import compare_values
        from sevbuild.reference.json_input import DOCUMENT_LIMIT
        from sevbuild.reference.read import read_reference_values
        from sevbuild.reference.releases import at_release

        check_format(fmt, ("table", "json"))
        sides = [read_reference_values(path, read_file(path, DOCUMENT_LIMIT)) for path in (old, new)]
        before, _, after = release.partition("..")
        wanted = (before, after or before)
        comparison = compare_values(
            *(at_release(side, version or side.version) for side, version in zip(sides, wanted, strict=True))
        )
        words = {"changed": "changed", "added": "added", "removed": "removed"}
        print_comparison(comparison, words=words, fmt=fmt)
        if not comparison.equal:
            raise typer.Exit(1)

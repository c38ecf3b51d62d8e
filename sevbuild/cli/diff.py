"""`sevbuild diff`: what changed between two documents of reference values."""

from __future__ import annotations

import typer

from sevbuild.cli.options import check_format
from sevbuild.cli.report import print_line
from sevbuild.errors import SevbuildError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def diff(
        old: str = typer.Argument(
            ..., metavar="OLD", help="reference-values.json, release or bundle as it was."
        ),
        new: str = typer.Argument(
            "", metavar="[NEW]", help="The same as it is; absent, OLD has both releases.", show_default=False
        ),
        release: str = typer.Option(
            "", "--release", metavar="OLD[..NEW]", help="Of a document of several releases, these."
        ),
        fmt: str = typer.Option("table", "--format", "-f", metavar="table|json", help="How to print it."),
    ) -> None:
        """Show what changed, target by target: digests, inputs, settings, names. Exit 1 where anything did.

        Where it did and every target is launched the same, the last line says so.
        """
        from sevbuild.bundle.published import read_values
        from sevbuild.cli.comparison import print_comparison
        from sevbuild.reference.compare import compare_values
        from sevbuild.reference.releases import at_release

        check_format(fmt, ("table", "json"))
        before, _, after = release.partition("..")
        if not new and not (before and after):
            hint = "`--release OLD..NEW` names two releases of one document"
            raise SevbuildError("diff needs NEW", hint=hint)
        sides = [read_values(path)[1] for path in (old, new or old)]
        wanted = (before, after or before)
        comparison = compare_values(
            *(at_release(side, version or side.version) for side, version in zip(sides, wanted, strict=True))
        )
        print_comparison(comparison, words={"alike": "same launch"}, fmt=fmt)
        if not comparison.equal:
            if comparison.same_launch and fmt != "json":
                print_line("same launch values")
            raise typer.Exit(1)

"""`sevbuild diff`: what changed between two documents of reference values."""

from __future__ import annotations

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_line
from sevbuild.errors import SevbuildError, within

__all__ = ["diff"]


def diff(
    old: str = typer.Argument(..., metavar="OLD", help="The old reference-values.json, release or bundle."),
    new: str = typer.Argument(
        "",
        metavar="[NEW]",
        help="The new one; leave it out if OLD has both releases.",
        show_default=False,
    ),
    release: str = typer.Option(
        "", "--release", metavar="OLD[..NEW]", help="The releases to compare, in a document of several."
    ),
    fmt: str = options.TABLE_FORMAT,
) -> None:
    """Show what changed, target by target: digests, inputs, settings, names. Exit 1 where anything did.

    Where it did and every target is launched the same, the last line says so.
    """
    from sevbuild.bundle.published import read_values
    from sevbuild.cli.comparison import print_comparison
    from sevbuild.reference.compare import compare_values
    from sevbuild.reference.releases import at_release

    as_json = options.wants_json(fmt, "table")
    before, dots, after = release.partition("..")
    if not new and not (before and after):
        hint = "`--release OLD..NEW` names two releases of one document"
        raise SevbuildError("diff requires NEW", hint=hint)
    documents = [read_values(path) for path in (old, new or old)]
    merged = any(values.releases for _, values in documents)
    sides = []
    for (source, values), version in zip(documents, (before, after or before), strict=True):
        # One version for both is that of the document that has several; the other one has its own.
        own = merged and not dots and not values.releases
        with within(source):
            sides.append(at_release(values, values.version if own or not version else version))
    comparison = compare_values(*sides)
    print_comparison(comparison, words={"alike": "same launch"}, fmt=fmt)
    if not comparison.equal:
        if comparison.same_launch and not as_json:
            print_line("same launch values")
        raise typer.Exit(1)

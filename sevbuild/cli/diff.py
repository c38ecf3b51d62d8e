"""`sevbuild diff`: what tells two files of a launch apart, the causes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_line, print_notices, print_text, shown_progress
from sevbuild.documents.json_text import json_text
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.diagnose.differences.compare import Request
    from sevbuild.diagnose.differences.things import Thing

__all__ = ["diff"]


def diff(
    old: str = typer.Argument(
        ...,
        metavar="OLD",
        help="A manifest, a lock, a bundle, a release, reference values, an IGVM file, a plan in JSON, a firmware, "
        "a kernel, an initrd or a VMSA, recognized by content.",
    ),
    new: str = typer.Argument(
        "",
        metavar="[NEW]",
        help="Another one; leave it out if OLD is a document that has both releases.",
        show_default=False,
    ),
    *,
    target: list[str] = options.TARGETS,
    release: str = typer.Option(
        "", "--release", metavar="OLD[..NEW]", help="The releases to compare, in a document of several."
    ),
    fmt: str = options.TABLE_FORMAT,
    offline: bool = options.OFFLINE,
    igvm: options.IgvmOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Show whether two files have the same launch digest, what differs and because of what.

    Causes come first, each with the place where either side says it: pages of a firmware, words of a command
    line, fields of a kernel's header, registers, settings. Then the step at which the launches part. Exit 1
    where anything differs that is launched. Published values are compared target by target, names among them.
    """
    from sevbuild.diagnose.differences.compare import Request, compare_things
    from sevbuild.diagnose.differences.things import DOCUMENTS, thing_at

    as_json = options.wants_json(fmt, "table")
    before, dots, after = release.partition("..")
    if not new and not (before and after):
        hint = "`--release OLD..NEW` names two releases of one document"
        raise SevbuildError("diff requires NEW", hint=hint)
    if old == "-" and new in ("", "-"):
        raise SevbuildError("standard input can be one of the two alone")
    first = thing_at(old)
    second = thing_at(new) if new else first
    _refuse((first.kind, second.kind), target=target, release=release, offline=offline, igvm=igvm)
    request = Request(
        tuple(target),
        (before, after or before),
        bool(dots),
        *igvm.launch(),
        options.network(offline),
        shown_progress(),
    )
    if first.kind in DOCUMENTS and second.kind in DOCUMENTS:
        _documents(first, second, request, as_json=as_json)
        return
    difference, notices = compare_things(first, second, request)
    print_notices(notices, quiet=quiet)
    if as_json:
        from sevbuild.diagnose.differences.model import difference_document

        print_data(json_text(difference_document(difference)))
    else:
        from sevbuild.cli.differences import difference_text

        print_text(difference_text(difference))
    if not difference.same:
        raise typer.Exit(1)


def _documents(first: Thing, second: Thing, request: Request, *, as_json: bool) -> None:
    """Print what changed between two published sets of values, target by target."""
    from sevbuild.diagnose.differences.compare import compare_documents

    comparison, difference = compare_documents(first, second, request)
    if as_json:
        from sevbuild.diagnose.differences.model import difference_document

        print_data(json_text({**difference_document(difference()), **comparison.document()}))
    else:
        from sevbuild.cli.comparison import print_comparison

        print_comparison(comparison, words={"alike": "same launch"}, fmt="table")
    if not comparison.equal:
        if comparison.same_launch and not as_json:
            print_line("same launch values")
        raise typer.Exit(1)


def _refuse(
    kinds: tuple[str, str], *, target: list[str], release: str, offline: bool, igvm: options.IgvmOptions
) -> None:
    """Raise SevbuildError for an option that has no effect on things of these kinds."""
    from sevbuild.diagnose.differences.model import LAUNCHED
    from sevbuild.diagnose.differences.things import DOCUMENTS, NOUNS

    if target and not all(kind in LAUNCHED for kind in kinds):
        without = next(kind for kind in kinds if kind not in LAUNCHED)
        raise SevbuildError(f"--target: {NOUNS[without]} has no targets")
    if release and not any(kind in DOCUMENTS for kind in kinds):
        raise SevbuildError("--release is for reference values, releases and bundles")
    if offline and "manifest" not in kinds:
        raise SevbuildError("--offline is for manifests")
    if "igvm" not in kinds:
        igvm.refuse()

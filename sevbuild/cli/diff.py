"""`sevbuild diff`: what tells two files of a launch apart, the causes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sevbuild.cli import options
from sevbuild.cli.output import FORCE, protect
from sevbuild.cli.pictures import OUTPUT, PICTURES, Output, named_files
from sevbuild.cli.report import print_notices, shown_progress
from sevbuild.documents.json_text import json_text
from sevbuild.errors import SevbuildError
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.diagnose.differences.compare import Request
    from sevbuild.diagnose.differences.model import Difference
    from sevbuild.diagnose.differences.things import Thing
    from sevbuild.guest.protected import Protected

__all__ = ["diff"]

FORMATS = ("table", "json", *PICTURES)


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
    fmt: str = options.format_option(*FORMATS),
    output: str = OUTPUT,
    force: bool = FORCE,
    offline: bool = options.OFFLINE,
    igvm: options.IgvmOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Show whether two files have the same launch digest, what differs and because of what.

    Causes come first, each with the place where either side says it: pages of a firmware, words of a command
    line, fields of a kernel's header, registers, settings. Then the step at which the launches part. Exit 1
    where anything differs that is launched. Published values are compared target by target, names among them.
    html is a page with the launches side by side, svg their memory maps alone.
    """
    from sevbuild.diagnose.differences.compare import Request, compare_things
    from sevbuild.diagnose.differences.things import DOCUMENTS, thing_at

    options.check_format(fmt, FORMATS)
    sink = Output(output, force=force, quiet=quiet)
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
        text, differs = _documents(first, second, request, fmt)
    else:
        difference, notices = compare_things(first, second, request)
        print_notices(notices, quiet=quiet)
        text, differs = _rendered(difference, fmt), not difference.same
    sink.put(text, _protected((first, second), offline=offline), data=fmt != "table")
    if differs:
        raise typer.Exit(1)


def _rendered(difference: Difference, fmt: str) -> str:
    if fmt == "json":
        from sevbuild.diagnose.differences.model import difference_document

        return json_text(difference_document(difference))
    from sevbuild.cli.differences import difference_text, first_line

    if fmt == "table":
        return difference_text(difference)
    from sevbuild.cli.pictures import comparison_text
    from sevbuild.diagnose.drawn import difference_picture

    return comparison_text(difference_picture(difference, first_line(difference)), fmt)


def _documents(first: Thing, second: Thing, request: Request, fmt: str) -> tuple[str, bool]:
    """Return what changed between two published sets of values, and whether anything did."""
    from sevbuild.diagnose.differences.compare import compare_documents

    comparison, difference = compare_documents(first, second, request)
    differs = not comparison.equal
    if fmt == "json":
        from sevbuild.diagnose.differences.model import difference_document

        return json_text({**difference_document(difference()), **comparison.document()}), differs
    if fmt in PICTURES:
        return _rendered(difference(), fmt), differs
    from sevbuild.cli.comparison import comparison_lines

    lines = comparison_lines(comparison, {"alike": "same launch"}, notes=True)
    lines += ["same launch values"] * (differs and comparison.same_launch)
    return "".join(f"{visible(line)}\n" for line in lines), differs


def _protected(things: tuple[Thing, Thing], *, offline: bool) -> Protected:
    """Return what knows the two things, and what a manifest among them names."""
    protected = protect(documents=named_files(thing.path for thing in things))
    for thing in things:
        if thing.kind == "manifest" and thing.data is None:
            from sevbuild.guest.guest import load_guest

            protected.add_guest(thing.path, load_guest(thing.path, network=options.network(offline)))
            protected.add_lock(thing.path)
    return protected


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

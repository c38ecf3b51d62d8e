"""`sevbuild import`: the manifest of a guest that something else launches or measures."""

from __future__ import annotations

import os
from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.output import print_wrote, refuse_force
from sevbuild.cli.report import print_data, print_notices
from sevbuild.errors import Notice, SevbuildError

__all__ = ["import_guest"]

SOURCE: Any = typer.Argument(
    None,
    metavar="[FILE | -- COMMAND...]",
    help="What to read; - or nothing means standard input.",
    show_default=False,
)


def import_guest(
    source: list[str] = SOURCE,
    output: str = options.value_option("--output", "-o", metavar="PATH", text="Where to write it."),
    force: bool = typer.Option(False, "--force", help="Replace the file if it exists."),
    quiet: bool = options.QUIET,
) -> None:
    """Write a guest's manifest from a QEMU command line, a libvirt domain or a sev-snp-measure command.

    A FILE may be a shell script, /proc/PID/cmdline, a JSON array of arguments or a domain's XML. What
    the source does not say is noted in the manifest and on standard error; what cannot be known has no
    value, and the manifest is incomplete until it is given one.
    """
    from sevbuild.commands.importing.source import SOURCE_LIMIT, import_data, import_words, write_draft
    from sevbuild.fs import read_file, read_standard_input
    from sevbuild.output.file import write_file

    if force:
        refuse_force(output)
    words = source or []
    if len(words) > 1:
        draft, named = import_words(words), f"a command of {os.path.basename(words[0])}"
    elif words in ([], ["-"]):
        draft, named = import_data(read_standard_input(SOURCE_LIMIT)), "standard input"
    else:
        draft, named = import_data(read_file(words[0], SOURCE_LIMIT)), os.path.basename(words[0])
    text = write_draft(draft, source=named, directory=os.path.dirname(output))
    notices = [Notice("note", key or named, note) for key, note in draft.notes]
    for key, reasons in draft.unknown.items():
        hint = f"the manifest is incomplete without it: use --set {key}=VALUE, or edit the manifest"
        notices += [Notice("warning", key, f"UNKNOWN: {reason}", hint) for reason in reasons]
    print_notices(notices, quiet=quiet)
    if not output or output == "-":
        print_data(text)
        return
    if os.path.lexists(output) and not force:
        raise SevbuildError(f"{output} already exists", hint="--force replaces it")
    write_file(output, text.encode(), replace=force)
    print_wrote(output, quiet=quiet)

"""Write what a verb was asked for: nothing of others for it, and what was written is said once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli.report import print_message
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.guest.protected import Protected
    from sevbuild.output.locks import Patience

__all__ = [
    "FORCE",
    "patience",
    "print_wrote",
    "print_wrote_folder",
    "protect",
    "refuse_force",
    "write_outputs",
]

FORCE: Any = typer.Option(False, "--force", help="Replace even a manifest, its lock or an input.")

_HINT = "-o names another file; --force replaces this one"


def protect(*, documents: Iterable[str] = (), given: Iterable[str] = ()) -> Protected:
    """Return what knows these documents, and the files that values `KEY=@FILE` name."""
    from sevbuild.guest.protected import Protected

    protected = Protected()
    protected.add("an input of this command", documents)
    values = [pair.partition("=")[2] for pair in given]
    protected.add("a file that a value is read from", [text[1:] for text in values if text.startswith("@")])
    return protected


def refuse_force(output: str) -> None:
    """Raise SevbuildError for `--force` where no file is written."""
    if output in ("", "-"):
        raise SevbuildError("--force replaces a file, but none is written", hint="-o FILE names one")


def write_outputs(
    files: Mapping[str, bytes],
    protected: Protected,
    *,
    force: bool = False,
    hint: str = _HINT,
    folders: bool = False,
    quiet: bool = False,
) -> None:
    """Write files, each whole or not at all, and say so; raises SevbuildError where one is protected.

    With `folders`, those above them are made where they are not there yet.
    """
    from sevbuild.output.file import make_folder, write_files

    if not force:
        protected.refuse(files, hint=hint)
    if folders:
        for folder in sorted({os.path.dirname(path) for path in files} - {""}):
            make_folder(folder)
    write_files(files)
    for path in files:
        print_wrote(path, quiet=quiet)


def print_wrote(path: str, *, quiet: bool = False) -> None:
    """Say which file was written."""
    if not quiet:
        print_message(f"wrote {path}")


def print_wrote_folder(path: str, *, quiet: bool = False) -> None:
    """Say which folder was written."""
    print_wrote(os.path.join(path, ""), quiet=quiet)


def patience() -> Patience:
    """Return how long to wait for other runs, and say so on standard error when it comes to that."""
    from sevbuild.output.locks import Patience

    return Patience(tell=print_message)

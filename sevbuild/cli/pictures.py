"""What verbs that draw have in common: the formats, where a text is written, and what it must not replace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli.output import refuse_force, write_outputs
from sevbuild.cli.report import print_data, print_text

if TYPE_CHECKING:
    from sevbuild.guest.protected import Protected

__all__ = ["OUTPUT", "PICTURES", "Output"]

PICTURES = ("html", "svg")
"""Formats that are drawn: a page, and the memory map alone."""

OUTPUT: Any = typer.Option(
    "", "--output", "-o", metavar="FILE", help="Where to write it.", show_default=False
)


class Output:
    """Where the text of one run goes: to a file, or to standard output where none is named."""

    def __init__(self, path: str, *, force: bool, quiet: bool) -> None:
        if force:
            refuse_force(path)
        self._path = "" if path == "-" else path
        self._force, self._quiet = force, quiet

    def put(self, text: str, protected: Protected, *, data: bool = True) -> None:
        """Write or print a text; printed, it is `data` for a program or lines for a person."""
        if self._path:
            write_outputs({self._path: text.encode()}, protected, force=self._force, quiet=self._quiet)
        elif data:
            print_data(text)
        else:
            print_text(text)

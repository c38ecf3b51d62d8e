"""What verbs that draw have in common: the formats, where a text is written, and what it must not replace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli.output import refuse_force, write_outputs
from sevbuild.cli.report import print_data, print_text
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.guest.protected import Protected
    from sevbuild.picture.comparison_page import ComparisonPicture

__all__ = ["OUTPUT", "PICTURES", "Output", "comparison_text", "named_files"]

PICTURES = ("html", "svg")
"""Formats that are drawn: a page, and the memory map alone."""

OUTPUT: Any = typer.Option(
    "", "--output", "-o", metavar="FILE", help="Where to write it.", show_default=False
)


def comparison_text(picture: ComparisonPicture, fmt: str) -> str:
    """Return a comparison as a page or as maps; raises SevbuildError where there is no launch to draw."""
    from sevbuild.picture.comparison_page import comparison_maps, comparison_page

    if fmt == "html":
        return comparison_page(picture)
    text = comparison_maps(picture)
    if text is None:
        hint = "--format html is a page of what was found"
        raise SevbuildError("no launch is known here of which a map could be drawn", hint=hint)
    return text


def named_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, of a folder the files in it, and of a bundle its inputs: none is replaced unasked."""
    import os

    for path in paths:
        yield path
        for folder in (path, os.path.join(path, "inputs")):
            # A folder that cannot be listed has been refused before, or nothing was read of it.
            with suppress(OSError, ValueError):
                yield from [entry.path for entry in os.scandir(folder)]


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

"""`sevbuild cache`: where fetched inputs are kept, what is there, and away with it."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.parser import Application
from sevbuild.cli.report import print_data, print_line, print_text
from sevbuild.text import counted

__all__ = ["cache"]

DIGESTS: Any = typer.Argument(None, metavar="[SHA256]...", help="Remove only these.", show_default=False)

cache = Application(name="cache", help="Show or clean the cache of inputs that were fetched by URL.")


@cache.command()
def path() -> None:
    """Print the folder of the cache; SEVBUILD_CACHE sets another."""
    from sevbuild.network.cache import cache_directory

    print_line(cache_directory())


@cache.command(name="list")
def list_entries(fmt: str = options.TABLE_FORMAT) -> None:
    """List the files in the cache, and the downloads that have not ended."""
    from sevbuild.cli.tables import text_table
    from sevbuild.documents.json_text import json_text
    from sevbuild.network.cache import Cache, cache_directory

    as_json = options.wants_json(fmt, "table")
    entries = Cache(cache_directory()).entries()
    if as_json:
        print_data(json_text([entry._asdict() for entry in entries]))
        return
    header = ("sha256", "size", "state")
    rows = [
        (entry.sha256, str(entry.size), "complete" if entry.complete else f"part of {entry.url}".strip())
        for entry in entries
    ]
    print_text(text_table(header, rows))


@cache.command()
def clean(digests: list[str] | None = DIGESTS) -> None:
    """Remove what is in the cache; a download that is under way stays."""
    from sevbuild.documents.document import parse_hex
    from sevbuild.network.cache import Cache, cache_directory

    wanted = [parse_hex(digest, 32).hex() for digest in digests or ()]
    removed = Cache(cache_directory()).clean(wanted)
    size = sum(entry.size for entry in removed)
    print_line(f"removed {counted(len(removed), 'file')}, {size} bytes")

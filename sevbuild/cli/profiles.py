"""`sevbuild profiles`: how each hypervisor launches, and where that is known from."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_text
from sevbuild.cli.tables import text_table
from sevbuild.documents.json_text import json_text
from sevbuild.manifest.catalog import profile_document, profiles_document

__all__ = ["profiles"]


def profiles(
    name: str = typer.Argument("", metavar="[NAME|PATH]", help="Show this profile.", show_default=False),
    fmt: str = options.TABLE_FORMAT,
) -> None:
    """List the profiles, or show every value of one with its source and what differs from its parent."""
    document: Any = profile_document(name) if name else profiles_document()
    if options.wants_json(fmt, "table"):
        print_data(json_text(document))
    else:
        print_text(_one(document) if name else _all(document))


def _all(profiles: list[dict[str, Any]]) -> str:
    rows = [
        (entry["name"], ", ".join(entry["modes"]), entry["extends"] or "-", entry["summary"])
        for entry in profiles
    ]
    return text_table(("profile", "modes", "extends", "summary"), rows)


def _one(profile: dict[str, Any]) -> str:
    head = f"{profile['name']}: {profile['summary']}\nas of {profile['as_of']}\n"
    if profile["extends"]:
        head += f"extends {profile['extends']}; * marks what differs from it\n"
    rows = []
    for value in profile["values"]:
        shown = _shown(value["value"])
        if value["differs"] and value["parent_value"] is not None:
            shown += f" (parent: {_shown(value['parent_value'])})"
        rows.append(("*" if value["differs"] else "", value["path"], shown, value["source"] or "-"))
    return head + "\n" + text_table(("", "key", "value", "source"), rows)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

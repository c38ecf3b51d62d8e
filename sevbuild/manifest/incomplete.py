"""Values that a manifest still lacks: a comment holds each one's place until it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sevbuild.documents.document import Document

__all__ = ["MARK", "incomplete_line", "note_incomplete"]

MARK = "# UNKNOWN: "
"""What such a comment has after `# key = ... `; the reason follows."""

_LINE = re.compile(r"#\s*([A-Za-z0-9_-]+)\s*=\s*\.\.\.\s*#\s*UNKNOWN:\s*(.*?)\s*")

_INSTEAD = {
    "cmdline": ("cmdline-file", "cmdlines"),
    "model": ("signature", "family"),
    "path": ("url", "uki", "sha256", "seed", "parameters"),
    "vars-size": ("vars-path",),
    "vars-path": ("vars-size",),
}
"""Keys that say the same in another way: with one of them nothing is lacking."""


def incomplete_line(key: str, why: str) -> str:
    """Return the comment that stands where `key` has no value yet."""
    return f"# {key} = ... {MARK}{why}"


def note_incomplete(
    document: Document, raw: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> None:
    """Note a fault for each key of a document that such a comment names and nothing gives.

    A comment counts for the table it stands in: `raw` are the tables of the document with `--set`, `variants`
    the same as each entry of its matrix overrides them.
    """
    from sevbuild.documents.locate import comments

    for path, line, text in comments(document.text):
        match = _LINE.fullmatch(text)
        if match is None:
            continue
        key = match[1]
        tables = [raw] if path.startswith("matrix[") else variants
        if all(_gives(_table(laid, path), key) for laid in tables):
            continue
        at = f"{path}.{key}" if path else key
        document.fault_at(
            line, at, f"UNKNOWN: {match[2]}", f"give it a value there, or with --set {at}=VALUE"
        )


def _gives(table: Mapping[str, Any], key: str) -> bool:
    return any(name in table for name in (key, *_INSTEAD.get(key, ())))


def _table(tables: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    found: Any = tables
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(found, list):
            found = found[int(part)] if part.isdigit() and int(part) < len(found) else {}
        else:
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}

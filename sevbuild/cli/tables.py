"""Plain text and Markdown tables, as the verbs print them; what stands in a cell stays in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sevbuild.text import visible

__all__ = ["markdown_table", "text_table", "values_table"]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns under a header; the last column is not padded."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(visible(cell).replace("|", "\\|") for cell in row) + " |\n" for row in lines
    )


def values_table(fmt: str, values: Iterable[Mapping[str, Any]]) -> str:
    """Return the launch digests of a document's values as a `table` or as `markdown`."""
    header = ("label", "policy", "guest features", "launch digest")
    rows = [
        (
            value["label"],
            f"{value['policy']} ({value['origins']['policy']})",
            "none"
            if value["guest_features"] is None
            else f"{value['guest_features']} ({value['origins']['guest_features']})",
            value["digest"],
        )
        for value in values
    ]
    if fmt == "table":
        return text_table(header, rows)
    return markdown_table(header, [(*row[:3], f"`{row[3]}`") for row in rows])

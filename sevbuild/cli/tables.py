"""Plain text and Markdown tables, as the verbs print them; what stands in a cell stays in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sevbuild.text import visible

if TYPE_CHECKING:
    from rich.segment import Segment

    from sevbuild.reference.model import Value

__all__ = ["facts_text", "markdown_table", "text_table", "values_table"]

_GAP = 2


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> str:
    """Return aligned columns under a header, so far indented; the last column is not padded.

    Where standard output is a terminal, the table fits it: see `_fitted`. Elsewhere it is as wide as its
    cells, a line a row.
    """
    lines = [list(header), *([visible(cell) for cell in row] for row in rows)]
    shown = _fitted(lines, indent) if sys.stdout.isatty() else _aligned(lines)
    return "".join(f"{' ' * indent}{line}".rstrip() + "\n" for line in shown)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(visible(cell).replace("|", "\\|") for cell in row) + " |\n" for row in lines
    )


def values_table(fmt: str, values: Iterable[Value]) -> str:
    """Return the launch digests of reference values as a `table` or as `markdown`.

    The order has a column where it is another than that of the profile.
    """
    values = list(values)
    ordered = any(value.order != "profile" for value in values)
    header = ("label", *(("order",) if ordered else ()), "policy", "guest features", "launch digest")
    rows = [
        (
            value.label,
            *((value.order,) if ordered else ()),
            f"{value.policy:#x} ({value.policy_origin})",
            "none"
            if value.guest_features is None
            else f"{value.guest_features:#x} ({value.features_origin})",
            value.digest.hex(),
        )
        for value in values
    ]
    if fmt == "table":
        return text_table(header, rows)
    return markdown_table(header, [(*row[:-1], f"`{row[-1]}`") for row in rows])


def facts_text(title: str, facts: Iterable[tuple[str, str]], width: int) -> str:
    """Return a title and below it a line a fact, whose name is padded to `width`."""
    return f"{visible(title)}\n" + "".join(f"  {name:<{width}}{visible(value)}\n" for name, value in facts)


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for *cells, last in lines:
        yield (" " * _GAP).join(
            [*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), last]
        )


def _fitted(lines: Sequence[Sequence[str]], indent: int) -> Iterator[str]:
    """Yield the lines of a table as rich lays it out on the terminal, wide characters two columns each.

    Text is wrapped within its column. Where that is needed, a last cell with a word as long as half a line, a
    digest or a path above all, stands below its row instead, whole where a line holds it, to be copied. The
    header does so where all of its column does.
    """
    from shutil import get_terminal_size

    from rich.cells import cell_len
    from rich.console import Console
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    columns, height = get_terminal_size()
    console = Console(color_system=None, width=max(columns - indent, 1), height=height)
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    wide = sum(widths) + _GAP * (len(widths) - 1) > console.width and len(widths) > 1
    below = [wide and console.width < 2 * max(map(cell_len, line[-1].split() or [""])) for line in lines]
    below[0] = below[0] or (any(below[1:]) and all(below[1:]))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    for number, line in enumerate(lines):
        # Each line that is laid out knows its row.
        cells = [Text(cell, overflow="fold") for cell in (line[:-1] if below[number] else line)]
        table.add_row(*cells, style=Style(meta={"row": number}))
    row = 0
    for laid_out in [*console.render_lines(table, pad=False), None]:
        here = len(lines) if laid_out is None else _row(laid_out)
        if here != row and below[row]:
            for part in Text(lines[row][-1], overflow="fold").wrap(console, console.width - 4):
                yield f"    {part.plain}"
        row = here
        if laid_out is not None:
            yield "".join(segment.text for segment in laid_out)


def _row(segments: Sequence[Segment]) -> int:
    row: int = next(part.style.meta["row"] for part in segments if part.style and part.style.meta)
    return row

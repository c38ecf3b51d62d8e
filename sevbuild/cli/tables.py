"""Plain text and Markdown tables, as the verbs print them; what stands in a cell stays in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.reference.model import Value

__all__ = ["markdown_table", "text_table", "values_table"]

_GAP = 2
_LEAST = 8


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> str:
    """Return aligned columns under a header, so far indented; the last column is not padded.

    Where standard output is a terminal, the table fits it: see `_fitted`. Elsewhere it is as wide as its
    cells, a line a row.
    """
    lines = [list(header), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    if sys.stdout.isatty():
        import shutil

        columns = shutil.get_terminal_size().columns - indent
        if sum(widths) + _GAP * (len(widths) - 1) > columns:
            fitted = _fitted(lines, widths, columns)
            return "".join(f"{' ' * indent}{line}".rstrip() + "\n" for line in fitted.splitlines())
    return "".join(f"{' ' * indent}{_joined(line, widths)}".rstrip() + "\n" for line in lines)


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


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)]
    return (" " * _GAP).join([*padded, cells[-1]]).rstrip()


def _fitted(lines: list[list[str]], widths: list[int], columns: int) -> str:
    """Return a table of at most so many columns.

    Text is wrapped within its column. A last column with a word as long as half a line, a digest above all,
    stands below its row instead, whole where a line holds it: so it can be copied.
    """
    word = max((len(part) for line in lines for part in line[-1].split()), default=0)
    if 2 * word <= columns or len(widths) == 1:
        return _wrapped(lines, _narrowed(lines, widths, columns))
    narrow = _narrowed([line[:-1] for line in lines], widths[:-1], columns)
    text = ""
    for line in lines:
        text += _wrapped([line[:-1]], narrow)
        text += "".join(f"    {part}\n" for part in _folded(line[-1], columns - 4))
    return text


def _narrowed(lines: list[list[str]], widths: list[int], columns: int) -> list[int]:
    """Return widths that fit: the widest columns give way, to their longest word first, then within it."""
    words = [
        max((len(part) for line in lines for part in line[column].split()), default=0)
        for column in range(len(widths))
    ]
    narrow = list(widths)
    for least in (words, [_LEAST] * len(widths)):
        while sum(narrow) + _GAP * (len(narrow) - 1) > columns:
            able = [(width, column) for column, width in enumerate(narrow) if width > least[column]]
            if not able:
                break
            width, column = max(able)
            narrow[column] = width - 1
    return narrow


def _wrapped(lines: list[list[str]], widths: Sequence[int]) -> str:
    text = ""
    for line in lines:
        cells = [_folded(cell, width) for cell, width in zip(line, widths, strict=True)]
        for index in range(max(map(len, cells))):
            text += _joined([cell[index] if index < len(cell) else "" for cell in cells], widths) + "\n"
    return text


def _folded(text: str, width: int) -> list[str]:
    """Return text in lines of at most so many characters; only a word that is longer is broken."""
    lines: list[str] = []
    line = ""
    for whole in text.split(" "):
        word = whole
        if line and len(line) + 1 + len(word) <= width:
            line += f" {word}"
            continue
        lines += [line] if line else []
        while len(word) > width:
            lines.append(word[:width])
            word = word[width:]
        line = word
    return [*lines, line]

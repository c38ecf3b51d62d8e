"""`html`: release notes as one page, without scripts or links."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as escape_html

from sevbuild.reference.export.interface import ALL_MODES, Document, Exporter, ExportOptions
from sevbuild.reference.export.tables import INPUT_HEADER, VALUE_HEADER, input_rows, value_rows
from sevbuild.reference.export.text import guest_title
from sevbuild.text import visible

__all__ = ["EXPORTER"]

_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
    "th,td{border:1px solid #999;padding:.2em .6em;text-align:left}code{font-size:.85em}"
)


class Html(Exporter):
    """Write inputs and launch digests as an HTML page; every value is escaped."""

    name = "html"
    summary = "the same tables as an HTML page"
    modes = ALL_MODES

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `release-notes.html`."""
        del options
        title = escape(guest_title(document))
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            f"{_table(INPUT_HEADER, input_rows(document))}"
            f"{_table(VALUE_HEADER, value_rows(document))}"
            "</body>\n</html>\n"
        )
        return {"release-notes.html": page.encode()}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[:-1])
        lines.append(f"<tr>{cells}<td><code>{escape(row[-1])}</code></td></tr>\n")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody>\n</table>\n"


def escape(text: str) -> str:
    """Return text that HTML shows as it is, on one line."""
    return escape_html(visible(text))


EXPORTER = Html()

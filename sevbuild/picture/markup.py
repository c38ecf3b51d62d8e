"""Text of others as HTML and SVG text, and the parts that pages are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as escape_html

from sevbuild.text import visible

__all__ = ["code", "escape", "facts", "heading", "scrolled_table"]


def escape(text: str) -> str:
    """Return text that HTML and SVG show as it is, on one line."""
    # The two characters that are neither hidden nor allowed in XML (XML 1.0 section 2.2).
    text = visible(text).replace("\ufffe", r"\ufffe").replace("\uffff", r"\uffff")
    return escape_html(text)


def code(text: str, *classes: str) -> str:
    """Return text as code."""
    of = f' class="{" ".join(classes)}"' if classes else ""
    return f"<code{of}>{escape(text)}</code>"


def heading(level: int, text: str, anchor: str = "") -> str:
    """Return a heading; `anchor` is what links name it by."""
    of = f' id="{anchor}"' if anchor else ""
    return f"<h{level}{of}>{escape(text)}</h{level}>\n"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with what they stand for, as a list; both are plain text."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>\n" for name, text in pairs)
    return f'<dl class="facts">\n{items}</dl>\n' if items else ""


def scrolled_table(caption: str, header: Sequence[str], rows: Iterable[str], classes: str = "") -> str:
    """Return a table in a box of its own, which scrolls where a screen is too narrow for it.

    `rows` are `<tr>` elements, ready. The box can have the focus, so that keys scroll it as well.
    """
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    name = escape(caption)
    of = f' class="{classes}"' if classes else ""
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{name}">\n<table{of}>\n'
        f"<caption>{name}</caption>\n<thead><tr>{columns}</tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n</div>\n"
    )

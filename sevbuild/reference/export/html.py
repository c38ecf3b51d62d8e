"""`html`: release notes as one page, without scripts or links."""

from __future__ import annotations

from html import escape as escape_html

from sevbuild.reference.export.interface import ALL_MODES, Exporter, ExportOptions
from sevbuild.reference.export.release_notes import Group, Notation, command_lines, release_notes
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import counted, visible

__all__ = ["EXPORTER"]

# Digests and command lines break anywhere: nothing scrolls sideways on a telephone (390 px).
_STYLE = (
    ":root{color-scheme:light dark}body{font-family:sans-serif;line-height:1.5;margin:0 auto;max-width:60em;"
    "padding:1em}h1,h2,h3,p,li,summary{overflow-wrap:anywhere}code,pre{font-family:monospace;font-size:.9em;"
    "overflow-wrap:anywhere;white-space:pre-wrap}pre{border:1px solid #888;padding:.5em}ul{padding-left:1.2em}"
    "h3{font-size:1em;margin-bottom:0}details{margin:.5em 0}"
)


class Html(Exporter):
    """Inputs, command lines and launch digests as an HTML page; every value is escaped."""

    name = "html"
    summary = "the same as an HTML page"
    files = ("release-notes.html",)
    modes = ALL_MODES

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `release-notes.html`."""
        notes = release_notes(values)
        title = escape(notes.title)
        inputs = "".join(
            f"<li>{escape(entry.name)}<br><code>{escape(entry.digest)}</code></li>\n"
            for entry in notes.inputs
        )
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            f"<h2>Verify</h2>\n{_block(*notes.verify)}<p>{escape(notes.about_verifying)}</p>\n"
            f"<h2>Launch digests</h2>\n{''.join(_group(group, folded=notes.folded) for group in notes.groups)}"
            f"{command_lines(notes, _NOTATION)}"
            f"{f'<h2>Inputs</h2>{chr(10)}<ul>{chr(10)}{inputs}</ul>{chr(10)}' if inputs else ''}"
            "</body>\n</html>\n"
        )
        return {"release-notes.html": page.encode()}


def _group(group: Group, *, folded: bool) -> str:
    title, facts = escape(group.title), escape(group.facts)
    if len(group.rows) == 1:
        rows = f"<p><code>{escape(group.rows[0][1])}</code></p>\n"
    else:
        items = "".join(f"<li>{count}: <code>{escape(digest)}</code></li>\n" for count, digest in group.rows)
        rows = f"<ul>\n{items}</ul>\n"
    if folded:
        count = counted(len(group.rows), "target")
        return f"<details><summary><b>{title}</b>: {count}, {facts}</summary>\n{rows}</details>\n"
    return f"<h3>{title}</h3>\n<p>{facts}</p>\n{rows}"


def _block(*lines: str) -> str:
    # A newline that stands first in <pre> is not shown; none does.
    text = "\n".join(map(escape, lines))
    return f"<pre>{text}</pre>\n"


def escape(text: str) -> str:
    """Return text that HTML shows as it is, on one line."""
    return escape_html(visible(text))


_NOTATION = Notation(
    heading=lambda text: f"<h2>{text}</h2>\n",
    paragraph=lambda text: f"<p>{escape(text)}</p>\n",
    code=_block,
)

EXPORTER = Html()

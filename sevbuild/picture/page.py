"""The frame of every page: one file that asks for nothing else, in which only its own script acts."""

from __future__ import annotations

from collections.abc import Iterable

from sevbuild.picture.markup import escape
from sevbuild.picture.script import SCRIPT, SCRIPT_HASH
from sevbuild.picture.style import STYLE, STYLE_HASH

__all__ = ["contents", "page"]

_POLICY = f"default-src 'none'; style-src '{STYLE_HASH}'; script-src '{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"


def page(title: str, body: str) -> str:
    """Return an HTML document; `title` is plain text, `body` the markup of what it shows."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}"
        '<p id="said" class="weak" role="status"></p>\n</main>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def contents(sections: Iterable[tuple[str, str]]) -> str:
    """Return links to the sections of a page, given as anchors and titles."""
    items = "".join(f'<li><a href="#{anchor}">{escape(title)}</a></li>\n' for anchor, title in sections)
    return f'<nav aria-label="On this page">\n<ul>\n{items}</ul>\n</nav>\n'

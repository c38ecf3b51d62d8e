"""`markdown`: release notes."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.reference.export.interface import ALL_MODES, Document, Exporter, ExportOptions
from sevbuild.reference.export.tables import INPUT_HEADER, VALUE_HEADER, input_rows, value_rows
from sevbuild.reference.export.text import guest_title
from sevbuild.text import visible

__all__ = ["EXPORTER"]

_SPECIAL = frozenset("\\`*_{}[]<>()#+!|~&")


class Markdown(Exporter):
    """Write inputs and launch digests as GitHub-flavoured Markdown tables."""

    name = "markdown"
    summary = "release notes with the table of launch digests"
    modes = ALL_MODES

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `release-notes.md`."""
        del options
        inputs = [(*map(_escape, row[:3]), f"`{row[3]}`") for row in input_rows(document)]
        values = [(*map(_escape, row[:3]), f"`{row[3]}`") for row in value_rows(document)]
        parts = [
            f"# {_escape(guest_title(document))}\n\n",
            _table(INPUT_HEADER, inputs),
            "\n",
            _table(VALUE_HEADER, values),
        ]
        return {"release-notes.md": "".join(parts).encode()}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    if text.isalnum():
        return text
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in visible(text))


EXPORTER = Markdown()

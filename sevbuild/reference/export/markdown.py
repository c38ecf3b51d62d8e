"""`markdown`: release notes that a forge takes as they are."""

from __future__ import annotations

from collections.abc import Callable
from html import escape as escape_html

from sevbuild.picture.digests import DigestGroup
from sevbuild.reference.export.interface import ALL_MODES, Exporter, ExportOptions
from sevbuild.reference.export.release_notes import (
    ELSEWHERE,
    Notation,
    ReleaseNotes,
    command_lines,
    release_notes,
)
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import counted, visible

__all__ = ["EXPORTER", "LIMIT"]

LIMIT = 125_000
"""The most characters that GitHub takes as the body of a release."""

_SPECIAL = frozenset("\\`*_{}[]<>()#+!|~&")


class Markdown(Exporter):
    """Inputs, command lines and launch digests as GitHub-flavoured Markdown.

    Lists, not tables: in these a digest is cut off on a narrow screen.
    """

    name = "markdown"
    summary = "release notes with the launch digests, at most 125,000 characters"
    files = ("release-notes.md",)
    modes = ALL_MODES

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return how many launch digests are left out."""
        left_out = len(values.values) - _text(values)[1]
        more = [f"{left_out} launch digests do not fit in {LIMIT} characters"] if left_out else []
        return super().notes(values, options) + more

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `release-notes.md`."""
        return {"release-notes.md": _text(values)[0].encode()}


def _text(values: ReferenceValues) -> tuple[str, int]:
    """Return the notes, and how many launch digests are in them."""
    notes = release_notes(values)
    head = f"# {_escape(notes.title)}\n\n" + _verify(notes)
    tail = command_lines(notes, _NOTATION)
    # Digests go first; what they leave is for the inputs, which are few in all but the oddest guests.
    inputs = [f"- {_escape(entry.name)}\\\n  `{visible(entry.digest)}`\n" for entry in notes.inputs]
    room = LIMIT - _size(head) - _size(tail)
    inputs_text, _ = _fit(inputs, room // 4, lambda count: f"- and {count} more: {ELSEWHERE}\n")
    inputs_text = f"\n## Inputs\n\n{inputs_text}" if inputs else ""
    title = "## Launch digests\n"
    groups, shown = _groups(notes, room - _size(inputs_text) - _size(title))
    return head + title + groups + tail + inputs_text, shown


def _verify(notes: ReleaseNotes) -> str:
    commands = "".join(f"{line}\n" for line in notes.verify)
    return f"## Verify\n\n```sh\n{commands}```\n\n{_escape(notes.about_verifying)}\n\n"


def _groups(notes: ReleaseNotes, room: int) -> tuple[str, int]:
    """Return the groups that fit, and how many digests they show; the others are counted."""
    texts = [_group(group, folded=notes.folded) for group in notes.groups]
    counts = [len(group.rows) for group in notes.groups]

    def rest(count: int) -> str:
        return f"\nAnd {sum(counts[len(counts) - count :])} more targets: {ELSEWHERE}.\n"

    text, shown = _fit(texts, room, rest)
    return text, sum(counts[:shown])


def _group(group: DigestGroup, *, folded: bool) -> str:
    if len(group.rows) == 1:
        rows = f"`{group.rows[0].digest}`\n"
    else:
        rows = "".join(f"- {row.name}: `{row.digest}`\n" for row in group.rows)
    if folded:
        # Up to the empty line this is HTML, after it Markdown.
        count = counted(len(group.rows), "target")
        head = f"<b>{escape_html(visible(group.title))}</b>: {count}, {escape_html(visible(group.facts))}"
        return f"\n<details><summary>{head}</summary>\n\n{rows}\n</details>\n"
    return f"\n**{_escape(group.title)}**: {_escape(group.facts)}\n\n{rows}"


def _code(text: str) -> str:
    """Return text as a code span, which breaks where a block would scroll (CommonMark 0.31 section 6.1)."""
    if not text:
        return "The empty line."
    quote = "`"
    while quote in text:
        quote += "`"
    # One blank on either side is no part of the text where there are both and something between.
    pad = " " if text.strip(" ") and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{quote}{pad}{text}{pad}{quote}"


def _fit(parts: list[str], room: int, rest: Callable[[int], str]) -> tuple[str, int]:
    """Return the first parts, as many as fit `room` characters, and their count; `rest` counts the others."""
    if sum(map(_size, parts)) <= room:
        return "".join(parts), len(parts)
    used, shown = _size(rest(len(parts))), 0
    for part in parts:
        used += _size(part)
        if used > room:
            break
        shown += 1
    return "".join(parts[:shown]) + rest(len(parts) - shown), shown


def _size(text: str) -> int:
    """Return the length of text as the strictest reader might count it: in bytes."""
    return len(text.encode())


def _escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    if text.isalnum():
        return text
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in visible(text))


_NOTATION = Notation(
    heading=lambda text: f"\n## {text}\n",
    paragraph=lambda text: f"\n{_escape(text)}\n",
    code=lambda line: f"\n{_code(visible(line))}\n",
)

EXPORTER = Markdown()

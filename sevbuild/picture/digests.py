"""Launch digests by target, with a filter and a button that copies each: lists, which fit any screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sevbuild.picture.markup import escape
from sevbuild.text import counted

__all__ = ["Digest", "DigestGroup", "digest_groups", "input_list"]

_FILTERED_FROM = 4
"""So few targets are seen at a glance: fewer have no filter."""


class Digest(NamedTuple):
    """A launch digest in hexadecimal, whose it is in its group, the target's label, a link to its launch."""

    name: str
    digest: str
    label: str
    anchor: str = ""


class DigestGroup(NamedTuple):
    """Targets that differ in their vCPU count alone; `facts` is what they share."""

    title: str
    facts: str
    rows: Sequence[Digest]


def digest_groups(groups: Sequence[DigestGroup], *, folded: bool) -> str:
    """Return the digests of groups of targets; with `folded`, each group unfolds."""
    count = sum(len(group.rows) for group in groups)
    tool = _filter(count) if count >= _FILTERED_FROM else ""
    return tool + "".join(_group(group, folded=folded) for group in groups)


def input_list(inputs: Sequence[tuple[str, str]]) -> str:
    """Return a list of inputs: what each is called, and its digest."""
    items = "".join(
        f'<li>{escape(name)}<br><code class="hex">{escape(digest)}</code></li>\n' for name, digest in inputs
    )
    return f"<ul>\n{items}</ul>\n"


def _filter(count: int) -> str:
    return (
        '<div id="tool" class="tool" hidden><label for="filter">Filter</label>'
        '<input id="filter" type="search" autocomplete="off" spellcheck="false" aria-describedby="filter-help">'
        f'<span id="count" role="status">{counted(count, "target")}</span>'
        '<p id="filter-help" class="weak">Words that must all be found: parts of a label such as vcpus2, or pieces '
        "of a label, of a digest, of what targets share.</p></div>\n"
    )


def _group(group: DigestGroup, *, folded: bool) -> str:
    title, facts = escape(group.title), escape(group.facts)
    if len(group.rows) == 1:
        (row,) = group.rows
        name = _linked(row, "launch steps") if row.anchor else ""
        rows = f'<p data-label="{escape(row.label)}">{_digest(row)}{name and f" {name}"}</p>\n'
    else:
        items = "".join(
            f'<li data-label="{escape(row.label)}">{_linked(row, row.name)}: {_digest(row)}</li>\n'
            for row in group.rows
        )
        rows = f"<ul>\n{items}</ul>\n"
    if folded:
        count = counted(len(group.rows), "target")
        head = f"<summary><b>{title}</b>: {count}, {facts}</summary>"
        return f'<details class="group">{head}\n{rows}</details>\n'
    return f'<section class="group"><h3>{title}</h3>\n<p class="weak">{facts}</p>\n{rows}</section>\n'


def _linked(row: Digest, text: str) -> str:
    return f'<a href="#{row.anchor}">{escape(text)}</a>' if row.anchor else escape(text)


def _digest(row: Digest) -> str:
    return f'<code class="copy hex">{escape(row.digest)}</code>'

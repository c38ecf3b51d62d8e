"""The page of a comparison: what was found, and the launches side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sevbuild.picture.markup import code, escape, facts, heading, scrolled_table
from sevbuild.picture.memory_map import standalone_map
from sevbuild.picture.page import page
from sevbuild.picture.two_launches import TwoLaunches, launches_table, maps_beside

__all__ = ["ComparisonPicture", "Part", "comparison_maps", "comparison_page"]

_UNFOLDED = 1


class Part(NamedTuple):
    """One part of what was found: a title, lines of text, and a table where there is one.

    The first column of `rows` names what the others are of.
    """

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class ComparisonPicture(NamedTuple):
    """What a page of a comparison shows.

    `lead` is the answer in a sentence, `facts` are names and texts, `parts` come in the order in which they
    should be read.
    """

    title: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    launches: tuple[TwoLaunches, ...]


def comparison_page(picture: ComparisonPicture) -> str:
    """Return the page as one HTML document."""
    body = [f'<p class="note">{escape(picture.lead)}</p>\n', facts(picture.facts)]
    body += [_part(part) for part in picture.parts]
    body += [_launches(picture.launches, index) for index in range(len(picture.launches))]
    return page(picture.title, "".join(body))


def comparison_maps(picture: ComparisonPicture) -> str | None:
    """Return the maps of two launches as one SVG document, None where none is known step by step."""
    maps = [
        (launches.updates(side), f"Memory map of {name}", launches.marked(side))
        for launches in [found for found in picture.launches if found.pairs][:1]
        for side, name in enumerate(launches.names)
    ]
    return standalone_map(maps) if maps else None


def _part(part: Part) -> str:
    lines = [f"<li>{escape(line)}</li>\n" for line in part.lines]
    body = (
        f"<ul>\n{''.join(lines)}</ul>\n"
        if len(lines) > 1
        else "".join(f"<p>{escape(line)}</p>\n" for line in part.lines)
    )
    if part.rows:
        body += scrolled_table(part.title, part.header, map(_row, part.rows), "fields untitled")
    return heading(2, part.title) + body


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{code(text)}</td>" for text in others)}</tr>\n'


def _launches(all_launches: Sequence[TwoLaunches], index: int) -> str:
    launches = all_launches[index]
    first, second = launches.names
    name = f"{first} beside {second}"
    digests = "".join(
        f'<li data-label="{escape(whose)}">{escape(whose)}: <code class="copy hex">{escape(digest)}</code></li>\n'
        for whose, digest in zip(launches.names, launches.digests, strict=True)
    )
    body = f"<ul>\n{digests}</ul>\n"
    if launches.pairs:
        body += launches_table(launches, f"Steps of {name}") + maps_beside(launches, f"map{index + 1}")
    else:
        body += "<p>The steps of these launches are not known: one side has digests alone.</p>\n"
    if len(all_launches) > _UNFOLDED:
        return f'<details class="group"><summary><b>{escape(name)}</b></summary>\n{body}</details>\n'
    return f"<section>{heading(2, name)}{body}</section>\n"

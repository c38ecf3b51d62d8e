"""Two launches side by side: their steps in pairs, and where their digests are no longer the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.picture.launches import Update
from sevbuild.picture.markup import code, escape, scrolled_table
from sevbuild.picture.memory_map import map_picture
from sevbuild.text import counted

__all__ = ["Pair", "Side", "TwoLaunches", "launches_table", "maps_beside"]

_BEFORE = 3
"""So many steps before the parting one are shown; further ones are counted."""

_WORDS = {"gpa": "address", "page_type": "page type", "data": "contents"}


class Side(NamedTuple):
    """An update of one of two launches, and its number there."""

    number: int
    update: Update


class Pair(NamedTuple):
    """One step of two launches: an update of each, or of one alone where the other has none like it.

    `differs` names what is not the same, in the words of LaunchUpdate's fields; `details` are lines that say
    more of it: registers of a VMSA, pages of a region.
    """

    first: Side | None
    second: Side | None
    differs: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Side | None, Side | None]:
        """Return both, the first launch's first."""
        return self.first, self.second


class TwoLaunches(NamedTuple):
    """Two launches: what each is called, its launch digest in hexadecimal, and the steps of both.

    `parting` is the index of the pair after which the digests differ, None where they never do.
    """

    names: tuple[str, str]
    digests: tuple[str, str]
    pairs: tuple[Pair, ...]
    parting: int | None

    def updates(self, side: int) -> list[Update]:
        """Return the updates of the first launch (0) or the second (1), in order."""
        return [found.update for pair in self.pairs if (found := pair.sides[side]) is not None]

    def marked(self, side: int) -> Update | None:
        """Return the update at which a launch parts from the other, None where it has none there."""
        if self.parting is None:
            return None
        found = self.pairs[self.parting].sides[side]
        return None if found is None else found.update


def launches_table(launches: TwoLaunches, caption: str) -> str:
    """Return the steps of two launches in pairs; the one where they part is marked, in words as well."""
    first, second = launches.names
    header = ("#", first, "Launch digest after it", "#", second, "Launch digest after it", "What differs")
    return scrolled_table(caption, header, _rows(launches), "pairs")


def maps_beside(launches: TwoLaunches, prefix: str) -> str:
    """Return the memory maps of both, each with its name; what is where they part is marked."""
    drawn = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>\n"
        f"{map_picture(launches.updates(side), f'Memory map of {name}', f'{prefix}-{side}', launches.marked(side))}"
        "</figure>\n"
        for side, name in enumerate(launches.names)
    )
    return f'<div class="sides">\n{drawn}</div>\n'


def _rows(launches: TwoLaunches) -> Iterator[str]:
    parting = launches.parting
    start = max((len(launches.pairs) if parting is None else parting) - _BEFORE, 0)
    if start:
        yield f'<tr><td colspan="7">{counted(start, "step")} with the same digests in both</td></tr>\n'
    for index, pair in enumerate(launches.pairs[start:], start):
        if index == parting:
            yield (
                '<tr class="parting"><th scope="colgroup" colspan="7">The launches part here: up to this step the '
                "digests are the same, from here on they differ</th></tr>\n"
            )
        of = ' class="parting"' if index == parting else ""
        after = parting is not None and index > parting
        yield f"<tr{of}>{_cells(pair.first)}{_cells(pair.second)}<td>{_difference(pair, launches.names, after)}</td></tr>\n"


def _cells(side: Side | None) -> str:
    if side is None:
        return '<td></td><td colspan="2">not in this launch</td>'
    update = side.update
    place = f"{update.page_type}, {update.gpa:#x}, {update.length:#x} bytes"
    return (
        f"<td>{side.number}</td><td><b>{escape(update.origin)}</b><br>{escape(place)}</td>"
        f"<td>{code(update.digest, 'hex')}</td>"
    )


def _difference(pair: Pair, names: Sequence[str], after: bool) -> str:
    """Return in what a pair differs, a line each."""
    if pair.first is None or pair.second is None:
        return escape(f"in {names[0] if pair.second is None else names[1]} alone")
    lines = [escape(line) for line in pair.details]
    for name in pair.differs:
        if name == "data" and lines:
            continue
        old, new = _value(pair.first.update, name), _value(pair.second.update, name)
        said = _WORDS.get(name, name.replace("_", " "))
        lines.append(escape(f"{said}: {old} → {new}" if old != new else said))
    if not lines:
        return "the same update, after another digest" if after else "alike"
    return "<br>".join(lines)


def _value(update: Update, name: str) -> str:
    """Return a field as text, empty for contents, which have their digest."""
    if name in ("gpa", "length"):
        return hex(getattr(update, name))
    return str(getattr(update, name, ""))

"""The page of a guest's launches: inputs, launch digests; of each distinct launch map, VMSAs and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.picture.digests import Digest, DigestGroup, digest_groups, input_list
from sevbuild.picture.launches import Launch, Target
from sevbuild.picture.markup import escape, facts, heading
from sevbuild.picture.memory_map import map_picture, standalone_map
from sevbuild.picture.page import contents, page
from sevbuild.picture.scale import areas_of
from sevbuild.picture.steps import save_area_tables, steps_table
from sevbuild.text import counted

__all__ = ["PlanPicture", "map_document", "plan_page"]

_UNFOLDED_TARGETS = 16
_UNFOLDED_LAUNCHES = 2

_NAMED = 3
"""So many launches with one map are named at it; the others are counted."""


class PlanPicture(NamedTuple):
    """What a page of launches shows.

    `facts` are names and texts, `inputs` what each is called and its digest, `cmdlines` measured command
    lines and whose they are, `launches` the distinct ones, `targets` all, in the order of the matrix.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    cmdlines: tuple[tuple[str, str], ...]
    launches: tuple[Launch, ...]
    targets: tuple[Target, ...]

    def by_launch(self) -> list[list[Target]]:
        """Return for each launch the targets whose launches are its first steps, the longest first."""
        found: list[list[Target]] = [[] for _ in self.launches]
        for target in self.targets:
            found[target.launch].append(target)
        return [sorted(targets, key=lambda target: -target.steps) for targets in found]


def plan_page(picture: PlanPicture) -> str:
    """Return the page as one HTML document."""
    sections = (("inputs", "Inputs"), ("digests", "Launch digests"), ("launches", "Launches"))
    parts = [facts(picture.facts), contents(sections)]
    parts += [heading(2, "Inputs", "inputs"), input_list(picture.inputs)]
    for line, whose in picture.cmdlines:
        parts.append(heading(3, f"Command line of {whose}" if whose else "Command line"))
        parts.append(f"<pre>{escape(line)}</pre>\n")
    folded = len(picture.targets) > _UNFOLDED_TARGETS
    parts.append(heading(2, "Launch digests", "digests"))
    parts.append(digest_groups(list(_groups(picture.targets)), folded=folded))
    parts.append(heading(2, "Launches", "launches"))
    if len(picture.launches) < len(picture.targets):
        text = "Targets that are launched alike stand together: the steps of one with fewer vCPUs come first."
        parts.append(f"<p>{text}</p>\n")
    drawn = {index: drawn for drawn, alike in _maps(picture).items() for index in alike}
    for index, targets in enumerate(picture.by_launch()):
        parts.append(_launch(picture, index, targets, drawn[index]))
    return page(picture.title, "".join(parts))


def map_document(picture: PlanPicture) -> str:
    """Return the distinct memory maps of launches as one SVG document."""
    maps = []
    targets = picture.by_launch()
    for drawn, alike in _maps(picture).items():
        names = ", ".join(_title(targets[index]) for index in alike[:_NAMED])
        more = len(alike) - _NAMED
        names += f", and {more} more" if more > 0 else ""
        maps.append((picture.launches[drawn].updates, f"Memory map of {picture.title}: {names}", None))
    return standalone_map(maps)


def _maps(picture: PlanPicture) -> dict[int, list[int]]:
    """Return the launches whose maps are drawn, and to each those whose maps look so.

    Launches with another number of VMSAs at one address look alike: drawn is that with most of them.
    """
    found: dict[tuple[object, ...], list[int]] = {}
    for index, launch in enumerate(picture.launches):
        areas = areas_of(launch.updates)
        look = tuple((area.page_type == "vmsa" or area.origin, *area[1:4]) for area in areas)
        found.setdefault(look, []).append(index)
    launches = picture.launches
    return {max(alike, key=lambda index: len(launches[index].updates)): alike for alike in found.values()}


def _groups(targets: Sequence[Target]) -> Iterator[DigestGroup]:
    found: dict[tuple[str, str], list[Digest]] = {}
    for target in targets:
        row = Digest(target.name, target.digest, target.label, _anchor(target.launch))
        found.setdefault((target.group, target.facts), []).append(row)
    for (title, said), rows in found.items():
        yield DigestGroup(title if len(rows) > 1 else rows[0].label, said, rows)


def _title(targets: Sequence[Target]) -> str:
    """Return what a launch is called: its longest target, with the number of the others."""
    first, *others = targets
    return f"{first.label} and {counted(len(others), 'more target')}" if others else first.label


def _launch(picture: PlanPicture, index: int, targets: Sequence[Target], drawn: int) -> str:
    launch, title = picture.launches[index], _title(targets)
    name = f"Launch {index + 1}: {title}"
    if drawn == index:
        figure = map_picture(launch.updates, f"Memory map of {title}", f"map{index + 1}")
    else:
        link = f'<a href="#{_anchor(drawn)}">launch {drawn + 1}</a>'
        other = len(launch.updates) != len(picture.launches[drawn].updates)
        figure = f"<p>The memory map is that of {link}{', which has more VMSAs' * other}.</p>\n"
    caption = f"{counted(len(launch.updates), 'launch update')}, in order"
    beside = f"<div>{save_area_tables(launch.save_areas)}</div>" if launch.save_areas else ""
    body = f'{facts(launch.facts)}<div class="beside">\n{figure}{beside}</div>\n'
    body += steps_table(launch, targets, caption)
    if len(picture.launches) > _UNFOLDED_LAUNCHES:
        head = f"<summary><b>{escape(name)}</b></summary>"
        return f'<details id="{_anchor(index)}">{head}\n{body}</details>\n'
    return f"<section>{heading(3, name, _anchor(index))}{body}</section>\n"


def _anchor(index: int) -> str:
    return f"launch-{index + 1}"

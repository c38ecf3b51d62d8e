"""Where a map shows what: one scale, breaks in what is too long for it, and labels that do not touch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.picture.launches import Area, Update

__all__ = ["Block", "areas_of", "laid_out", "spread"]

PAGE_HEIGHT = 8.0
"""What one page is high."""

# So many pages are drawn whole; what is longer is drawn as high as this, with a break.
_WHOLE_AREA, _BROKEN_AREA = 32, 128.0
_WHOLE_GAP, _BROKEN_GAP = 8, 44.0

_MOST_AREAS = 160
"""From more of them on, those that look alike are taken together over gaps."""


class Block(NamedTuple):
    """A stretch of the address axis: an area, or a gap where that is None. Heights are pixels."""

    area: Area | None
    pages: int
    top: float
    height: float
    broken: bool


def areas_of(updates: Iterable[Update]) -> list[Area]:
    """Return what a map shows of these updates, by ascending address.

    Updates that touch and look alike are one area, and the VMSAs of all vCPUs, which have one address, are
    too. Where there are very many areas, those that look alike are also taken together over short gaps.
    """
    ordered = sorted(updates, key=lambda update: (update.gpa, update.page_type, update.origin))
    areas = _joined([Area(update.origin, *update[1:4]) for update in ordered], 0)
    gap = PAGE_SIZE
    while len(areas) > _MOST_AREAS and gap <= 1 << 30:
        areas = _joined(areas, gap)
        gap *= 8
    return areas


def laid_out(areas: Sequence[Area]) -> list[Block]:
    """Return areas and the gaps between them, from the lowest address down the page."""
    blocks: list[Block] = []
    at, top = areas[0].gpa if areas else 0, 0.0
    for area in areas:
        if area.gpa > at:
            blocks.append(_block(None, area.gpa - at, top))
            top += blocks[-1].height
        blocks.append(_block(area, area.length, top))
        top += blocks[-1].height
        at = max(at, area.end)
    return blocks


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Return the middle of each label, as near to where it is wanted as others above and below it let it.

    `wanted` ascends. Labels that would touch are moved apart together, so that none is far from its place.
    """
    groups: list[_Group] = []
    for middle, height in zip(wanted, heights, strict=True):
        group = _Group(1, height, middle - height / 2)
        while groups and groups[-1].top + groups[-1].height > group.top:
            above = groups.pop()
            tops = above.tops + group.tops - group.labels * above.height
            group = _Group(above.labels + group.labels, above.height + group.height, tops)
        groups.append(group)
    places: list[float] = []
    for group in groups:
        top = group.top
        for height in heights[len(places) : len(places) + group.labels]:
            places.append(top + height / 2)
            top += height
    return places


class _Group(NamedTuple):
    """Labels that touch; `tops` is the sum of where each would have the top of the whole group."""

    labels: int
    height: float
    tops: float

    @property
    def top(self) -> float:
        """Return where the group begins: in the mean of where its labels would have it, on the picture."""
        return max(self.tops / self.labels, 0.0)


def _block(area: Area | None, length: int, top: float) -> Block:
    pages = -(-length // PAGE_SIZE)
    whole, broken = (_WHOLE_GAP, _BROKEN_GAP) if area is None else (_WHOLE_AREA, _BROKEN_AREA)
    if pages <= whole:
        return Block(area, pages, top, max(pages, 1) * PAGE_HEIGHT, broken=False)
    return Block(area, pages, top, broken, broken=True)


def _joined(areas: Iterable[Area], gap: int) -> list[Area]:
    """Return areas in which those that look alike, up to `gap` bytes apart, are one."""
    found: list[Area] = []
    for area in areas:
        last = found[-1] if found else None
        if last is not None and _alike(last, area) and last.gpa <= area.gpa <= last.end + gap:
            end, updates = max(last.end, area.end), last.updates + area.updates
            found[-1] = last._replace(length=end - last.gpa, updates=updates)
        else:
            found.append(area)
    return found


def _alike(one: Area, other: Area) -> bool:
    vmsas = one.page_type == other.page_type == "vmsa" and one.gpa == other.gpa
    return vmsas or (one.origin, one.page_type) == (other.origin, other.page_type)

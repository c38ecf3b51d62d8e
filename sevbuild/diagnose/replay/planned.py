"""The bytes that a plan has at an address: what a trace of addresses and lengths was launched with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from sevbuild.diagnose.rules.contents import read_contents
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import Contents
from sevbuild.launch.update import LaunchUpdate

__all__ = ["PlannedBytes", "Unknown"]


class _Pieces(NamedTuple):
    """Bytes that lie in several contents, one after the other: each with the range of it that counts."""

    parts: tuple[tuple[Contents, int, int], ...]

    def __len__(self) -> int:
        return sum(end - start for _, start, end in self.parts)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to, not including, `end`."""
        found, at = [], 0
        for data, first, last in self.parts:
            low, high = max(start - at, 0), min(end - at, last - first)
            if low < high:
                found.append(read_contents(data, first + low, first + high))
            at += last - first
        return b"".join(found)


class Unknown(NamedTuple):
    """Contents that nobody says: of a known size, so that the model can check the command, and zero."""

    size: int

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, end: int) -> bytes:
        """Return zeros in place of the bytes from `start` up to, not including, `end`."""
        return bytes(min(end, self.size) - start)


class PlannedBytes:
    """The regions of a plan by address; VMSAs, which may share one, are none of them."""

    def __init__(self, updates: Iterable[LaunchUpdate]) -> None:
        regions = [update for update in updates if update.page_type != PageType.VMSA]
        self._regions = sorted(regions, key=lambda update: update.gpa)
        self._starts = [update.gpa for update in self._regions]

    def at(self, gpa: int, length: int) -> Contents | None:
        """Return the contents of a range, None where the plan has none for all of it."""
        parts: list[tuple[Contents, int, int]] = []
        at, end = gpa, gpa + length
        for region in islice(self._regions, max(bisect_right(self._starts, gpa) - 1, 0), None):
            if at >= end or region.data is None or not region.gpa <= at < region.end:
                break
            stop = min(region.end, end)
            parts.append((region.data, at - region.gpa, stop - region.gpa))
            at = stop
        if at < end or not parts:
            return None
        data, first, last = parts[0]
        return data if len(parts) == 1 and (first, last) == (0, len(data)) else _Pieces(tuple(parts))

    def origin(self, gpa: int) -> str | None:
        """Return where the page at an address comes from, None for none of the plan's."""
        index = bisect_right(self._starts, gpa) - 1
        if index < 0 or gpa >= self._regions[index].end:
            return None
        return self._regions[index].origin

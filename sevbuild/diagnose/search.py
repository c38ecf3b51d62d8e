"""Search the launches near those of a guest for the one that has a digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from time import monotonic
from typing import NamedTuple

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.processes import Numbers, Pool, usable_processes
from sevbuild.diagnose.setup import Setup
from sevbuild.diagnose.statistics import SearchStatistics, StageStatistics
from sevbuild.diagnose.variations import MOST_VCPUS, Hit, Layouts, Result, Tile, Variations
from sevbuild.errors import SevbuildError
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree

__all__ = ["QUICK", "Found", "Limits", "Outcome", "search"]

_ALONE = 0.05  # seconds of one process before others are worth their start
_MOST_CHANGES = 8
_MOST_FOUND = 64
_BANDS = 12


class Limits(NamedTuple):
    """How far a search goes: seconds, seconds after the first match, processes (None for one a processor)."""

    budget: float = 5.0
    after_match: float = 0.5
    processes: int | None = None


QUICK = Limits(budget=0.7, after_match=0.1)
"""For a run that was about something else."""


class Found(NamedTuple):
    """A launch that has the digest: planned, and replayed through the secure processor's model."""

    start: Start
    changes: tuple[Change, ...]
    vcpus: int
    setup: Setup

    @property
    def axes(self) -> int:
        """Return how many settings are another, the number of vCPUs counted."""
        axes = {change.axis for change in self.changes}
        return len(axes | {"vcpus"} if self.vcpus != self.start.setup.vcpus else axes)

    @property
    def weight(self) -> int:
        """Return the sum of the weights; lower is likelier."""
        return sum(change.weight for change in self.changes)


class Outcome(NamedTuple):
    """What a search found, the nearest and likeliest first, and what it tried."""

    found: tuple[Found, ...]
    statistics: SearchStatistics


class _Stage(NamedTuple):
    """A stage: `parts` are numbers of changes with the most vCPUs, 0 for those of the starts.

    What it finds has `axes` settings changed at most.
    """

    name: str
    axes: int
    parts: tuple[tuple[int, int], ...]


def _stages() -> Iterator[_Stage]:
    yield _Stage("one change", 1, ((0, MOST_VCPUS), (1, 0)))
    yield _Stage("two changes", 2, ((1, MOST_VCPUS), (2, 0)))
    yield _Stage(f"two changes and 1 to {MOST_VCPUS} vCPUs", 3, ((2, MOST_VCPUS),))
    yield _Stage("three changes", 3, ((3, 0),))
    yield _Stage("three changes and 1 to 64 vCPUs", 4, ((3, 64),))
    for changes in range(4, _MOST_CHANGES + 1):
        yield _Stage(f"{changes} changes", changes, ((changes, 0),))
        yield _Stage(f"{changes} changes and 1 to 64 vCPUs", changes + 1, ((changes, 64),))


def search(
    starts: Sequence[Start],
    changes_for: Callable[[Start], Sequence[Change]],
    wanted: bytes,
    limits: Limits | None = None,
) -> Outcome:
    """Return the launches near `starts` (the nearest first) that have the launch digest `wanted`.

    `changes_for` gives the single changes of a start. `wanted` is 48 bytes for SNP, 32 for the other modes;
    launches of another size are not tried.
    """
    return _Search(starts, changes_for, wanted, Limits() if limits is None else limits).run()


class _Search:
    """One search: its starts with their variations, what was found, what was tried."""

    def __init__(
        self,
        starts: Sequence[Start],
        changes_for: Callable[[Start], Sequence[Change]],
        wanted: bytes,
        limits: Limits,
    ) -> None:
        self._begin = monotonic()
        self._deadline = self._begin + limits.budget
        self._limits = limits
        self._wanted = wanted
        self._starts = starts
        self._changes_for = changes_for
        self._groups = _alike(starts)
        self._spaces: list[Variations] = []
        self._layouts = Layouts()
        self._planner = Planner()
        self._tree = LaunchTree()
        self._found: dict[Setup, Found] = {}
        self._unplanned = 0

    def run(self) -> Outcome:
        """Search stage by stage."""
        stages: list[StageStatistics] = []
        most_axes: int | None = None
        for stage in _stages():
            if (most_axes is not None and stage.axes > most_axes) or not any(self._tiles(stage, 1)):
                break
            stages.append(self._stage(stage))
            if self._found:
                most_axes = min(found.axes for found in self._found.values())
            if not stages[-1].completed:
                break
        found = sorted(
            self._found.values(),
            key=lambda entry: (entry.axes, entry.weight, self._starts.index(entry.start)),
        )
        statistics = SearchStatistics(
            starts=len(self._starts),
            alike=len(self._starts) - len(self._groups),
            changes=sum(len(space.changes) for space in self._spaces),
            without_effect=sum(space.without_effect for space in self._spaces),
            refused=sum(space.refused for space in self._spaces),
            stages=tuple(stages),
            seconds=monotonic() - self._begin,
            unplanned=self._unplanned,
        )
        return Outcome(tuple(found[:_MOST_FOUND]), statistics)

    def _stage(self, stage: _Stage) -> StageStatistics:
        begin = monotonic()
        tried, processes, left = 0, 1, ""
        tiles = self._tiles(stage)
        for tile in tiles:
            result = self._spaces[tile.space].run(tile, self._wanted, self._deadline)
            tried += self._take(result)
            if not result.completed or monotonic() > self._deadline:
                left = "the time was up"
                break
            if monotonic() - begin > _ALONE and usable_processes(self._limits.processes) > 1:
                processes = usable_processes(self._limits.processes)
                more, completed = self._divided(tiles, processes)
                tried += more
                left = "" if completed else "the time was up"
                break
        return StageStatistics(
            stage.name,
            stage.parts[-1][0],
            stage.parts[-1][1],
            tried,
            monotonic() - begin,
            processes,
            left,
        )

    def _divided(self, tiles: Iterator[Tile], processes: int) -> tuple[int, bool]:
        """Try tiles in processes; return how many launches were tried, and whether all were."""
        tried, completed = 0, True
        with closing(Pool(self._work, processes)) as pool:
            for _, numbers in pool.results(_packed(tile) for tile in self._in_time(tiles)):
                result = _unpacked_result(numbers)
                tried += self._take(result)
                completed = completed and result.completed
        return tried, completed and next(tiles, None) is None

    def _in_time(self, tiles: Iterator[Tile]) -> Iterator[Tile]:
        while monotonic() < self._deadline:
            tile = next(tiles, None)
            if tile is None:
                return
            yield tile

    def _work(self, numbers: Numbers) -> Numbers:
        tile = _unpacked(numbers)
        return _packed_result(self._spaces[tile.space].run(tile, self._wanted, self._deadline))

    def _tiles(self, stage: _Stage, bands: int = _BANDS) -> Iterator[Tile]:
        """Yield the tiles of a stage, the likelier first, those of nearer starts before others."""
        for changes, vcpus in stage.parts:
            weights = [change.weight for space in self._all_spaces(changes) for change in space.changes]
            low, top = min([0, *weights]) * changes - 1, max([0, *weights]) * changes
            # What somebody named has a weight below 0, and is a band of its own.
            for high in (-1, *(top * band // bands for band in range(1, bands + 1))):
                if high > low:
                    for space in self._spaces:
                        found = sorted(space.tiles(changes, vcpus, (low, high)), key=lambda entry: entry[0])
                        yield from (tile for _, tile in found)
                    low = high

    def _all_spaces(self, changes: int) -> list[Variations]:
        """Return the variations of all starts; they are made out once a change is to be tried."""
        if changes == 0 and not self._spaces:
            for number, group in enumerate(self._groups):
                counts = [start.setup.vcpus for start in group]
                changed = self._changes_for(group[0])
                self._spaces.append(Variations(number, group[0], changed, counts, self._layouts))
        return self._spaces

    def _take(self, result: Result) -> int:
        """Plan and replay what a result found, and return how many launches it tried."""
        for hit in result.hits:
            found = self._confirmed(hit)
            if found is None:
                self._unplanned += 1
                continue
            known = self._found.get(found.setup)
            if known is None or (found.axes, found.weight) < (known.axes, known.weight):
                self._found[found.setup] = found
            if len(self._found) == 1:
                self._deadline = min(self._deadline, monotonic() + self._limits.after_match)
        return result.tried

    def _confirmed(self, hit: Hit) -> Found | None:
        space = self._spaces[hit.space]
        try:
            setup = space.setup(hit.changes)
            if hit.vcpus != setup.vcpus:
                setup = setup.with_vcpus(hit.vcpus)
            digest = self._tree.digest(setup.plan(self._planner))
        except SevbuildError:
            return None
        if digest != self._wanted:
            return None
        group = self._groups[hit.space]
        start = next((start for start in group if start.setup.vcpus == hit.vcpus), group[0])
        changes = tuple(space.changes[index] for index in hit.changes)
        return Found(start, tuple(change for change in changes if change.axis != "vcpus"), hit.vcpus, setup)


def _alike(starts: Sequence[Start]) -> list[list[Start]]:
    """Return the starts in groups that differ in the number of vCPUs alone, in order."""
    groups: dict[Setup, list[Start]] = {}
    for start in starts:
        setup = start.setup
        key = setup if setup.counted_in_body else setup.with_vcpus(1)
        groups.setdefault(key, []).append(start)
    return list(groups.values())


def _packed(tile: Tile) -> Numbers:
    return (tile.space, *tile.body, *tile.tail, tile.vcpus, *tile.made)


def _unpacked(numbers: Numbers) -> Tile:
    space, body, body_end, tail, tail_end, vcpus, *made = numbers
    return Tile(space, tuple(made), (body, body_end), (tail, tail_end), vcpus)


def _packed_result(result: Result) -> Numbers:
    hits: list[int] = []
    for hit in result.hits:
        hits += (hit.space, hit.vcpus, len(hit.changes), *hit.changes)
    return (result.tried, int(result.completed), *hits)


def _unpacked_result(numbers: Numbers) -> Result:
    hits: list[Hit] = []
    at = 2
    while at < len(numbers):
        space, vcpus, size = numbers[at : at + 3]
        hits.append(Hit(space, numbers[at + 3 : at + 3 + size], vcpus))
        at += 3 + size
    return Result(numbers[0], tuple(hits), completed=bool(numbers[1]))

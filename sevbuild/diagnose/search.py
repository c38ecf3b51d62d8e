"""Search the launches near those of a guest for the one that has a digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from time import monotonic
from typing import NamedTuple

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.processes import Numbers, Pool, usable_processes
from sevbuild.diagnose.setup import Setup
from sevbuild.diagnose.statistics import SearchStatistics, StageStatistics
from sevbuild.diagnose.tries import Hit, Result, Tries
from sevbuild.diagnose.variations import MOST_VCPUS, Part, Tile, Variations, bands
from sevbuild.errors import SevbuildError
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree

__all__ = ["QUICK", "Found", "Limits", "Outcome", "search"]

_ALONE = 0.05  # seconds of one process before others are worth their start
_NUMBERS = ("four", "five", "six", "seven", "eight")
_FEW_VCPUS = 64
_MOST_FOUND = 256  # nobody reads as many; each is planned and replayed
_COUNTING = 0.05
_OPEN = 64  # the changes of a start may be thousands
_SORTED_CHANGES = 3  # the tiles of more are too many to be held

_Rank = tuple[int, int, int, tuple[int, ...]]
"""How many settings are another, the sum of the weights, the number of the start, the changes."""


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
    """A stage: what is tried in it. What it finds has `axes` settings changed at most."""

    name: str
    axes: int
    parts: tuple[Part, ...]


def _stages() -> Iterator[_Stage]:
    """Yield the stages of a search."""
    all_vcpus, few = f"1 to {MOST_VCPUS} vCPUs", f"1 to {_FEW_VCPUS} vCPUs"
    yield _Stage("one change seen in the wild", 1, (Part(0, MOST_VCPUS), Part(1, 0, "seen")))
    yield _Stage("one change of any kind", 1, (Part(1, 0, "rest"),))
    yield _Stage(f"one change seen in the wild with {all_vcpus}", 2, (Part(1, MOST_VCPUS, "seen"),))
    yield _Stage("two changes seen in the wild", 2, (Part(2, 0, "seen"),))
    yield _Stage(f"one change of any kind with {all_vcpus}", 2, (Part(1, MOST_VCPUS, "rest"),))
    yield _Stage(f"two changes seen in the wild with {all_vcpus}", 3, (Part(2, MOST_VCPUS, "seen"),))
    yield _Stage("two changes of any kind", 2, (Part(2, 0, "rest"),))
    yield _Stage("three changes seen in the wild", 3, (Part(3, 0, "seen"),))
    yield _Stage(f"three changes seen in the wild with {few}", 4, (Part(3, _FEW_VCPUS, "seen"),))
    yield _Stage(f"two changes of any kind with {all_vcpus}", 3, (Part(2, MOST_VCPUS, "rest"),))
    yield _Stage(f"three changes of any kind with {few}", 4, (Part(3, _FEW_VCPUS, "rest"),))
    for changes, number in enumerate(_NUMBERS, 4):
        name = f"{number} changes seen in the wild"
        yield _Stage(name, changes, (Part(changes, 0, "seen"),))
        yield _Stage(f"{name} with {few}", changes + 1, (Part(changes, _FEW_VCPUS, "seen"),))
        name = f"{number} changes of any kind with {few}"
        yield _Stage(name, changes + 1, (Part(changes, _FEW_VCPUS, "rest"),))


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
    with closing(_Search(starts, changes_for, wanted, Limits() if limits is None else limits)) as searching:
        return searching.run()


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
        self._groups = _alike(starts)
        shelf: Kept[int, Variations] = Kept(_OPEN)
        self._spaces = [
            Variations(number, group[0], [start.setup.vcpus for start in group], changes_for, shelf)
            for number, group in enumerate(self._groups)
        ]
        self._tries = Tries(wanted)
        self._planner = Planner()
        self._tree = LaunchTree()
        self._found: dict[Setup, tuple[_Rank, Found]] = {}
        self._unconfirmed = 0
        self._done = 0
        self._pool: Pool | None = None

    def close(self) -> None:
        """End the processes, where there are any."""
        if self._pool is not None:
            self._pool.close()

    def run(self) -> Outcome:
        """Search by stages, until the time is up, or to the end of what has no more changes than a match."""
        stages: list[StageStatistics] = []
        for stage in _stages():
            nearest = min((rank[0] for rank, _ in self._found.values()), default=stage.axes)
            if stage.axes <= nearest:
                done = self._stage(stage)
                if done.launches or done.left:
                    stages.append(done)
                if done.left:
                    break
        found = [entry for _, entry in sorted(self._found.values(), key=lambda value: value[0])]
        statistics = SearchStatistics(
            starts=len(self._starts),
            alike=len(self._starts) - len(self._groups),
            changes=sum(len(space.weights) for space in self._spaces),
            without_effect=sum(space.without_effect for space in self._spaces),
            refused=sum(space.refused for space in self._spaces),
            stages=tuple(stages),
            seconds=monotonic() - self._begin,
            unconfirmed=self._unconfirmed,
        )
        return Outcome(tuple(found), statistics)

    def _stage(self, stage: _Stage) -> StageStatistics:
        begin = monotonic()
        tried, completed, known = 0, True, len(self._found)
        self._done = 0
        tiles = self._tiles(stage)
        for tile, result in self._results(tiles, begin + _ALONE):
            tried += self._take(result)
            if result.completed:
                self._done += tile.size
            else:
                completed = False
        left = "" if completed and not self._is_over() else self._left(stage)
        changes, vcpus = stage.parts[-1].changes, max(part.vcpus for part in stage.parts)
        every = not any(space.is_restricted_by(part) for space in self._spaces for part in stage.parts)
        return StageStatistics(
            stage.name,
            changes,
            vcpus,
            every,
            tried,
            monotonic() - begin,
            1 if self._pool is None else self._pool.processes,
            left,
            len(self._found) - known,
        )

    def _results(self, tiles: Iterator[Tile], alone_until: float) -> Iterator[tuple[Tile, Result]]:
        """Yield tiles with what became of them: here, and in processes once that takes longer."""
        while self._pool is None and (tile := next(tiles, None)) is not None:
            yield tile, self._tries.run(self._spaces[tile.space], tile, self._deadline)
            if monotonic() > alone_until and usable_processes(self._limits.processes) > 1:
                self._pool = Pool(self._work, usable_processes(self._limits.processes))
        if self._pool is not None:
            for asked, answer in self._pool.results(_packed(tile) for tile in tiles):
                yield _unpacked(asked), _unpacked_result(answer)

    def _is_over(self) -> bool:
        return monotonic() > self._deadline

    def _work(self, numbers: Numbers) -> Numbers:
        tile = _unpacked(numbers)
        return _packed_result(self._tries.run(self._spaces[tile.space], tile, self._deadline))

    def _tiles(self, stage: _Stage) -> Iterator[Tile]:
        """Yield the tiles of a stage until the time is up, the likelier and the nearer first."""
        for part in stage.parts:
            for low, high in bands(self._spaces, part):
                for space in self._spaces:
                    if self._is_over():
                        return
                    tiles: Iterable[tuple[int, Tile]] = space.tiles(part, (low, high), self._is_over)
                    if part.changes <= _SORTED_CHANGES:
                        tiles = sorted(tiles, key=lambda entry: entry[0])
                    for _, tile in tiles:
                        if self._is_over():
                            return
                        yield tile

    def _left(self, stage: _Stage) -> str:
        """Say how much of a stage was not tried, as far as that is soon counted; nothing of an empty one."""
        total = 0
        self._deadline = monotonic() + _COUNTING
        for tile in self._tiles(stage):
            total += tile.size
        if not total and not self._is_over():
            return ""
        left = max(total - self._done, 1)
        if self._is_over():
            return f"more than {left:,} launches not tried" if left > 1 else "some launches not tried"
        return f"about {left:,} launches not tried"

    def _take(self, result: Result) -> int:
        """Plan and replay what a result found, and return how many launches it tried."""
        for hit in result.hits:
            if len(self._found) >= _MOST_FOUND:
                break
            found = self._confirmed(hit)
            if found is None:
                self._unconfirmed += 1
                continue
            if not self._found:
                self._deadline = min(self._deadline, monotonic() + self._limits.after_match)
            rank = (found.axes, found.weight, hit.space, hit.changes)
            known = self._found.get(found.setup)
            if known is None or rank < known[0]:
                self._found[found.setup] = rank, found
        return result.tried

    def _confirmed(self, hit: Hit) -> Found | None:
        """Return what a match is by the planner and the secure processor's model, None where it is none."""
        space = self._spaces[hit.space]
        if hit.changes:
            space.open()
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

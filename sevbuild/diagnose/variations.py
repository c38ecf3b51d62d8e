"""What of one launch can be otherwise, combined: which changes go together, and the launches they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sevbuild.diagnose.chains import BodyChains, Steps, digest_size, matching, state_digest, steps_of
from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.setup import Setup
from sevbuild.errors import SevbuildError
from sevbuild.launch.planner import Planner

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["Hit", "Layouts", "Result", "Tile", "Variations"]

MOST_VCPUS = 512
"""No host starts more vCPUs in one guest that is launched so; what is counted in a body is tried to there."""

_NONE = (0, 0)
_PLANS = 512  # a planner keeps whatever it has planned, so a search takes a new one every so often
_KEPT = 64
_TILE_STEPS = {"snp": 16384, "sev-es": 2048, "sev": 16384}
"""After how many steps a worker looks up; some twenty milliseconds."""

_Key = tuple[int, tuple[int, ...], tuple[int, int]]
"""A space, the changes made in it, and the range of the last one."""

_Value = TypeVar("_Value")


class Layouts:
    """The setups of a search laid out; nothing is kept of more than the last few hundred."""

    def __init__(self) -> None:
        self.chains = BodyChains()
        self.bodies: dict[_Key, list[tuple[int, bytes | HASH]]] = {}
        self.tails: dict[_Key, list[tuple[int, Steps]]] = {}
        self._planner = Planner()
        self._plans = 0

    def planner(self) -> Planner:
        """Return a planner for one setup."""
        self._plans += 1
        if self._plans % _PLANS == 0:
            self._planner = Planner()
        return self._planner


class Tile(NamedTuple):
    """A piece of a search: some changes made, and one more of each side over a range of these.

    All are indexes into `Variations.changes`. `body` and `tail` are ranges of the last change of each side,
    empty where there is none. `vcpus` is the most vCPUs to try; 0 stands for those of the starts.
    """

    space: int
    made: tuple[int, ...]
    body: tuple[int, int]
    tail: tuple[int, int]
    vcpus: int


class Hit(NamedTuple):
    """A launch with the digest: the changes, as indexes, and the number of vCPUs."""

    space: int
    changes: tuple[int, ...]
    vcpus: int


class Result(NamedTuple):
    """What became of a tile: how many launches were tried, which matched, whether all were tried."""

    tried: int
    hits: tuple[Hit, ...]
    completed: bool


class Variations:
    """One start, and the changes of it that have an effect: those of both sides, of bodies, of tails.

    Each third is sorted by weight. `counts` are the numbers of vCPUs of all starts that this one stands for.
    """

    def __init__(
        self, space: int, start: Start, changes: Sequence[Change], counts: Sequence[int], layouts: Layouts
    ) -> None:
        self.space = space
        self.start = start
        self.counts = sorted(set(counts))
        self.without_effect = self.refused = 0
        self._layouts = layouts
        usable = list(self._usable(changes))
        if start.setup.counted_in_body:
            usable += [_counted(count) for count in range(1, MOST_VCPUS + 1) if count != start.setup.vcpus]
        sides = [
            sorted((change for change in usable if change.touches == side), key=lambda change: change.weight)
            for side in ("both", "body", "tail")
        ]
        self.changes: list[Change] = [change for side in sides for change in side]
        ends = [len(sides[0]), len(sides[0]) + len(sides[1]), len(self.changes)]
        self.both = range(ends[0])
        self.body = range(ends[0], ends[1])
        self.tail = range(ends[1], ends[2])

    def _usable(self, changes: Sequence[Change]) -> Iterator[Change]:
        for change in changes:
            try:
                changed = change.apply(self.start.setup)
            except SevbuildError:
                self.refused += 1
                continue
            if changed == self.start.setup:
                self.without_effect += 1
            else:
                yield change

    def setup(self, changes: Sequence[int]) -> Setup:
        """Return the setup with changes made; raises SevbuildError where nothing can be launched so."""
        setup = self.start.setup
        for index in changes:
            setup = self.changes[index].apply(setup)
        return setup

    def run(self, tile: Tile, wanted: bytes, deadline: float) -> Result:
        """Try the launches of a tile until a time of the monotonic clock."""
        both = tuple(index for index in tile.made if index < self.both.stop)
        try:
            setup = self.setup(both)
        except SevbuildError:
            return Result(0, (), completed=True)
        if digest_size(setup.mode) != len(wanted):
            return Result(0, (), completed=True)
        counts = self._counts(setup, tile.vcpus)
        bodies = self.bodies(tuple(i for i in tile.made if i < self.body.stop), tile.body)
        tails = self.tails(tuple(i for i in tile.made if i not in self.body), tile.tail)
        steps = [entry for _, entry in tails]
        tried, hits = 0, list[Hit]()
        for index, state in bodies:
            if monotonic() > deadline:
                return Result(tried, tuple(hits), completed=False)
            more, found = matching(state, steps, counts, wanted)
            tried += more
            for at, count in found:
                last = tuple(change for change in (index, tails[at][0]) if change >= 0)
                made = tuple(sorted((*tile.made, *last)))
                # A body and a tail with two values of one axis are no launch.
                if len({self.changes[change].axis for change in made}) == len(made):
                    hits.append(Hit(self.space, made, self._least(count, steps[at], setup)))
        return Result(tried, tuple(hits), completed=True)

    def _counts(self, setup: Setup, vcpus: int) -> range:
        """Return how many vCPUs a setup is tried with."""
        if setup.counted_in_body:
            return range(setup.vcpus, setup.vcpus + 1)
        if vcpus:
            return range(1, vcpus + 1)
        return range(self.counts[0], self.counts[-1] + 1)

    def _least(self, count: int, steps: Steps, setup: Setup) -> int:
        """Return the number of vCPUs that is the least change: where several launch the same, the start's."""
        own = setup.vcpus
        alike = steps.further is None or (count <= len(steps.first) and own <= len(steps.first))
        return own if alike else count

    def bodies(self, made: tuple[int, ...], last: tuple[int, int]) -> list[tuple[int, bytes | HASH]]:
        """Return the distinct states after bodies: with `made`, and one of `last` each, or -1 for none."""
        key = (self.space, made, last)
        found = self._layouts.bodies.get(key)
        if found is None:
            found = []
            seen: set[bytes] = set()
            for index, setup in self._setups(made, last):
                try:
                    state = self._layouts.chains.state(setup.body(self._layouts.planner()))
                except SevbuildError:
                    continue
                digest = state_digest(state)
                if digest not in seen:
                    seen.add(digest)
                    found.append((index, state))
            found = _without_base(found, last)
            _keep(self._layouts.bodies, key, found)
        return found

    def tails(self, made: tuple[int, ...], last: tuple[int, int]) -> list[tuple[int, Steps]]:
        """Return the distinct tails: with `made`, and one of `last` each, or -1 for none."""
        key = (self.space, made, last)
        found = self._layouts.tails.get(key)
        if found is None:
            found = []
            seen: set[Steps] = set()
            for index, setup in self._setups(made, last):
                try:
                    steps = steps_of(setup.mode, setup.tail(self._layouts.planner()))
                except SevbuildError:
                    continue
                if steps not in seen:
                    seen.add(steps)
                    found.append((index, steps))
            found = _without_base(found, last)
            _keep(self._layouts.tails, key, found)
        return found

    def _setups(self, made: tuple[int, ...], last: tuple[int, int]) -> Iterator[tuple[int, Setup]]:
        try:
            setup = self.setup(made)
        except SevbuildError:
            return
        yield -1, setup
        axes = {self.changes[index].axis for index in made}
        for index in range(*last):
            if self.changes[index].axis not in axes:
                try:
                    yield index, self.changes[index].apply(setup)
                except SevbuildError:
                    continue

    def tiles(self, changes: int, vcpus: int, weights: tuple[int, int]) -> Iterator[tuple[int, Tile]]:
        """Yield the tiles of a number of changes with their weights: more than one bound, up to the other."""
        low, high = weights
        for both in range(min(changes, 2) + 1):
            for body in range(changes - both + 1):
                tail = changes - both - body
                for weight, made, at in self._made(both, body, tail, high):
                    for tile_weight, body_range in self._ranges(self.body, at[0], body, 32):
                        for more, tail_range in self._ranges(
                            self.tail, at[1], tail, 512 if vcpus < 64 else 64
                        ):
                            total = weight + tile_weight + more
                            if low < total <= high:
                                yield total, Tile(self.space, made, body_range, tail_range, vcpus)

    def _made(
        self, both: int, body: int, tail: int, most: int
    ) -> Iterator[tuple[int, tuple[int, ...], tuple[int, int]]]:
        """Yield what a tile makes before its last changes: weight, indexes, where the last ones may begin."""
        none: frozenset[str] = frozenset()
        for weight, first, axes in self._subsets(self.both, both, most, none):
            for more, second, taken in self._subsets(self.body, max(body - 1, 0), most - weight, axes):
                for last, third, _ in self._subsets(self.tail, max(tail - 1, 0), most - weight - more, taken):
                    begin = (
                        second[-1] + 1 if second else self.body.start,
                        third[-1] + 1 if third else self.tail.start,
                    )
                    yield weight + more + last, (*first, *second, *third), begin

    def _subsets(
        self, among: range, size: int, most: int, axes: frozenset[str]
    ) -> Iterator[tuple[int, tuple[int, ...], frozenset[str]]]:
        if not size:
            yield 0, (), axes
            return
        for index in among:
            change = self.changes[index]
            if change.weight > most:
                return
            if change.axis in axes:
                continue
            rest = range(index + 1, among.stop)
            for weight, more, taken in self._subsets(
                rest, size - 1, most - change.weight, axes | {change.axis}
            ):
                yield change.weight + weight, (index, *more), taken

    def _ranges(
        self, side: range, begin: int, size: int, width: int
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        if not size:
            yield 0, _NONE
            return
        for low in range(begin, side.stop, width):
            yield self.changes[low].weight, (low, min(low + width, side.stop))


def _counted(count: int) -> Change:
    return Change(
        "vcpus",
        str(count),
        "both",
        lambda setup: setup.with_vcpus(count),
        f"{count} vCPUs",
        "",
        0,
    )


def _without_base(entries: list[tuple[int, _Value]], last: tuple[int, int]) -> list[tuple[int, _Value]]:
    """Return what is another launch than without a last change, where there is to be one."""
    return [entry for entry in entries if (entry[0] < 0) == (last == _NONE)]


def _keep(values: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value, and no more than the last few beside it."""
    if len(values) >= _KEPT:
        del values[next(iter(values))]
    values[key] = value

"""What of one start can be otherwise: its changes by what they touch, and which of them go together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from sevbuild.diagnose.change import SEEN, Change, Start
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.setup import Setup
from sevbuild.errors import SevbuildError

__all__ = ["MOST_VCPUS", "NONE", "Part", "Tile", "Variations", "bands"]

MOST_VCPUS = 512
"""The most vCPUs that are searched."""

NONE = (0, 0)
"""The range of a last change that there is not."""

_BANDS = 12
_BANDED_CHANGES = 2
_BODIES = 32
_TAILS = 128

_Subset = tuple[int, tuple[int, ...], frozenset[str]]
"""Changes that go together: their weight, their indexes, their axes."""


class Part(NamedTuple):
    """A part of a search: how many changes are made together, with how many vCPUs at most.

    0 vCPUs stand for those of the starts. `kind` restricts the changes to those known of launches, or to what
    has another among them.
    """

    changes: int
    vcpus: int
    kind: Literal["all", "seen", "rest"] = "all"


class Tile(NamedTuple):
    """A piece of a part: some changes made, and one more of each side over a range of these.

    All are indexes into `Variations.changes`. `body` and `tail` are ranges of the last change of each side,
    NONE where there is none. `vcpus` is as a part has it.
    """

    space: int
    made: tuple[int, ...]
    body: tuple[int, int]
    tail: tuple[int, int]
    vcpus: int

    @property
    def changes(self) -> int:
        """Return how many changes each of its launches has."""
        return len(self.made) + (self.body != NONE) + (self.tail != NONE)

    @property
    def size(self) -> int:
        """Return about how many launches it has, for one number of vCPUs that the starts have."""
        bodies, tails = self.body[1] - self.body[0], self.tail[1] - self.tail[0]
        return max(bodies, 1) * max(tails, 1) * max(self.vcpus, 1)


class Variations:
    """One start, and the changes of it that have an effect: of both sides, of the body, of the tail.

    Each third is sorted by weight. `counts` are the numbers of vCPUs of all starts that this one stands for.
    The changes are asked for when one is needed, and kept as long as there is room on the shelf.
    """

    def __init__(
        self,
        space: int,
        start: Start,
        counts: Sequence[int],
        changes_for: Callable[[Start], Sequence[Change]],
        shelf: Kept[int, Variations],
    ) -> None:
        self.space = space
        self.start = start
        self.counts = range(min(counts), max(counts) + 1)
        self.changes: tuple[Change, ...] = ()
        self.both = self.body = self.tail = range(0)
        self.without_effect = self.refused = 0
        self.weights: list[int] = []
        self._changes_for = changes_for
        self._shelf = shelf
        self._pieces_found: dict[tuple[frozenset[str], range], list[tuple[int, int]]] = {}

    def open(self) -> None:
        """Ask for the changes, where they are not at hand; those of another start may make room for them."""
        if self._shelf.get(self.space) is not None:
            return
        closed = self._shelf.keep(self.space, self)
        if closed is not None:
            closed.close()
        self.without_effect = self.refused = 0
        usable = list(self._usable(self._changes_for(self.start)))
        if self.start.setup.counted_in_body:
            usable += map(_counted, range(1, MOST_VCPUS + 1))
        touched: dict[str, set[str]] = {}
        for change in usable:
            touched.setdefault(change.axis, set()).add(change.touches)
        sides: dict[str, list[Change]] = {"both": [], "body": [], "tail": []}
        for change in sorted(usable, key=lambda change: change.weight):
            # Changes of one axis exclude each other, which is seen on one side alone.
            sides[change.touches if len(touched[change.axis]) == 1 else "both"].append(change)
        self.changes = tuple(change for side in sides.values() for change in side)
        first = len(sides["both"])
        second = first + len(sides["body"])
        self.both, self.body = range(first), range(first, second)
        self.tail = range(second, len(self.changes))
        self.weights = sorted(change.weight for change in usable)

    def close(self) -> None:
        """Let go of the changes; what was learnt of them stays."""
        self.changes = ()
        self._pieces_found.clear()

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

    def is_restricted_by(self, part: Part) -> bool:
        """Tell whether a part leaves out some of the changes."""
        return part.kind == "seen" and any(weight >= SEEN for weight in self.weights)

    def bounds(self, part: Part) -> tuple[int, int]:
        """Return bounds on the weights of a part: the first is not above 0, the second not below."""
        if not self.weights:
            self.open()
        weights = [weight for weight in self.weights if part.kind != "seen" or weight < SEEN]
        return part.changes * min([0, *weights]), part.changes * max([0, *weights])

    def tiles(
        self, part: Part, weights: tuple[int, int], stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Tile]]:
        """Yield the tiles of a part with their weights: more than the first bound, up to the second.

        `stop` is asked every so often whether that is enough.
        """
        low, high = weights
        if part.changes:
            self.open()
        if part.changes > len({change.axis for change in self.changes}):
            return
        lowest = self.bounds(part)[0] if part.changes else 0
        seen = tuple(map(self._seen_end, (self.both, self.body, self.tail)))
        ends = seen if part.kind == "seen" else (self.both.stop, self.body.stop, self.tail.stop)
        for sizes in _sizes(part.changes):
            for weight, made, begin in self._made(sizes, ends, high - lowest):
                if stop():
                    return
                axes = frozenset(self.changes[index].axis for index in made)
                bodies = self._last(axes, self.body, sizes[1], (begin[0], ends[1]))
                for tail in self._last(axes, self.tail, sizes[2], (begin[1], ends[2])):
                    for body in bodies:
                        total = weight + body[0] + tail[0]
                        tile = Tile(self.space, made, body[1], tail[1], part.vcpus)
                        if low < total <= high and (part.kind != "rest" or self._has_other(tile)):
                            yield total, tile

    def _seen_end(self, side: range) -> int:
        """Return where the changes of a side end that are known of launches."""
        return next((index for index in side if self.changes[index].weight >= SEEN), side.stop)

    def _has_other(self, tile: Tile) -> bool:
        """Tell whether a tile has changes that are not known of launches."""
        first = (*tile.made, *(side[0] for side in (tile.body, tile.tail) if side != NONE))
        return any(self.changes[index].weight >= SEEN for index in first)

    def _made(
        self, sizes: tuple[int, int, int], ends: tuple[int, ...], most: int
    ) -> Iterator[tuple[int, tuple[int, ...], tuple[int, int]]]:
        """Yield what a tile makes before its last changes: weight, indexes, where the last ones may begin."""
        both, body, tail = range(ends[0]), range(self.body.start, ends[1]), range(self.tail.start, ends[2])
        for first in self._subsets(both, sizes[0], most, frozenset()):
            for second in self._subsets(body, max(sizes[1] - 1, 0), most - first[0], first[2]):
                weight = first[0] + second[0]
                for third in self._subsets(tail, max(sizes[2] - 1, 0), most - weight, second[2]):
                    begin = (
                        second[1][-1] + 1 if second[1] else body.start,
                        third[1][-1] + 1 if third[1] else tail.start,
                    )
                    yield weight + third[0], (*first[1], *second[1], *third[1]), begin

    def _subsets(self, among: range, size: int, most: int, axes: frozenset[str]) -> Iterator[_Subset]:
        """Yield the subsets of changes that go together, up to a weight."""
        if not size:
            yield 0, (), axes
            return
        for index in among:
            change = self.changes[index]
            if change.weight > most:
                return
            if change.axis not in axes:
                rest = range(index + 1, among.stop)
                for weight, more, taken in self._subsets(
                    rest, size - 1, most - change.weight, axes | {change.axis}
                ):
                    yield change.weight + weight, (index, *more), taken

    def _last(
        self, axes: frozenset[str], side: range, size: int, bounds: tuple[int, int]
    ) -> list[tuple[int, tuple[int, int]]]:
        """Return the pieces of a range of last changes, with the weight of the first of each.

        A piece that has nothing but changes of `axes` is left out.
        """
        if not size:
            return [(0, NONE)]
        begin, end = bounds
        found = []
        for low, high in self._pieces(axes, side):
            low, high = max(low, begin), min(high, end)  # noqa: PLW2901 - what is left of the piece
            if low < high:
                found.append((self.changes[low].weight, (low, high)))
        return found

    def _pieces(self, axes: frozenset[str], side: range) -> list[tuple[int, int]]:
        """Return the pieces of a side with changes of other axes; none is known of launches in part."""
        key = (axes, side)
        found = self._pieces_found.get(key)
        if found is None:
            middle, width = self._seen_end(side), _TAILS if side == self.tail else _BODIES
            pieces = [
                (low, min(low + width, stop))
                for start, stop in ((side.start, middle), (middle, side.stop))
                for low in range(start, stop, width)
            ]
            found = [
                (low, high)
                for low, high in pieces
                if not axes.issuperset(change.axis for change in self.changes[low:high])
            ]
            self._pieces_found[key] = found
        return found


def _sizes(changes: int) -> Iterator[tuple[int, int, int]]:
    """Yield how many of some changes are of both sides, of the body, of the tail."""
    for both in range(changes + 1):
        for body in range(changes - both + 1):
            yield both, body, changes - both - body


def bands(spaces: Sequence[Variations], part: Part) -> Iterator[tuple[int, int]]:
    """Yield the bounds of weights, ascending, that a part is tried by; one change is tried at once.

    What somebody named has a weight below 0, and is a band of its own.
    """
    if part.changes < _BANDED_CHANGES:
        yield -sys.maxsize, sys.maxsize
        return
    bounds = [space.bounds(part) for space in spaces]
    low, top = min(bound[0] for bound in bounds) - 1, max(bound[1] for bound in bounds)
    for high in (-1, *(top * band // _BANDS for band in range(1, _BANDS + 1))):
        if high > low:
            yield low, high
            low = high


def _counted(count: int) -> Change:
    """Return the change to a number of vCPUs, for launches whose body it is in."""
    return Change("vcpus", str(count), "both", lambda setup: setup.with_vcpus(count), "", "", 0)

"""The launches of a piece of a search: the bodies and tails it is made of, each laid out and hashed once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.bodies import BodyStates
from sevbuild.diagnose.chains import Steps, digest_size, matching, state_digest, steps_of
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.patches import FREE, Patch, patch_between, patched
from sevbuild.diagnose.setup import Setup, Tail
from sevbuild.diagnose.variations import NONE, Tile, Variations
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.launch.planner import Planner

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["Hit", "Result", "Tries"]

_PLANS = 512  # a planner keeps whatever it has planned, so a search takes a new one every so often
_KEPT = 128
_NOTHING, _THE_SAME, _ITS_OWN = "nothing", "the same", "its own"
_Key = tuple[int, tuple[int, ...], tuple[int, int]]
"""A space, the changes made in it, and the range of the last one."""

_Bodies = dict[bytes, "tuple[bytes | HASH, list[int]]"]
_Tails = dict[Steps, list[int]]


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


class _Patches(NamedTuple):
    """A setup, its tail, what changes do to it by index, and what those of an axis do beside the start."""

    setup: Setup
    tail: Tail
    found: dict[int, Patch | None]
    does: dict[str, str]

    @property
    def empty(self) -> Patch:
        """Return the patch of what does nothing to the tail."""
        return Patch(((0, b""),) * (len(self.tail.pages) + (self.tail.further is not None)))


class Tries:
    """What launches are put together from. Nothing is kept of more than the last few hundred pieces."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._states = BodyStates(self._fresh_planner)
        self._bodies: Kept[_Key, _Bodies] = Kept(_KEPT)
        self._tails: Kept[_Key, _Tails] = Kept(_KEPT)
        self._patches: Kept[_Key, _Patches] = Kept(_KEPT)
        self._planner = Planner()
        self._plans = 0
        self._deadline = inf

    def run(self, space: Variations, tile: Tile, deadline: float) -> Result:
        """Try the launches of a tile until a time of the monotonic clock."""
        if monotonic() > deadline:
            return Result(0, (), completed=False)
        self._deadline = deadline
        if tile.changes:
            space.open()
        both = tuple(index for index in tile.made if index in space.both)
        try:
            setup = space.setup(both)
        except SevbuildError:
            return Result(0, (), completed=True)
        if digest_size(setup.mode) != len(self._wanted):
            return Result(0, (), completed=True)
        counts = _counts(space, setup, tile.vcpus)
        bodies = self.bodies(space, tuple(index for index in tile.made if index not in space.tail), tile.body)
        tails = self.tails(space, tuple(index for index in tile.made if index not in space.body), tile.tail)
        known_bodies, known_tails = self._known(space, tile) if both else (set[bytes](), set[Steps]())
        every = list(tails)
        new = [steps for steps in tails if steps not in known_tails]
        tried, hits = 0, list[Hit]()
        for digest, (state, changes) in bodies.items():
            if monotonic() > deadline:
                return Result(tried, tuple(hits), completed=False)
            steps = new if digest in known_bodies else every
            more, found = matching(state, steps, counts, self._wanted)
            tried += more
            for at, count in found:
                vcpus = _least(count, steps[at], setup)
                for last in product(changes, tails[steps[at]]):
                    made = sorted((*tile.made, *(index for index in last if index >= 0)))
                    hits.append(Hit(space.space, tuple(made), vcpus))
        return Result(tried, tuple(hits), completed=monotonic() <= deadline)

    def _known(self, space: Variations, tile: Tile) -> tuple[set[bytes], set[Steps]]:
        """Return the bodies and tails of a tile without its changes of both sides.

        Together they are launches of fewer changes, which were tried before.
        """
        body = tuple(index for index in tile.made if index in space.body)
        tail = tuple(index for index in tile.made if index in space.tail)
        bodies = {*self.bodies(space, body, NONE), *self.bodies(space, body, tile.body)}
        return bodies, {*self.tails(space, tail, NONE), *self.tails(space, tail, tile.tail)}

    def bodies(self, space: Variations, made: tuple[int, ...], last: tuple[int, int]) -> _Bodies:
        """Return the states after bodies with `made`, and one of `last` each: by digest, with those changes.

        Where there is no last change, it is -1. What is as without one is left out.
        """
        key = (space.space, made, last)
        found = self._bodies.get(key)
        if found is None:
            found = {}
            for index, changes in _sets(space, made, last):
                # A body can be as large as a file: whoever sees half of them has no time for any.
                if monotonic() > self._deadline:
                    return {}
                try:
                    state = self._states.state(space, changes)
                except SevbuildError:
                    continue
                found.setdefault(state_digest(state), (state, []))[1].append(index)
            found = {digest: body for digest, body in found.items() if (body[1][0] < 0) == (last == NONE)}
            self._bodies.keep(key, found)
        return found

    def tails(self, space: Variations, made: tuple[int, ...], last: tuple[int, int]) -> _Tails:
        """Return what tails with `made`, and one of `last` each, add to a launch; as `bodies` does."""
        key = (space.space, made, last)
        found = self._tails.get(key)
        if found is None:
            found = {}
            for index, changes in _sets(space, made, last):
                try:
                    steps = steps_of(*self._tail(space, changes))
                except SevbuildError:
                    continue
                found.setdefault(steps, []).append(index)
            found = {steps: changes for steps, changes in found.items() if (changes[0] < 0) == (last == NONE)}
            self._tails.keep(key, found)
        return found

    def _tail(self, space: Variations, changes: tuple[int, ...]) -> tuple[Mode, Tail]:
        """Return the mode and the tail of a setup; changes of registers that no other sets are patched in."""
        free = [index for index in changes if space.changes[index].axis in FREE]
        patches = self._patches_of(space, tuple(index for index in changes if index not in free))
        tail = patches.tail
        for index in free:
            patch = self._patch(space, patches, index)
            if patch is None:
                return patches.setup.mode, space.setup(changes).tail(self._fresh_planner())
            tail = patched(tail, patch)
        return patches.setup.mode, tail

    def _patches_of(self, space: Variations, made: tuple[int, ...]) -> _Patches:
        key = (space.space, made, NONE)
        patches = self._patches.get(key)
        if patches is None:
            setup = space.setup(made)
            patches = _Patches(setup, setup.tail(self._fresh_planner()), {}, {})
            self._patches.keep(key, patches)
        return patches

    def _patch(self, space: Variations, patches: _Patches, index: int) -> Patch | None:
        """Return what a change of registers does to the tail of a setup, None where no patch can say it.

        One change of an axis is compared. Where it does what it does to the start, or nothing, the others do
        as well: a setup has the value in some registers or not.
        """
        if index in patches.found:
            return patches.found[index]
        change = space.changes[index]
        start = self._patches_of(space, ())
        does = patches.does.get(change.axis)
        if does == _NOTHING:
            return patches.empty
        if does == _THE_SAME:
            return self._patch(space, start, index)
        setup = change.apply(patches.setup)
        patch = patches.found[index] = patch_between(patches.tail, setup.tail(self._fresh_planner()))
        # The value may be that of the setup by chance, which tells nothing of others.
        if patches is not start and does is None and patch is not None and setup != patches.setup:
            if patch != patches.empty:
                same = patch == self._patch(space, start, index)
                patches.does[change.axis] = _THE_SAME if same else _ITS_OWN
            elif self._empty_twice(space, patches, change.axis):
                patches.does[change.axis] = _NOTHING
        return patch

    @staticmethod
    def _empty_twice(space: Variations, patches: _Patches, axis: str) -> bool:
        """Tell whether two changes of an axis did nothing: of one, a file can have the value."""
        empty = [index for index, patch in patches.found.items() if patch == patches.empty]
        return sum(space.changes[index].axis == axis for index in empty) > 1

    def _fresh_planner(self) -> Planner:
        self._plans += 1
        if self._plans % _PLANS == 0:
            self._planner = Planner()
        return self._planner


def _sets(
    space: Variations, made: tuple[int, ...], last: tuple[int, int]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the changes made, with -1, and with one of a range beside them, of another axis, each."""
    yield -1, made
    axes = {space.changes[index].axis for index in made}
    for index in range(*last):
        if space.changes[index].axis not in axes:
            yield index, (*made, index)


def _counts(space: Variations, setup: Setup, vcpus: int) -> range:
    """Return how many vCPUs a setup is tried with."""
    if setup.counted_in_body:
        return range(setup.vcpus, setup.vcpus + 1)
    return range(1, max(vcpus, space.counts[-1]) + 1) if vcpus else space.counts


def _least(count: int, steps: Steps, setup: Setup) -> int:
    """Return the number of vCPUs that is the least change: where several launch the same, the start's."""
    first, own = len(steps.first), setup.vcpus
    return own if steps.further is None or max(count, own) <= first else count

"""The states of launches after their bodies, with the kernel hashes of a change patched in.

Command lines are searched by the thousand, and each is a digest in one page: laying out everything around it
again takes many times what hashing it does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha384
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.chains import BodyChains, state_digest
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.patches import Bits, bits_between, turned
from sevbuild.diagnose.setup import Body, Setup
from sevbuild.diagnose.variations import Variations
from sevbuild.errors import SevbuildError
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.planner import Planner
from sevbuild.launch.update import LaunchUpdate

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["BodyStates"]

_HASHED = frozenset(("kernel", "initrd", "cmdline"))
"""The axes of which each sets one digest of the kernel hashes, and nothing else of a body."""

_MOST_ENDS = 4096
"""Of a body with more pages after the kernel hashes, what follows is hashed as any other."""

_KEPT = 32

_Key = tuple[int, tuple[int, ...]]
"""A space, and the changes made in it."""

_Alike = tuple[int, bytes, LaunchUpdate, tuple[LaunchUpdate, ...]]
"""A space, the launch digest before kernel hashes, their update, and what comes after it."""


class _Around(NamedTuple):
    """A body around its kernel hashes: the state before them, the update they are, what comes after it.

    `ends` are the PAGE_INFO of the pages after it, without the digest; None where there are too many, or in
    another mode. `states` has those after bodies with one change of the hashes, by its index: bodies that are
    alike around their hashes share it.
    """

    before: bytes | HASH
    update: LaunchUpdate
    after: tuple[LaunchUpdate, ...]
    ends: list[bytes] | None
    states: dict[int, bytes | HASH]


class _Laid(NamedTuple):
    """The body of a setup without its changes of kernel hashes, and what it is around those of the start."""

    body: Body
    around: _Around | None


class _Patches(NamedTuple):
    """The body of a start, and what changes do to its kernel hashes: None where they do anything else.

    `hashes` has the contents of that update, once they are known.
    """

    body: Body
    hashes: list[bytes]
    found: dict[int, Bits | None]


class BodyStates:
    """The states after bodies; `planner` gives one for each setup that is laid out."""

    def __init__(self, planner: Callable[[], Planner]) -> None:
        self._planner = planner
        self._chains = BodyChains()
        self._laid: Kept[_Key, _Laid] = Kept(_KEPT)
        self._patches: Kept[int, _Patches] = Kept(_KEPT)
        self._alike: Kept[_Alike, _Around] = Kept(_KEPT)

    def state(self, space: Variations, changes: tuple[int, ...]) -> bytes | HASH:
        """Return the state after the body with changes made; raises SevbuildError for what is refused."""
        hashed = [index for index in changes if space.changes[index].axis in _HASHED]
        if not hashed:
            return self._chains.state(self._body(space.setup(changes)))
        patches = self._patches_of(space)
        bits = [self._patch(space, patches, index) for index in hashed]
        laid = self._laid_out(space, tuple(index for index in changes if index not in hashed))
        turning = sorted(one for one in bits if one is not None)
        apart = all(one[0] + len(one[1]) <= other[0] for one, other in pairwise(turning))
        if laid.around is None or None in bits or not apart:
            return self._chains.state(self._body(space.setup(changes)))
        states = laid.around.states
        state = states.get(hashed[0]) if len(hashed) == 1 else None
        if state is None:
            (data,) = patches.hashes
            for one in turning:
                data = turned(data, one)
            state = self._after(laid.around, data)
            if len(hashed) == 1:
                states[hashed[0]] = state
        return state

    def _after(self, around: _Around, data: bytes) -> bytes | HASH:
        """Return the state after a body with other kernel hashes."""
        state = self._chains.extended(around.before, around.update._replace(data=data))
        if around.ends is None or not isinstance(state, bytes):
            for update in around.after:
                state = self._chains.extended(state, update)
            return state
        for end in around.ends:
            state = sha384(state + end).digest()
        return state

    def _body(self, setup: Setup) -> Body:
        return setup.body(self._planner())

    def _laid_out(self, space: Variations, changes: tuple[int, ...]) -> _Laid:
        key = (space.space, changes)
        laid = self._laid.get(key)
        if laid is None:
            body = self._body(space.setup(changes))
            laid = _Laid(body, self._around(space, body))
            self._laid.keep(key, laid)
        return laid

    def _around(self, space: Variations, body: Body) -> _Around | None:
        """Return a body around the start's kernel hashes, None where it has none, or others."""
        hashes = self._patches_of(space).hashes
        places = [number for number, update in enumerate(body.regions) if update.data in hashes]
        if len(places) != 1:
            return None
        (place,) = places
        update, *rest = (update._replace(origin="") for update in body.regions[place:])
        before, after = self._chains.state(body._replace(regions=body.regions[:place])), tuple(rest)
        alike = (space.space, state_digest(before), update, after)
        around = self._alike.get(alike)
        if around is None:
            ends = None
            if body.mode == "snp" and sum(update.length for update in after) >> 12 <= _MOST_ENDS:
                ends = [end for update in after for end in self._chains.ends(update)]
            around = _Around(before, update, after, ends, {})
            self._alike.keep(alike, around)
        return around

    def _patches_of(self, space: Variations) -> _Patches:
        patches = self._patches.get(space.space)
        if patches is None:
            patches = _Patches(self._body(space.start.setup), [], {})
            self._patches.keep(space.space, patches)
        return patches

    def _patch(self, space: Variations, patches: _Patches, index: int) -> Bits | None:
        """Return what a change does to the start's kernel hashes, None where it does anything else."""
        if index not in patches.found:
            patches.found[index] = None
            with suppress(SevbuildError):
                other = self._body(space.changes[index].apply(space.start.setup))
                patches.found[index] = _compared(patches, other)
        return patches.found[index]


def _compared(patches: _Patches, other: Body) -> Bits | None:
    """Return what makes the body of a start another, where that is bits of its kernel hashes alone."""
    own = patches.body
    if len(own.regions) != len(other.regions):
        return None
    pairs = [pair for pair in zip(own.regions, other.regions, strict=True) if pair[0] != pair[1]]
    if len(pairs) != 1 or pairs[0][0]._replace(data=None) != pairs[0][1]._replace(data=None):
        return None
    data, changed = pairs[0][0].data, pairs[0][1].data
    if not isinstance(data, bytes) or not isinstance(changed, bytes) or len(data) > PAGE_SIZE:
        return None
    if not patches.hashes:
        patches.hashes.append(data)
    return bits_between(data, changed) if patches.hashes == [data] else None

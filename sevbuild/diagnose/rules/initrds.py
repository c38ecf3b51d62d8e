"""Rules of the initrd: none, and its parts in another order, without one of them, or padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import permutations
from typing import TYPE_CHECKING

from sevbuild.diagnose.change import Change, Edit, Material, Start
from sevbuild.diagnose.rules.hashes import hashed, hashes_of
from sevbuild.diagnose.rules.weights import INITRD, SWEPT
from sevbuild.documents.toml_text import toml_string
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST
from sevbuild.launch.region_data import Contents, chunks

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["initrd_changes", "joined_digest"]

_MOST_PARTS = 5
"""Of five parts there are 120 orders; of more, too many files would have to be hashed again."""

_ABSENT = "github.com/tianocore/edk2 pull 5830: no -initrd is hashed as nothing"
_ORDER = "an initrd of several archives is one after the other, in the order in which a script lists them"
_FEWER = "QEMU takes a single -initrd: who gives one part launches that part"
_PADDED = "systemd ukify pads each initrd to a multiple of four bytes"

Part = Callable[[], Contents]


def initrd_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of the initrd's digest; each order is hashed when a launch first wants it."""
    hashes = hashes_of(start.setup)
    if hashes is None:
        return
    if hashes.initrd != EMPTY_INITRD_DIGEST:
        apply = hashed("initrd", lambda: EMPTY_INITRD_DIGEST)
        edits = (Edit("initrd", None),)
        yield Change("initrd", "none", "body", apply, "no initrd", _ABSENT, INITRD, edits)
    parts = start.material.initrd
    states = _States(parts)
    for order, says, source, weight in _orders(len(parts)):
        apply = hashed("initrd", partial(states.digest, order))
        value = "parts " + ", ".join(str(number + 1) for number in order)
        yield Change("initrd", value, "body", apply, says, source, weight, _edits(start.material, order))
    if parts:
        apply = hashed("initrd", partial(_padded_digest, parts))
        says = "an initrd whose parts are padded to a multiple of four bytes"
        yield Change("initrd", "padded", "body", apply, says, _PADDED, SWEPT + 20)


def _orders(count: int) -> Iterator[tuple[tuple[int, ...], str, str, int]]:
    """Yield which parts there may be, in which order."""
    if not 2 <= count <= _MOST_PARTS:
        return
    own = tuple(range(count))
    for number in own:
        says = f"an initrd without its part {number + 1}"
        yield (*own[:number], *own[number + 1 :]), says, _FEWER, INITRD + 3
    if count > 2:
        for number in own:
            yield (number,), f"an initrd that is its part {number + 1} alone", _FEWER, INITRD + 4
    for order in permutations(own):
        if order == own[::-1]:
            yield order, "an initrd with its parts the other way round", _ORDER, INITRD + 2
        elif order != own:
            says = f"an initrd with its parts in the order {', '.join(str(part + 1) for part in order)}"
            yield order, says, _ORDER, SWEPT if count > 3 else INITRD + 5


def _edits(material: Material, order: Sequence[int]) -> tuple[Edit, ...]:
    names = material.initrd_names
    if len(names) != len(material.initrd) or any("://" in name for name in names):
        # Of URLs, each has a digest beside it.
        return ()
    listed = ", ".join(toml_string(names[number]) for number in order)
    return (Edit("initrd.path", f"[{listed}]"), Edit("initrd.sha256", None))


class _States:
    """SHA-256 states after parts of an initrd: what two orders begin with alike is hashed once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._states: dict[tuple[int, ...], HASH] = {(): sha256()}

    def digest(self, order: tuple[int, ...]) -> bytes:
        """Return the SHA-256 of the parts in an order."""
        return self._state(order).digest()

    def _state(self, order: tuple[int, ...]) -> HASH:
        found = self._states.get(order)
        if found is None:
            found = self._state(order[:-1]).copy()
            for chunk in chunks(self._parts[order[-1]]()):
                found.update(chunk)
            self._states[order] = found
        return found


def joined_digest(parts: Sequence[Part]) -> bytes:
    """Return the SHA-256 of parts one after the other; of none, what stands for no initrd."""
    return _States(parts).digest(tuple(range(len(parts))))


def _padded_digest(parts: Sequence[Part]) -> bytes:
    state = sha256()
    for part in parts:
        data = part()
        for chunk in chunks(data):
            state.update(chunk)
        state.update(bytes(-len(data) % 4))
    return state.digest()

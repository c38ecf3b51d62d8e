"""Launch digests without a launch plan for each: a body chained once, and any number of VMSAs after it.

The search tries millions of launches, of which most differ from others in how many vCPUs they have, or in one
register. Whatever it finds is planned, and replayed through the secure processor's model, before it is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256, sha384
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.setup import Body, Tail
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_digest import INITIAL_DIGEST, PageHasher, extend, page_info_ends
from sevbuild.launch.page_type import PAGE_SIZE, PageType
from sevbuild.launch.region_data import chunks
from sevbuild.launch.update import LaunchUpdate

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["BodyChains", "State", "Steps", "digest_size", "matching", "state_digest", "steps_of"]

State = "bytes | HASH"
"""A launch as it stands: the 48-byte digest of SNP, or the SHA-256 of the other modes before its end."""

_LARGE_PAGES = 64
_MOST_LARGE = 256


class Steps(NamedTuple):
    """What each vCPU adds to a launch digest: those of the first vCPUs, and of each after them.

    For SNP they are the 64 bytes after the digest in PAGE_INFO, else the page itself.
    """

    first: tuple[bytes, ...]
    further: bytes | None


def digest_size(mode: Mode) -> int:
    """Return how many bytes a launch digest of a mode has."""
    return 48 if mode == "snp" else 32


def state_digest(state: bytes | HASH) -> bytes:
    """Return the launch digest of a launch that ends here."""
    return state if isinstance(state, bytes) else state.digest()


class BodyChains:
    """The states of launches after their bodies; what a body has in common with the one before is not redone.

    The pages of a large region, a firmware's say, are hashed once, and chained once wherever they come first.
    """

    def __init__(self) -> None:
        self._hasher = PageHasher()
        self._root: tuple[Mode, bytes | None] | None = None
        self._chain: list[tuple[LaunchUpdate, bytes | HASH]] = []
        self._large: dict[tuple[bytes, LaunchUpdate], bytes | HASH] = {}

    def state(self, body: Body) -> bytes | HASH:
        """Return the state after a body."""
        root = (body.mode, body.seed)
        if root != self._root:
            self._root, self._chain = root, []
        chain = self._chain
        shared = 0
        for (update, _), other in zip(chain, body.regions, strict=False):
            if update is not other and update != other:
                break
            shared += 1
        del chain[shared:]
        state: bytes | HASH = chain[-1][1] if chain else self._initial(body)
        for update in body.regions[shared:]:
            state = self._after(state, update)
            chain.append((update, state))
        return state

    @staticmethod
    def _initial(body: Body) -> bytes | HASH:
        if body.mode == "snp":
            return INITIAL_DIGEST if body.seed is None else body.seed
        return sha256()

    def _after(self, state: bytes | HASH, update: LaunchUpdate) -> bytes | HASH:
        if update.length < _LARGE_PAGES * PAGE_SIZE or update.data is None:
            return self.extended(state, update)
        key = (state_digest(state), update)
        found = self._large.get(key)
        if found is None:
            if isinstance(state, bytes):
                self._hasher.remember(update.data)
            while len(self._large) >= _MOST_LARGE:
                del self._large[next(iter(self._large))]
            found = self._large[key] = self.extended(state, update)
        return found

    def ends(self, update: LaunchUpdate) -> Iterator[bytes]:
        """Yield what follows the launch digest in the PAGE_INFO of each page of an update, 64 bytes."""
        return page_info_ends(update, self._hasher)

    def extended(self, state: bytes | HASH, update: LaunchUpdate) -> bytes | HASH:
        """Return the state after one more update."""
        if isinstance(state, bytes):
            return extend(state, update, self._hasher)
        state = state.copy()
        for chunk in chunks(b"" if update.data is None else update.data):
            state.update(chunk)
        return state


def steps_of(mode: Mode, tail: Tail) -> Steps:
    """Return what the VMSAs of a tail add to a launch digest."""
    if mode != "snp":
        return Steps(tail.pages, tail.further)
    # A hasher keeps the pages it has seen: a search sees too many.
    hasher = PageHasher()

    def step(page: bytes) -> bytes:
        update = LaunchUpdate(tail.gpa, PageType.VMSA, PAGE_SIZE, page, "vmsa")
        (end,) = page_info_ends(update, hasher)
        return end

    return Steps(tuple(map(step, tail.pages)), None if tail.further is None else step(tail.further))


def matching(
    state: bytes | HASH, tails: Sequence[Steps], counts: range, wanted: bytes
) -> tuple[int, list[tuple[int, int]]]:
    """Return how many launches were tried, and which have a digest: the index of the tail, how many vCPUs.

    Each tail is tried with each number of `counts`. Where several numbers launch the same, it is the first.
    """
    if isinstance(state, bytes):
        return _matching_snp(state, tails, counts, wanted)
    return _matching_sev(state, tails, counts, wanted)


def _matching_snp(
    state: bytes, tails: Sequence[Steps], counts: range, wanted: bytes
) -> tuple[int, list[tuple[int, int]]]:
    found: list[tuple[int, int]] = []
    tried = 0
    for index, (first, further) in enumerate(tails):
        digest = state
        for step in first:
            digest = sha384(digest + step).digest()
        ahead, compared = _split(counts, len(first), further)
        tried += 1 + compared
        if further is None:
            if digest == wanted:
                found.append((index, counts[0]))
            continue
        for _ in repeat(None, ahead):
            digest = sha384(digest + further).digest()
        if digest == wanted:
            found.append((index, counts[0]))
        start = digest
        for _ in repeat(None, compared):
            digest = sha384(digest + further).digest()
            if digest == wanted:
                # Once in a search: which one it was is counted again.
                found.append((index, counts[-1] - compared + _place(start, further, wanted)))
    return tried, found


def _place(digest: bytes, further: bytes, wanted: bytes) -> int:
    """Return after how many further vCPUs a launch has a digest."""
    place = 0
    while digest != wanted:
        digest = sha384(digest + further).digest()
        place += 1
    return place


def _matching_sev(
    state: HASH, tails: Sequence[Steps], counts: range, wanted: bytes
) -> tuple[int, list[tuple[int, int]]]:
    found: list[tuple[int, int]] = []
    tried = 0
    for index, (first, further) in enumerate(tails):
        running = state.copy()
        for page in first:
            running.update(page)
        ahead, compared = _split(counts, len(first), further)
        tried += 1 + compared
        for _ in repeat(None, ahead):
            running.update(further or b"")
        if running.digest() == wanted:
            found.append((index, counts[0]))
        for place in range(compared):
            running.update(further or b"")
            if running.digest() == wanted:
                found.append((index, counts[-1] - compared + place + 1))
    return tried, found


def _split(counts: range, first: int, further: bytes | None) -> tuple[int, int]:
    """Return how many further vCPUs come before a launch is compared, and how many after that, each compared.

    All numbers up to that of the `first` vCPUs launch the same.
    """
    if further is None:
        return 0, 0
    ahead = max(counts[0] - first, 0)
    return ahead, max(counts[-1] - max(counts[0], first), 0)

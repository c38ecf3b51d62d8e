"""Where a recorded launch and a plan part: the first page, length, type or byte in which they differ.

How a range is cut into calls enters no digest, for pages are measured one by one: regions are walked through
side by side, and a call that ends within a planned region may be followed by one that goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256, sha384
from typing import NamedTuple

from sevbuild.diagnose.replay.events import Update
from sevbuild.diagnose.replay.planned import PlannedBytes
from sevbuild.diagnose.rules.contents import read_contents
from sevbuild.launch.compare import RegisterChange, register_changes
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import PAGE_SIZE, PageType
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import VMSA_SIZE

__all__ = ["Parting", "first_parting", "kind_word"]

_CHUNK = 1 << 20


class Parting(NamedTuple):
    """The first difference: the line of the trace, the step of the plan (from 0), and what each side has.

    `what` is one of `mode`, `policy`, `refused`, `host-refused`, `order`, `missing`, `extra`, `gpa`,
    `page-type`, `length`, `contents`, `vmpl-permissions`, `unknown-command`, `unfinished`, `launch-digest`.
    """

    what: str
    line: int
    trace: str
    plan: str
    step: int | None = None
    origin: str | None = None
    registers: tuple[RegisterChange, ...] = ()


class _Side(NamedTuple):
    """One region as both sides have it."""

    gpa: int | None
    length: int
    kind: int
    permissions: tuple[int, int, int] | None
    data: Contents | None


class _Key(NamedTuple):
    """What a region is recognised by at another place: type and address, or else type and length."""

    kind: int
    gpa: int | None
    length: int | None


class _Cursor:
    """A place in a sequence of regions."""

    def __init__(self, updates: Sequence[Update] | Sequence[LaunchUpdate]) -> None:
        self.sides = [
            _Side(each.gpa, each.length, each.page_type, each.vmpl_permissions, each.data) for each in updates
        ]
        self.index = 0
        self.offset = 0

    @property
    def at_end(self) -> bool:
        return self.index == len(self.sides)

    @property
    def side(self) -> _Side:
        return self.sides[self.index]

    @property
    def gpa(self) -> int | None:
        return None if self.side.gpa is None else self.side.gpa + self.offset

    @property
    def left(self) -> int:
        return self.side.length - self.offset

    def advance(self, length: int) -> None:
        self.offset += length
        if self.offset >= self.side.length:
            self.index, self.offset = self.index + 1, 0


def first_parting(
    updates: Sequence[Update], planned: Sequence[LaunchUpdate], mode: Mode, last_line: int
) -> Parting | None:
    """Return where updates of a trace first differ from those of a plan, None where they are the same.

    `last_line` is where the trace's updates end. Contents are compared where the trace has them, addresses
    where it has these.
    """
    walk = _Walk(updates, planned, mode, last_line)
    return walk.first()


class _Walk:
    """Both sides, step by step."""

    def __init__(
        self, updates: Sequence[Update], planned: Sequence[LaunchUpdate], mode: Mode, last_line: int
    ) -> None:
        self._updates = updates
        self._planned = planned
        self._mode = mode
        self._last_line = last_line
        self._bytes = PlannedBytes(planned)
        self._mine, self._theirs = _Cursor(updates), _Cursor(planned)

    def first(self) -> Parting | None:
        """Return the first difference."""
        mine, theirs = self._mine, self._theirs
        while not mine.at_end and not theirs.at_end:
            found = self._place() or self._inside()
            if found is not None:
                return found
            # A region of no length is refused by the model, and goes no further here.
            length = max(min(mine.left, theirs.left), 0)
            mine.advance(length)
            theirs.advance(length)
        if not theirs.at_end:
            if theirs.offset:
                return self._length(mine.index - 1, theirs.index)
            return self._missing(self._last_line, theirs.index)
        if not mine.at_end:
            return self._length(mine.index, theirs.index - 1) if mine.offset else self._extra(mine.index)
        return None

    def _place(self) -> Parting | None:
        """Return how the two sides differ in where they are, or in what is launched there."""
        mine, theirs = self._mine, self._theirs
        same_kind = mine.side.kind == theirs.side.kind
        if mine.gpa is None:
            return self._unaddressed(same_kind=same_kind)
        if mine.gpa == theirs.gpa and same_kind:
            return None
        if theirs.offset:
            return self._length(mine.index - 1, theirs.index)
        if mine.offset:
            return self._length(mine.index, theirs.index - 1)
        if mine.gpa == theirs.gpa:
            return self._differ("page-type", self._word(mine.side.kind), self._word(theirs.side.kind))
        return self._elsewhere() or self._differ("gpa", _at(mine.side), _at(theirs.side))

    def _unaddressed(self, *, same_kind: bool) -> Parting | None:
        """Return the same where the trace has no addresses of the guest, and lengths have to do."""
        mine, theirs = self._mine, self._theirs
        if theirs.offset:
            # Only what lies side by side in the hypervisor can be of one region.
            before, here = self._updates[mine.index - 1], self._updates[mine.index]
            beside = before.host is not None and here.host == before.host + before.length
            return None if beside and same_kind else self._length(mine.index - 1, theirs.index)
        if mine.offset:
            return self._length(mine.index, theirs.index - 1)
        if same_kind and mine.side.length == theirs.side.length:
            return None
        if not same_kind and mine.side.length == theirs.side.length:
            return self._differ("page-type", self._word(mine.side.kind), self._word(theirs.side.kind))
        # A part of a region may come first, the rest of it behind.
        after = self._updates[mine.index + 1] if mine.index + 1 < len(self._updates) else None
        here = self._updates[mine.index]
        goes_on = after is not None and here.host is not None and after.host == here.host + here.length
        if same_kind and mine.side.length < theirs.side.length and goes_on:
            return None
        return self._elsewhere() or self._length(mine.index, theirs.index)

    def _elsewhere(self) -> Parting | None:
        """Return that a region is missing, in addition or at another place, if one side has it further on."""
        mine, theirs = self._mine, self._theirs
        if mine.side.kind == theirs.side.kind == PageType.VMSA:
            # All lie at one address: none is recognised by it.
            return None
        addressed = mine.gpa is not None
        here, wanted = _key(mine.side, addressed=addressed), _key(theirs.side, addressed=addressed)
        planned = {_key(side, addressed=addressed) for side in theirs.sides[theirs.index + 1 :]}
        issued = {_key(side, addressed=addressed) for side in mine.sides[mine.index + 1 :]}
        if here in planned and wanted in issued:
            return self._differ("order", self._named(here), self._named(wanted))
        if wanted in issued:
            return self._extra(mine.index)
        return self._missing(self._updates[mine.index].line, theirs.index) if here in planned else None

    def _inside(self) -> Parting | None:
        """Return how the pages that both sides have here differ."""
        mine, theirs = self._mine, self._theirs
        given = mine.side.permissions
        if given is not None and theirs.side.permissions is not None and given != theirs.side.permissions:
            return self._differ("vmpl-permissions", _masks(given), _masks(theirs.side.permissions))
        length = max(min(mine.left, theirs.left), 0)
        if mine.side.data is not None and theirs.side.data is not None:
            return self._bytes_differ(mine.side.data, theirs.side.data, length)
        digest = self._updates[mine.index].digest
        if digest is None or mine.offset:
            return None
        return self._digest_differs(digest)

    def _bytes_differ(self, first: Contents, second: Contents, length: int) -> Parting | None:
        mine, theirs = self._mine, self._theirs
        length = min(length, len(first) - mine.offset, len(second) - theirs.offset)
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            one = bytes(read_contents(first, mine.offset + start, mine.offset + end))
            other = bytes(read_contents(second, theirs.offset + start, theirs.offset + end))
            if one != other:
                at = start + next(index for index in range(len(one)) if one[index] != other[index])
                return self._page_differs(at - at % PAGE_SIZE, at, first, second)
        return None

    def _page_differs(self, page: int, at: int, first: Contents, second: Contents) -> Parting:
        mine, theirs = self._mine, self._theirs
        if mine.side.kind == PageType.VMSA and {len(first), len(second)} == {VMSA_SIZE}:
            pages = (bytes(read_contents(data, 0, VMSA_SIZE)) for data in (second, first))
            changes = tuple(register_changes(*pages))
            names = ", ".join(change.name for change in changes)
            return self._differ("contents", f"registers differ: {names}", "")._replace(registers=changes)
        where = f"offset {theirs.offset + at:#x}"
        if theirs.gpa is not None and self._mode == "snp":
            where = f"the page at {theirs.gpa + page:#x}, {where} of the region"
        return self._differ("contents", f"other bytes from {where} on", "")

    def _digest_differs(self, digest: bytes) -> Parting | None:
        """Return whether contents that the trace has the digest of are not those of the plan."""
        mine, theirs = self._mine, self._theirs
        data = theirs.side.data if mine.side.kind == PageType.VMSA else None
        if data is None:
            # Without an address, the regions correspond one to one.
            at = theirs.gpa if mine.gpa is None else mine.gpa
            data = None if at is None else self._bytes.at(at, mine.side.length)
        if data is None:
            return None
        state = sha384() if self._mode == "snp" else sha256()
        for chunk in chunks(data):
            state.update(chunk)
        if state.digest() == digest:
            return None
        return self._differ("contents", f"digest {digest.hex()}", f"digest {state.hexdigest()}")

    def _length(self, mine: int, theirs: int) -> Parting:
        one, other = self._mine.sides[mine], self._theirs.sides[theirs]
        return self._differ("length", f"{one.length:#x}", f"{other.length:#x}", mine, theirs)

    def _missing(self, line: int, theirs: int) -> Parting:
        planned = self._planned[theirs]
        place = self._named(_key(self._theirs.sides[theirs], addressed=True))
        return Parting("missing", line, "not launched", place, theirs, planned.origin)

    def _extra(self, mine: int) -> Parting:
        update = self._updates[mine]
        place = self._named(_key(self._mine.sides[mine], addressed=update.gpa is not None))
        return Parting("extra", update.line, place, "not planned here")

    def _differ(
        self, what: str, trace: str, plan: str, mine: int | None = None, theirs: int | None = None
    ) -> Parting:
        update = self._updates[self._mine.index if mine is None else mine]
        step = self._theirs.index if theirs is None else theirs
        return Parting(what, update.line, trace, plan, step, self._planned[step].origin)

    def _named(self, key: _Key) -> str:
        where = "" if key.gpa is None else f" at {key.gpa:#x}"
        size = "" if key.length is None else f", {key.length:#x} bytes"
        return f"{self._word(key.kind)}{where}{size}"

    def _word(self, kind: int) -> str:
        return kind_word(self._mode, kind)


def kind_word(mode: Mode, kind: int) -> str:
    """Return what an update is called: a page type, or in mode sev and sev-es the command's data or vmsa."""
    if mode != "snp":
        return "vmsa" if kind == PageType.VMSA else "data"
    known = next((each for each in PageType if each == kind), None)
    return f"page type {kind}" if known is None else known.label


def _key(side: _Side, *, addressed: bool) -> _Key:
    return _Key(side.kind, side.gpa, None) if addressed else _Key(side.kind, None, side.length)


def _at(side: _Side) -> str:
    return f"{side.gpa:#x}"


def _masks(permissions: tuple[int, int, int]) -> str:
    return " ".join(f"{mask:#x}" for mask in permissions)

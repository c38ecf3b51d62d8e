"""Two launch plans side by side: which updates they share, and in what the others differ."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import VMSA_SIZE, parse_vmsa, reserved_bytes_set

__all__ = ["RegisterChange", "Step", "compare_plans", "register_changes"]

Pair = tuple[LaunchUpdate | None, LaunchUpdate | None]
Key = Callable[[LaunchUpdate], Hashable]


class RegisterChange(NamedTuple):
    """A register that two VMSAs hold with different values: numbers, or the bytes of a field that is none.

    `name` is that of the field, `cs.base` for a part of a segment, `reserved 0x1c0` for bytes that no
    field has.
    """

    name: str
    first: int | bytes
    second: int | bytes


class Step(NamedTuple):
    """One step of two launches: an update of each, or of one alone where the other has none like it.

    `differs` names the fields of LaunchUpdate in which the two are not the same, `data` where their bytes
    are not. Of these, `origin` enters no digest.
    """

    first: LaunchUpdate | None
    second: LaunchUpdate | None
    differs: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Tell whether both launches have this update, with the same contents and from the same origin."""
        return self.first is not None and self.second is not None and not self.differs

    @property
    def registers(self) -> list[RegisterChange]:
        """Return what two VMSAs hold differently, nothing for other updates."""
        pages = [
            b"".join(chunks(update.data))
            for update in (self.first, self.second)
            if update is not None and update.page_type == PageType.VMSA and update.data is not None
        ]
        whole = len(pages) == 2 and {len(page) for page in pages} == {VMSA_SIZE}
        return register_changes(*pages) if whole else []


def compare_plans(first: LaunchPlan, second: LaunchPlan) -> list[Step]:
    """Return the updates of two plans in pairs, each plan in its own order.

    What is the same in both is paired first, as many updates as keep their order; between these, what is most
    alike: in all but the origin, in place and type, in place, in origin. An update that one plan has in
    addition therefore stands alone, and all that follow it keep their partners. What one plan launches
    earlier than the other is alone in both. The plans' policy enters no digest, and their seed comes before
    all updates: who compares them looks at these beside the steps.
    """
    bytes_of = _Digests()
    keys: tuple[Key, ...] = (
        lambda update: (*_place(update), bytes_of(update.data), update.vmpl_permissions, update.origin),
        lambda update: (*_place(update), bytes_of(update.data), update.vmpl_permissions),
        _place,
        lambda update: (update.gpa, update.page_type),
        lambda update: update.gpa,
        lambda update: update.origin,
    )
    return [
        Step(one, other, () if one is None or other is None else _differing(one, other, bytes_of))
        for one, other in _paired(first.updates, second.updates, keys)
    ]


def register_changes(first: bytes, second: bytes) -> list[RegisterChange]:
    """Return what two VMSAs of 4096 bytes hold differently: fields by offset, then reserved bytes."""
    old, new = _registers(first), _registers(second)
    # Reserved bytes are listed only where they are set.
    return [
        RegisterChange(name, old.get(name, b""), new.get(name, b""))
        for name in dict.fromkeys([*old, *new])
        if old.get(name, b"") != new.get(name, b"")
    ]


class _Digests:
    """The SHA-256 of contents, each computed once: what lies in two files is the same by its bytes."""

    def __init__(self) -> None:
        self._known: dict[Contents, bytes] = {}

    def __call__(self, data: Contents | None) -> bytes | None:
        if data is None:
            return None
        found = self._known.get(data)
        if found is None:
            state = sha256()
            for chunk in chunks(data):
                state.update(chunk)
            found = self._known[data] = state.digest()
        return found


def _place(update: LaunchUpdate) -> tuple[Hashable, ...]:
    return update.gpa, update.page_type, update.length


def _differing(one: LaunchUpdate, other: LaunchUpdate, bytes_of: _Digests) -> tuple[str, ...]:
    changed = {
        name
        for name, (old, new) in zip(one._fields, zip(one, other, strict=True), strict=True)
        if name != "data" and old != new
    }
    if bytes_of(one.data) != bytes_of(other.data):
        changed.add("data")
    return tuple(name for name in one._fields if name in changed)


def _paired(
    first: Sequence[LaunchUpdate], second: Sequence[LaunchUpdate], keys: Sequence[Key]
) -> Iterator[Pair]:
    """Yield updates in pairs by the first key, and what lies between such pairs by the keys that follow."""
    if not keys or not first or not second:
        yield from ((update, None) for update in first)
        yield from ((None, update) for update in second)
        return
    key, *others = keys
    at = other_at = 0
    for index, other in [*_anchors(_numbered(first, key), _numbered(second, key)), (len(first), len(second))]:
        yield from _paired(first[at:index], second[other_at:other], others)
        if index < len(first):
            yield first[index], second[other]
        at, other_at = index + 1, other + 1


def _numbered(updates: Sequence[LaunchUpdate], key: Key) -> list[tuple[Hashable, int]]:
    """Return the key of each update with its number among those of the same key."""
    seen: Counter[Hashable] = Counter()
    found = []
    for update in updates:
        value = key(update)
        found.append((value, seen[value]))
        seen[value] += 1
    return found


def _anchors(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the indexes of the most distinct keys that stand in the same order in both sequences."""
    where = {key: index for index, key in enumerate(second)}
    pairs = [(index, where[key]) for index, key in enumerate(first) if key in where]
    # The longest ascending run of the second indexes, by patience sorting: each pile keeps its lowest end.
    ends: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        pile = bisect_left(ends, other)
        before.append(piles[pile - 1] if pile else -1)
        ends[pile : pile + 1] = [other]
        piles[pile : pile + 1] = [number]
    run: list[tuple[int, int]] = []
    number = piles[-1] if piles else -1
    while number >= 0:
        run.append(pairs[number])
        number = before[number]
    return run[::-1]


def _registers(page: bytes) -> Mapping[str, int | bytes]:
    found: dict[str, int | bytes] = {}
    for name, value in parse_vmsa(page).items():
        if isinstance(value, dict):
            found.update({f"{name}.{part}": number for part, number in value.items()})
        else:
            found[name] = value
    for offset, length in reserved_bytes_set(page):
        found[f"reserved {offset:#x}"] = page[offset : offset + length]
    return found

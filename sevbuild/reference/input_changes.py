"""What differs between the inputs of two documents: their contents, or only what they are called."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from sevbuild.manifest.inputs import launched_as
from sevbuild.reference.changes import DIFFERENCE, NOTE, Change
from sevbuild.reference.model import Ingredients, Input, ReferenceValues

__all__ = ["attributed", "input_changes"]

_Key = tuple[str, ...]


def attributed(values: ReferenceValues, ingredients: Iterable[Ingredients]) -> dict[Input, bool]:
    """Return which inputs these ingredients name.

    Left out are those that only others of the document name; one that none name maps to False: a whole
    image whose parts were launched, a file that brings all along.
    """
    named = {pair for entry in values.ingredients for pair in entry.inputs.items()}
    wanted = {pair for entry in ingredients for pair in entry.inputs.items()}
    found = {}
    for record in values.inputs:
        pairs = {(role, record.digest) for role in (record.role, launched_as(record.role))}
        if pairs & wanted or not pairs & named:
            found[record] = bool(pairs & wanted)
    return found


def input_changes(old: ReferenceValues, new: ReferenceValues, *, partial: bool) -> Iterator[Change]:
    """Yield what differs of the inputs; another name for the same contents is a note.

    `partial` documents are of some targets, whose inputs no one can tell where no ingredients name them:
    such an input is compared with one that it could be, and not missed where there is none.
    """
    pairs: list[tuple[Input, Input]] = []
    alone = (dict.fromkeys(old.inputs), dict.fromkeys(new.inputs))
    seed = _seed_of(old, new)
    for key in (_contents_and_name, _contents, seed, _role_and_name, _single(old, new)):
        _pair(pairs, *alone, key)
    for before, after in pairs:
        yield from _differences(before, after, seed=seed)
    known = ({_contents(record) for record in new.inputs}, {_contents(record) for record in old.inputs})
    for index, values in enumerate((old, new)):
        names = attributed(values, values.ingredients)
        for record in alone[index]:
            same = _contents(record) in known[index]
            if partial and not same and not names.get(record):
                continue
            text = (record.name if same else "") or record.digest.hex()
            what = f"input {record.role} name" if same else _named(record)
            level = NOTE if same else DIFFERENCE
            yield Change(what, text, None, level) if index == 0 else Change(what, None, text, level)


def _contents_and_name(record: Input) -> _Key:
    return (*_contents(record), record.name)


def _contents(record: Input) -> _Key:
    return (record.role, record.digest.hex())


def _role_and_name(record: Input) -> _Key:
    return ("", record.role, record.name)


def _seed_of(*documents: ReferenceValues) -> Callable[[Input], _Key]:
    """Return what tells a firmware by its seed, where it is known by one on either side."""
    seeds = {
        entry.inputs["firmware"]: entry.seed
        for values in documents
        for entry in values.ingredients
        if "firmware" in entry.inputs and entry.seed is not None and entry.svsm is None
    }

    def key(record: Input) -> _Key:
        seed = seeds.get(record.digest) if record.role == "firmware" else None
        return (*_contents(record), "") if seed is None else ("seed", seed.hex())

    return key


def _single(*documents: ReferenceValues) -> Callable[[Input], _Key]:
    """Return what tells the only input of its role on both sides; any other is told by itself."""
    counts = [Counter(record.role for record in values.inputs) for values in documents]

    def key(record: Input) -> _Key:
        only = all(count[record.role] == 1 for count in counts)
        return (record.role,) if only else _contents_and_name(record)

    return key


def _pair(
    pairs: list[tuple[Input, Input]],
    left: dict[Input, None],
    right: dict[Input, None],
    key: Callable[[Input], _Key],
) -> None:
    """Move into `pairs` what has the same key on both sides, in their order."""
    found: dict[_Key, deque[Input]] = {}
    for record in right:
        found.setdefault(key(record), deque()).append(record)
    for record in list(left):
        others = found.get(key(record))
        if others:
            other = others.popleft()
            pairs.append((record, other))
            del left[record], right[other]


def _differences(before: Input, after: Input, *, seed: Callable[[Input], _Key]) -> Iterator[Change]:
    what = _named(before) if before.name == after.name else f"input {before.role}"
    if before.digest != after.digest:
        named = before.name != after.name
        first, second = (
            f"{record.name if named else ''} {record.digest.hex()}".strip() for record in (before, after)
        )
        # The one is known by its pages, the other by its bytes, and the launch has the same pages.
        same = before.algorithm != after.algorithm and seed(before) == seed(after)
        yield Change(what, first, second, NOTE if same else DIFFERENCE)
    elif before.name != after.name:
        yield Change(f"{what} name", before.name, after.name, NOTE)
    if before.size != after.size and before.algorithm == after.algorithm:
        # What is known by its digest alone has no size that could be another.
        level = NOTE if None in (before.size, after.size) else DIFFERENCE
        yield Change(f"{what} size", _number(before.size), _number(after.size), level)


def _number(size: int | None) -> str | None:
    return None if size is None else str(size)


def _named(record: Input) -> str:
    return f"input {record.role} {record.name}".strip()

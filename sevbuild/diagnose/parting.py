"""Where two launches part, and in what the step differs after which they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.diagnose.answer import Parting, Row, Run
from sevbuild.image.kernel_hashes import KernelHashes, read_hash_table
from sevbuild.launch.compare import Step, compare_plans
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import Contents
from sevbuild.launch.update import LaunchUpdate
from sevbuild.text import counted

__all__ = ["parting"]

_MOST_ROWS = 64
"""The rows of evidence that are kept of a launch, the last of them: a file can have a million steps."""
_FIRMWARE = "firmware"
_HASHED = {"kernel": "the kernel", "initrd": "the initrd", "cmdline": "the command line"}
_NAMES = {"gpa": "address", "page_type": "page type"}


class _Step(NamedTuple):
    """One step of a launch and the digest after it; no update stands for a firmware that a seed covers."""

    origin: str
    digest: bytes
    update: LaunchUpdate | None


def parting(guest: Run, expected: Run) -> Parting | None:
    """Return where two launches part, None where they are the same to the end.

    A firmware that one of them knows by its seed is a step of its own, as it is in the other one.
    """
    alike = guest.plan.seed == expected.plan.seed
    first, second = (_steps(run, seeded=not alike) for run in (guest, expected))
    longest = max(len(first), len(second))
    at = next((at for at in range(longest) if _digest(first, at) != _digest(second, at)), None)
    if at is None:
        return None
    there = (second if at < len(second) else first)[at]
    differs = _differences(guest, expected, first, second, at)
    return Parting(at, there.origin, tuple(differs), _rows(first, at), _rows(second, at))


def _steps(run: Run, *, seeded: bool) -> list[_Step]:
    own = [
        _Step(update.origin, digest, update)
        for update, digest in zip(run.plan.updates, run.digests, strict=True)
    ]
    seed = run.plan.seed
    return [_Step(_FIRMWARE, seed, None), *own] if seeded and seed is not None else own


def _digest(steps: Sequence[_Step], at: int) -> bytes | None:
    return steps[at].digest if at < len(steps) else None


def _rows(steps: Sequence[_Step], at: int) -> tuple[Row, ...]:
    """Return the rows up to a step and that one; the last of them where they are many."""
    end = min(at + 1, len(steps))
    return tuple(
        Row(step, steps[step].origin, steps[step].digest) for step in range(max(0, end - _MOST_ROWS), end)
    )


def _differences(
    guest: Run, expected: Run, first: Sequence[_Step], second: Sequence[_Step], at: int
) -> Iterator[str]:
    """Yield in what a step of two launches differs, a line each."""
    one, other = (steps[at] if at < len(steps) else None for steps in (first, second))
    if any(step is not None and step.update is None for step in (one, other)):
        yield "the pages of the firmware differ"
        return
    plans = []
    for run, step in ((guest, one), (expected, other)):
        updates = () if step is None or step.update is None else (step.update,)
        plans.append(LaunchPlan(run.plan.mode, run.plan.policy, None, updates, ()))
    sides = (guest.plan.updates, expected.plan.updates)
    for pair in compare_plans(*plans):
        yield from _pair_differences(pair, sides)


def _pair_differences(pair: Step, sides: tuple[Sequence[LaunchUpdate], ...]) -> Iterator[str]:
    if pair.first is None or pair.second is None:
        update = pair.second if pair.first is None else pair.first
        if update is not None:
            yield _alone(update, sides, of_guest=pair.second is None)
        return
    for change in pair.registers:
        yield f"{change.name}: {_number(change.first)} -> {_number(change.second)}"
    if pair.registers:
        return
    for name in pair.differs:
        old, new = getattr(pair.first, name), getattr(pair.second, name)
        if name == "data":
            yield _contents(old, new)
        else:
            shown = [f"{value:#x}" if name in ("gpa", "length") else _word(value) for value in (old, new)]
            yield f"{_NAMES.get(name, name.replace('_', ' '))}: {shown[0]} -> {shown[1]}"


def _alone(update: LaunchUpdate, sides: tuple[Sequence[LaunchUpdate], ...], *, of_guest: bool) -> str:
    """Return what is to be said of an update that has no partner at its step."""
    own, other = sides if of_guest else sides[::-1]
    whose = ("guest's", "expected") if of_guest else ("expected", "guest's")
    here, there = ([at for at, found in enumerate(side) if _same(found, update)] for side in (own, other))
    # VMSAs are alike: of these one launch has more, and none has moved.
    if len(here) != len(there):
        return f"{update.origin} is in the {whose[0]} launch alone"
    when = "later" if there[0] > here[0] else "earlier"
    return f"{update.origin} comes {when} in the {whose[1]} launch, at step {there[0]}"


def _same(one: LaunchUpdate, other: LaunchUpdate) -> bool:
    return one._replace(origin="") == other._replace(origin="")


def _contents(old: Contents | None, new: Contents | None) -> str:
    """Return that contents differ: in how many pages, or of what the kernel hashes in them are another."""
    if isinstance(old, bytes) and isinstance(new, bytes) and len(old) == len(new) <= PAGE_SIZE:
        tables = [read_hash_table(data) for data in (old, new)]
        if None not in tables:
            names = [name for name in KernelHashes._fields if len({getattr(one, name) for one in tables}) > 1]
            if names:
                return f"contents differ: the hash of {' and '.join(_HASHED[name] for name in names)}"
    if not isinstance(old, bytes | memoryview) or not isinstance(new, bytes | memoryview):
        return "contents differ"
    pages = -(-max(len(old), len(new)) // PAGE_SIZE)
    if len(old) != len(new) or pages < 2:
        return "contents differ"
    differing = [
        at for at in range(0, len(old), PAGE_SIZE) if old[at : at + PAGE_SIZE] != new[at : at + PAGE_SIZE]
    ]
    where = f"the first at offset {differing[0]:#x}" if differing else ""
    return f"contents differ in {len(differing)} of {counted(pages, 'page')}, {where}"


def _word(value: object) -> str:
    return str(getattr(value, "name", value)).lower()


def _number(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value:#x}"

"""Setups planned and replayed through the model of the secure processor, prefixes shared."""

from __future__ import annotations

from sevbuild.diagnose.answer import Parting, Row, Run
from sevbuild.diagnose.setup import Setup
from sevbuild.launch.compare import Step, compare_plans
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree

__all__ = ["Launches", "parting"]

_MOST_ROWS = 64
"""The rows of evidence that are kept of a launch, the last of them: a file can have a million steps."""


class Launches:
    """Launch digests of setups; what several have in common is planned and hashed once."""

    def __init__(self) -> None:
        self.planner = Planner()
        self._tree = LaunchTree()

    def digest(self, setup: Setup) -> bytes:
        """Return the launch digest of a setup; raises SevbuildError for what cannot be launched."""
        return self._tree.digest(setup.plan(self.planner))

    def run(self, setup: Setup) -> Run:
        """Return the plan of a setup with its running digests; raises SevbuildError as `digest` does."""
        return self.run_of(setup.plan(self.planner))

    def run_of(self, plan: LaunchPlan) -> Run:
        """Return a plan with its running digests."""
        return Run(plan, tuple(digest for _, digest in self._tree.trace(plan)))


def parting(guest: Run, expected: Run) -> Parting | None:
    """Return where two launches part, None where they are the same to the end."""
    longest = max(len(guest.digests), len(expected.digests))
    step = next(
        (at for at in range(longest) if guest.digests[at : at + 1] != expected.digests[at : at + 1]), None
    )
    if step is None:
        return None
    there = expected if step < len(expected.digests) else guest
    return Parting(
        step,
        there.plan.updates[step].origin,
        tuple(_differences(guest.plan, expected.plan, step)),
        _rows(guest, step),
        _rows(expected, step),
    )


def _rows(run: Run, step: int) -> tuple[Row, ...]:
    """Return the rows up to a step and that one; the last of them where they are many."""
    end = min(step + 1, len(run.digests))
    return tuple(
        Row(at, run.plan.updates[at].origin, run.digests[at]) for at in range(max(0, end - _MOST_ROWS), end)
    )


def _differences(guest: LaunchPlan, expected: LaunchPlan, step: int) -> list[str]:
    """Return in what a step of two launches differs, a line each."""
    one, other = (LaunchPlan(*plan[:3], plan.updates[step : step + 1], ()) for plan in (guest, expected))
    found: list[str] = []
    if guest.seed != expected.seed and step == 0:
        found.append("the launches go on from different digests of the firmware")
    for pair in compare_plans(one, other):
        found += _pair_differences(pair)
    return found


def _pair_differences(pair: Step) -> list[str]:
    if pair.first is None or pair.second is None:
        update, side = (
            (pair.second, "the expected launch") if pair.first is None else (pair.first, "the guest's launch")
        )
        return [] if update is None else [f"{update.origin} is in {side} alone"]
    registers = [
        f"{change.name}: {_number(change.first)} -> {_number(change.second)}" for change in pair.registers
    ]
    if registers:
        return registers
    names = {"gpa": "address", "page_type": "page type", "data": "contents", "origin": "origin"}
    found = []
    for name in pair.differs:
        if name == "data":
            found.append("contents")
        else:
            old, new = getattr(pair.first, name), getattr(pair.second, name)
            shown = [f"{value:#x}" if name in ("gpa", "length") else _word(value) for value in (old, new)]
            found.append(f"{names.get(name, name.replace('_', ' '))}: {shown[0]} -> {shown[1]}")
    return found


def _word(value: object) -> str:
    return str(getattr(value, "name", value)).lower()


def _number(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value:#x}"

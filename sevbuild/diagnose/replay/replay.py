"""A recorded launch beside a plan: where they part, and the launch digest in both orders.

The proposal of 2019 (`launch/batch.py`) promises that the same contents, issued in any order and forwarded in
canonical order, give the same launch digest. What a hypervisor issued and what the plan has are both brought
into that order here, so that its author sees whether the promise holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sevbuild.diagnose.replay.events import Launch, Trace, UnknownCommand, Update
from sevbuild.diagnose.replay.parting import Parting, first_parting
from sevbuild.diagnose.replay.run import Ran, run_launch
from sevbuild.launch.batch import LaunchBatch
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.launch.status import LaunchError
from sevbuild.launch.update import LaunchUpdate
from sevbuild.measure.tree import LaunchTree

__all__ = ["Canonical", "Planned", "Replay", "replay_launch"]


class Planned(NamedTuple):
    """The plan that a launch is held to, under its label."""

    label: str
    plan: LaunchPlan


class Canonical(NamedTuple):
    """A launch digest in canonical order, or why there is none."""

    digest: bytes | None
    reason: str = ""


class Replay(NamedTuple):
    """What became of one launch of a trace.

    `parting` is where it is another launch than the plan's, or none at all; None where all of it is the same.
    `digest` and `canonical` are of what was issued, `planned_digest` and `planned_canonical` of the plan.
    """

    trace: Trace
    launch: Launch
    number: int
    ran: Ran
    planned: Planned | None
    parting: Parting | None
    canonical: Canonical
    planned_digest: bytes | None = None
    planned_canonical: Canonical = Canonical(None)

    @property
    def same_in_canonical_order(self) -> bool | None:
        """Tell whether the order alone is another; None where a digest is missing."""
        mine, theirs = self.canonical.digest, self.planned_canonical.digest
        return None if mine is None or theirs is None else mine == theirs


def replay_launch(trace: Trace, launch: Launch, planned: Planned | None) -> Replay:
    """Return what the model makes of a launch, and where it parts from a plan.

    Raises LaunchError where the plan itself is refused.
    """
    mode = _mode(launch, planned)
    number = trace.launches.index(launch) + 1
    hasher = PageHasher()
    if planned is None or planned.plan.mode != mode:
        ran = run_launch(launch, mode, None, hasher)
        parting = None if planned is None else _other_mode(launch, mode, planned)
        canonical = _canonical(ran, hasher)
        if parting is None:
            parting = _first(_of_trace(launch, ran))
        return Replay(trace, launch, number, ran, planned, parting, canonical)
    plan = planned.plan
    for update in plan.regions:
        if update.data is not None:
            # Each region is launched four times: issued and planned, in either order.
            hasher.remember(update.data)
    ran = run_launch(launch, mode, plan, hasher)
    found = [_policy(launch, plan), _regions(launch, ran, plan), *_of_trace(launch, ran)]
    digest = LaunchTree(hasher).digest(plan)
    own = _planned_canonical(plan, hasher)
    return Replay(trace, launch, number, ran, planned, _first(found), _canonical(ran, hasher), digest, own)


def _mode(launch: Launch, planned: Planned | None) -> Mode:
    """Return the mode of a launch; where its start is missing, the plan's or what its updates look like."""
    if launch.start is not None:
        return launch.start.mode
    if planned is not None:
        return planned.plan.mode
    return "snp" if any(update.gpa is not None for update in launch.updates) else "sev"


def _first(found: Iterable[Parting | None]) -> Parting | None:
    """Return the difference that comes first in the trace; of one line, the first of these."""
    return min((each for each in found if each is not None), key=lambda each: each.line, default=None)


def _of_trace(launch: Launch, ran: Ran) -> list[Parting | None]:
    """Return what of a launch is wrong whatever was planned."""
    return [
        _unknown_command(launch),
        _refused(ran),
        _refused_by_host(ran),
        _unfinished(launch, ran),
        _said_digest(launch, ran),
    ]


def _unknown_command(launch: Launch) -> Parting | None:
    for event in launch.events:
        if isinstance(event, UnknownCommand):
            return Parting("unknown-command", event.line, event.name, "")
    return None


def _other_mode(launch: Launch, mode: Mode, planned: Planned) -> Parting:
    return Parting("mode", launch.lines[0], mode, planned.plan.mode)


def _policy(launch: Launch, plan: LaunchPlan) -> Parting | None:
    start = launch.start
    if start is None or start.policy == plan.policy:
        return None
    return Parting("policy", start.line, f"{start.policy:#x}", f"{plan.policy:#x}")


def _regions(launch: Launch, ran: Ran, plan: LaunchPlan) -> Parting | None:
    seeded = {update.lines for update in ran.seeded}
    updates = [update for update in launch.updates if update.lines not in seeded]
    traced = any(update.is_vmsa for update in updates)
    planned = [update for update in plan.updates if traced or update.page_type != PageType.VMSA]
    last = launch.lines[1] if launch.finish is None else launch.finish.line
    return first_parting(updates, planned, plan.mode, last)


def _refused(ran: Ran) -> Parting | None:
    if not ran.refused:
        return None
    line, error = ran.refused[0]
    return Parting("refused", line, error.message, "")


def _refused_by_host(ran: Ran) -> Parting | None:
    if not ran.by_host:
        return None
    refusal = ran.by_host[0]
    text = f"{refusal.command}: ret={refusal.code} fw_error={refusal.fw_error}"
    return Parting("host-refused", refusal.line, text, "")


def _unfinished(launch: Launch, ran: Ran) -> Parting | None:
    if ran.finished or ran.refused or ran.by_host:
        return None
    lacks = "the trace ends before the guest runs" if launch.finish else "the trace ends before LAUNCH_FINISH"
    return Parting("unfinished", launch.lines[1], lacks, "")


def _said_digest(launch: Launch, ran: Ran) -> Parting | None:
    finish = launch.finish
    if finish is None or finish.digest is None or ran.digest in (None, finish.digest):
        return None
    return Parting("launch-digest", finish.line, finish.digest.hex(), (ran.digest or b"").hex())


def _canonical(ran: Ran, hasher: PageHasher) -> Canonical:
    """Return the launch digest of what was issued, in canonical order."""
    if ran.digest is None:
        return Canonical(None)
    if ran.seeded:
        return Canonical(None, "the firmware is known by its digest alone")
    steps = [(step.update, step.launched) for step in ran.steps if not step.refused]
    unplaced = any(update is not None and update.gpa is None and not update.is_vmsa for update, _ in steps)
    if unplaced:
        return Canonical(None, "the trace does not say where regions go")
    return _batched(ran.mode, _numbered(steps), hasher)


def _planned_canonical(plan: LaunchPlan, hasher: PageHasher) -> Canonical:
    if plan.seed is not None:
        return Canonical(None, "the firmware is known by its digest alone")
    return _batched(plan.mode, _numbered((None, update) for update in plan.updates), hasher)


def _numbered(
    steps: Iterable[tuple[Update | None, LaunchUpdate]],
) -> Iterator[tuple[int | None, LaunchUpdate]]:
    """Yield updates with the vCPU of each VMSA: the number that it was given, else the next one."""
    count = 0
    for update, launched in steps:
        if launched.page_type != PageType.VMSA:
            yield None, launched
            continue
        yield count if update is None or update.vcpu is None else update.vcpu, launched
        count += 1


def _batched(mode: Mode, updates: Iterable[tuple[int | None, LaunchUpdate]], hasher: PageHasher) -> Canonical:
    batch = LaunchBatch()
    try:
        for vcpu, update in updates:
            if vcpu is None:
                batch.update_data(update)
            else:
                batch.update_vmsa(vcpu, update)
        # The policy enters no digest.
        plan = LaunchPlan(mode, DEFAULT_POLICIES[mode], None, batch.finish(), ())
        return Canonical(LaunchTree(hasher).digest(plan))
    except LaunchError as error:
        return Canonical(None, error.message)

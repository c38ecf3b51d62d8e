"""Two launches step by step, and the first launch update at which their running digests part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sevbuild.diagnose.differences.model import DIGEST, Cause, Detail, Launches, Step, StepSide
from sevbuild.diagnose.differences.pages import differing_pages, runs_text
from sevbuild.diagnose.differences.registers import register_details
from sevbuild.guest.trace import contents_digest, shown_type
from sevbuild.launch.compare import Step as PlanStep
from sevbuild.launch.compare import compare_plans
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from sevbuild.text import counted

__all__ = ["Trace", "causes_of_steps", "side_by_side"]

_SHOWN_FIELDS = {
    "gpa": "GPA",
    "page_type": "page type",
    "length": "length",
    "vmpl_permissions": "VMPL permissions",
}


class Trace(NamedTuple):
    """A launch plan and the launch digest after each of its updates.

    Where `recorded`, the plan's data are digests of the contents.
    """

    plan: LaunchPlan
    digests: Sequence[bytes]
    recorded: bool = False


def side_by_side(labels: tuple[str, str], old: Trace, new: Trace) -> Launches:
    """Return two launches in pairs of updates, each launch in its own order."""
    traces = [old, new]
    if old.recorded or new.recorded:
        traces = [_recorded(trace) for trace in traces]
    numbers = [0, 0]
    steps: list[Step] = []
    parts_at = None
    for step in compare_plans(traces[0].plan, traces[1].plan):
        equal = step.is_equal
        sides: list[StepSide | None] = []
        for index, update in enumerate((step.first, step.second)):
            sides.append(
                None if update is None else _side(traces[index], numbers[index], update, equal=equal)
            )
            numbers[index] += update is not None
        first, second = sides
        if parts_at is None and (
            first is None or second is None or first.launch_digest != second.launch_digest
        ):
            parts_at = len(steps)
        details = () if equal or traces[0].recorded else _step_details(step)
        steps.append(Step(first, second, step.differs, details))
    digests = (old.digests[-1], new.digests[-1])
    return Launches(labels, digests, tuple(steps), parts_at if digests[0] != digests[1] else None)


def causes_of_steps(launches: Launches) -> list[Cause]:
    """Return what differs of two launches as causes, where nothing says what they were made of."""
    moved = _moved(launches.steps)
    found = []
    for step in launches.steps:
        old, new = step.old, step.new
        one = old or new
        if step.is_equal or step.differs == ("origin",) or one is None:
            continue
        if old is not None and new is not None:
            found.append(_changed(step, old, new))
        elif _key(one) in moved:
            if old is not None:
                other = moved[_key(one)]
                title = f"{old.origin} is launched in another place"
                places = (f"step {old.number}", f"step {other.number}")
                found.append(Cause("launch-update", title, DIGEST, *places))
        else:
            side = "first" if old is not None else "second"
            title = f"{one.origin} is launched in the {side} alone"
            shown = f"{one.page_type}, {one.length:#x} bytes at {one.gpa:#x}"
            first, second = (shown, None) if old is not None else (None, shown)
            found.append(Cause("launch-update", title, DIGEST, first, second))
    return found


def _changed(step: Step, old: StepSide, new: StepSide) -> Cause:
    details = list(step.details)
    for field, name in _SHOWN_FIELDS.items():
        if field in step.differs:
            details.insert(0, Detail(name, *_shown_field(field, old, new)))
    one, other = (None if side.contents is None else side.contents.hex() for side in (old, new))
    words = [_SHOWN_FIELDS[field] for field in step.differs if field in _SHOWN_FIELDS]
    vmsas = old.page_type == new.page_type == "vmsa"
    words += ["registers" if vmsas else "contents"] if "data" in step.differs else []
    title = f"{' and '.join(words)} of {old.origin}"
    if "hash" in old.origin and words == ["contents"]:
        title += ": another kernel, initrd or command line"
    kind = "registers" if vmsas else "launch-update"
    where = (f"step {old.number}", f"step {new.number}")
    return Cause(kind, title, DIGEST, one, other, where, tuple(details))


def _shown_field(field: str, old: StepSide, new: StepSide) -> tuple[str | None, str | None]:
    if field == "page_type":
        return old.page_type, new.page_type
    if field == "vmpl_permissions":
        return None, None
    return f"{getattr(old, field):#x}", f"{getattr(new, field):#x}"


def _moved(steps: Sequence[Step]) -> dict[tuple[object, ...], StepSide]:
    """Return the updates of the second launch that the first has too, in another place; by what they are."""
    gone = {_key(step.old) for step in steps if step.old is not None and step.new is None}
    come = {_key(step.new): step.new for step in steps if step.new is not None and step.old is None}
    return {key: side for key, side in come.items() if key in gone}


def _key(side: StepSide) -> tuple[object, ...]:
    return side.page_type, side.gpa, side.length, side.contents


def _side(trace: Trace, number: int, update: LaunchUpdate, *, equal: bool) -> StepSide:
    contents = None
    if update.data is not None and not equal:
        contents = bytes(update.data) if trace.recorded and isinstance(update.data, bytes) else None
        if not trace.recorded:
            contents = contents_digest(trace.plan.mode, update.data)
    word = shown_type(trace.plan.mode, update)
    return StepSide(number, update.origin, word, update.gpa, update.length, contents, trace.digests[number])


def _recorded(trace: Trace) -> Trace:
    """Return a launch with digests in place of contents, as a document has it."""
    if trace.recorded:
        return trace
    plan = trace.plan

    def recorded(update: LaunchUpdate) -> LaunchUpdate:
        return (
            update if update.data is None else update._replace(data=contents_digest(plan.mode, update.data))
        )

    regions, vmsas = (tuple(map(recorded, side)) for side in (plan.regions, plan.vmsas))
    return Trace(plan._replace(regions=regions, vmsas=vmsas), trace.digests, recorded=True)


def _step_details(step: PlanStep) -> tuple[Detail, ...]:
    """Return in which registers or pages two updates of one place differ."""
    first, second = step.first, step.second
    if first is None or second is None or first.data is None or second.data is None:
        return ()
    if PageType.VMSA in (first.page_type, second.page_type):
        return register_details(step.registers)
    pages = differing_pages(first.data, second.data)
    if not pages.differ or pages.of == 1:
        return ()
    where = runs_text(pages.runs, first.gpa, pages.differ)
    return (Detail(f"{pages.differ} of {counted(pages.of, 'page')}", None, None, where),)

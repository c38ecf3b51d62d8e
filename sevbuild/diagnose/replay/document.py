"""A replay in words and as JSON: the verdict, each update, both orders, and what a trace does not say."""

from __future__ import annotations

from typing import Any

from sevbuild.diagnose.replay.parting import Parting, kind_word
from sevbuild.diagnose.replay.replay import Replay
from sevbuild.diagnose.replay.run import Step
from sevbuild.launch.page_type import PageType
from sevbuild.launch.status import Status
from sevbuild.text import counted

__all__ = ["REPLAY_SCHEMA", "replay_document", "result"]

REPLAY_SCHEMA = 1

_WORDS = {
    "mode": "mode {trace}, planned {plan}",
    "policy": "policy {trace}, planned {plan}",
    "refused": "{trace}",
    "host-refused": "the host refused {trace}",
    "order": "{trace}, planned here is {plan}",
    "missing": "{plan} is missing",
    "extra": "{trace} is not planned here",
    "gpa": "GPA {trace}, planned {plan}",
    "page-type": "page type {trace}, planned {plan}",
    "length": "length {trace}, planned {plan}",
    "contents": "{trace}",
    "vmpl-permissions": "VMPL permissions {trace}, planned {plan}",
    "unknown-command": "{trace} is not known here, and may launch something",
    "unfinished": "{trace}: the launch is not known to have succeeded",
    "launch-digest": "the hypervisor says launch digest {trace}, the model gives {plan}",
}
"""What each kind of difference is called; `Parting` lists the kinds."""


def result(replay: Replay) -> str:
    """Return `same` or `parts`; where there is no plan, `accepted`, `refused` or `unfinished`."""
    if replay.planned is not None:
        return "same" if replay.parting is None else "parts"
    if replay.parting is None:
        return "accepted"
    return "unfinished" if replay.parting.what == "unfinished" else "refused"


def replay_document(replay: Replay) -> dict[str, Any]:
    """Return a replay as JSON; numbers of 32 and 64 bits are hex strings, lines and steps are numbers."""
    launch, ran, parting = replay.launch, replay.ran, replay.parting
    start, finish, planned = launch.start, launch.finish, replay.planned
    return {
        "schema": REPLAY_SCHEMA,
        "result": result(replay),
        "sentence": _sentence(replay),
        "trace": {
            "source": replay.trace.source,
            "format": replay.trace.form,
            "launch": replay.number,
            "launches": len(replay.trace.launches),
            "lines": list(launch.lines),
            "mode": ran.mode,
            "policy": None if start is None else hex(start.policy),
            "finished": ran.finished,
            "says_launch_digest": None if finish is None or finish.digest is None else finish.digest.hex(),
            "igvm_files": list(replay.trace.igvm),
        },
        "guest": None if planned is None else {"label": planned.label, "mode": planned.plan.mode},
        "parting": None if parting is None else _parting(parting),
        "updates": [_update(step, replay) for step in ran.steps],
        "refused": [
            {
                "line": line,
                "command": error.command,
                "status": error.status.name,
                "fw_error": error.status.value,
                "message": error.message,
            }
            for line, error in ran.refused
        ],
        "refused_by_host": [
            {
                "line": refusal.line,
                "command": refusal.command,
                "ret": refusal.code,
                "fw_error": refusal.fw_error,
                "status": _status(refusal.fw_error),
            }
            for refusal in ran.by_host
        ],
        "launch_digest": {
            "issued": _hex(ran.digest),
            "canonical": _hex(replay.canonical.digest),
            "planned": _hex(replay.planned_digest),
            "planned_canonical": _hex(replay.planned_canonical.digest),
            "same_in_canonical_order": replay.same_in_canonical_order,
            "takes_of_plan": ran.takes_of_plan,
        },
        "notes": _notes(replay),
        "other_events": dict(sorted(replay.trace.others.items())),
        "unknown_events": dict(sorted(replay.trace.unknown.items())),
    }


def _sentence(replay: Replay) -> str:
    """Return what became of the launch, in one line."""
    source, parting = replay.trace.source, replay.parting
    label = "" if replay.planned is None else replay.planned.label
    if parting is not None:
        step = "" if parting.step is None else f", step {parting.step}"
        origin = f" ({parting.origin})" if parting.origin else ""
        words = _WORDS[parting.what].format(trace=parting.trace, plan=parting.plan)
        status = _status(replay.ran.by_host[0].fw_error) if parting.what == "host-refused" else None
        named = f"{words} ({status})" if status else words
        if replay.planned is None:
            return f"{result(replay)} at {source}:{parting.line}: {named}"
        return f"parts from {label} at {source}:{parting.line}{step}{origin}: {named}"
    first, last = replay.launch.lines
    where = f"{source}, lines {first} to {last}"
    if replay.planned is None:
        return f"accepted, and compared with no plan: {where}"
    if replay.ran.digest is None:
        return f"same updates as {label}, as far as the trace says: {where}"
    if replay.ran.takes_of_plan:
        return f"same updates as {label}, with what the trace lacks taken from the plan: {where}"
    return f"same launch as {label}: {where}"


def _parting(parting: Parting) -> dict[str, Any]:
    return {
        "what": parting.what,
        "line": parting.line,
        "step": parting.step,
        "origin": parting.origin,
        "trace": parting.trace,
        "plan": parting.plan or None,
        "registers": [
            {"name": change.name, "plan": _value(change.first), "trace": _value(change.second)}
            for change in parting.registers
        ],
    }


def _update(step: Step, replay: Replay) -> dict[str, Any]:
    update, launched = step.update, step.launched
    gpa = launched.gpa if update is None else update.gpa
    return {
        "lines": [] if update is None else list(update.lines),
        "origin": launched.origin,
        "page_type": kind_word(replay.ran.mode, int(launched.page_type)),
        "gpa": None if gpa is None else hex(gpa),
        "length": hex(launched.length),
        "contents": step.contents,
        "refused": step.refused,
        "launch_digest": _hex(step.digest),
    }


def _notes(replay: Replay) -> list[str]:
    """Return what the trace does not say, what was taken in its place, and what was compared with nothing."""
    return [*_taken_notes(replay), *_unheld_notes(replay), *_event_notes(replay)]


def _taken_notes(replay: Replay) -> list[str]:
    by_pointers = replay.trace.form == "trace-events" and replay.ran.mode != "snp"
    steps = replay.ran.steps
    notes = []
    if by_pointers:
        notes.append(
            "a trace of QEMU has addresses of the host for an SEV guest: order and lengths are compared, "
            "and there is no launch digest"
        )
    taken = [step for step in steps if step.contents == "plan" and step.update is not None]
    if taken:
        updates = counted(len(taken), "update")
        notes.append(f"contents of {updates} are not in the trace: the plan's are taken")
    added = [step for step in steps if step.update is None]
    if added:
        notes.append(f"{counted(len(added), 'VMSA')} not in the trace: the plan's are taken")
    unknown = [step for step in steps if step.contents == "unknown"]
    if unknown and not by_pointers:
        notes.append(f"contents of {counted(len(unknown), 'update')} are not known: no launch digest")
    if replay.ran.mode != "sev" and all(step.launched.page_type != PageType.VMSA for step in steps):
        notes.append("no VMSA is in the trace: no launch digest")
    return notes


def _unheld_notes(replay: Replay) -> list[str]:
    ran, finish = replay.ran, replay.launch.finish
    notes = list(ran.unheld)
    if finish is not None and finish.digest is not None and ran.digest is None:
        notes.append("the launch digest that the hypervisor says is compared with nothing")
    if ran.seeded:
        lines = ", ".join(str(update.line) for update in ran.seeded)
        notes.append(f"the firmware (line {lines}) is known by its digest alone, and not compared")
    for canonical, whose in ((replay.canonical, "the trace"), (replay.planned_canonical, "the plan")):
        if canonical.reason:
            notes.append(f"no canonical order of {whose}: {canonical.reason}")
    return notes


def _event_notes(replay: Replay) -> list[str]:
    trace = replay.trace
    notes = []
    again = [update for update in replay.launch.updates if len(update.lines) > 1]
    if again:
        notes.append(f"{counted(len(again), 'update')} tried again by QEMU, and counted once")
    if len(trace.launches) > 1:
        notes.append(f"launch {replay.number} of {len(trace.launches)} in the trace")
    if trace.igvm:
        notes.append(f"QEMU loaded an IGVM file: {', '.join(trace.igvm)}")
    if trace.unknown:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(trace.unknown.items()))
        notes.append(f"{counted(sum(trace.unknown.values()), 'event')} of unknown kind passed over: {names}")
    return notes


def _status(fw_error: int) -> str | None:
    """Return the firmware's name of a status, None for one that the model does not know."""
    return next((status.name for status in Status if status.value == fw_error), None)


def _value(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else hex(value)


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()

"""A trace from a file: its form, its lines, and which launch each event is of."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sevbuild.diagnose.log_text import read_log
from sevbuild.diagnose.replay.events import Event, Finish, Launch, Recorded, Start, Trace, Update
from sevbuild.diagnose.replay.json_lines import JsonLinesTrace
from sevbuild.diagnose.replay.qemu import QemuTrace, joined_retries
from sevbuild.errors import SevbuildError
from sevbuild.kind import HEAD_SIZE, another_thing
from sevbuild.text import counted, decode_text, encode_text

__all__ = ["chosen_launch", "parse_trace", "read_trace"]

_ENABLE = "QEMU writes one with -trace 'kvm_sev_*' (docs/replay.md)"
_MOST_BYTES = 4 << 30
"""More than any launch measures: a trace that says so is of no launch, and would take minutes to hash."""

_SIMPLE_HEADER = decode_text(b"\xff" * 8 + 0xF2B177CB0AA429B4.to_bytes(8, "little"))
"""What a file of QEMU's trace backend simple begins with (trace/simple.c: HEADER_EVENT_ID, HEADER_MAGIC).

With FF alone many files begin, a firmware among them.
"""


def read_trace(path: str) -> Trace:
    """Return the trace in a file; raises SevbuildError for what is none."""
    return parse_trace(read_log(path), path, os.path.dirname(path) or ".")


def parse_trace(text: str, source: str, folder: str) -> Trace:
    """Return the trace in a text; files that it names are relative to `folder`.

    A text that begins with a brace is one of ours, any other one of QEMU's. Raises SevbuildError, with
    the line where there is one, for what is no trace and for one without any launch.
    """
    if text.startswith(_SIMPLE_HEADER):
        hint = "scripts/simpletrace.py of that QEMU turns it into text"
        raise SevbuildError(f"{source}: a binary trace of QEMU's backend simple", hint=hint)
    ours = text.lstrip()[:1] == "{"
    reader: JsonLinesTrace | QemuTrace = JsonLinesTrace(source, folder) if ours else QemuTrace(source)
    for number, line in enumerate(text.split("\n"), 1):
        reader.add(number, line.rstrip("\r"))
    launches = _launches(reader.recorded, tuple if ours else joined_retries)
    trace = reader.trace(tuple(launches))
    if not launches:
        raise _no_launch(trace, text)
    for launch in launches:
        total = sum(update.length for update in launch.updates)
        if total > _MOST_BYTES:
            message = f"{source}:{launch.updates[0].line}: the updates from here on have {total:#x} bytes"
            raise SevbuildError(message, hint=f"the limit is {_MOST_BYTES:#x}")
    return trace


def chosen_launch(trace: Trace, number: int | None) -> Launch:
    """Return the one launch of a trace, or the chosen one, counted from 1; raises SevbuildError."""
    launches = trace.launches
    places = ", ".join(f"{index} from line {launch.lines[0]}" for index, launch in enumerate(launches[:8], 1))
    if number is None and len(launches) > 1:
        message = f"{trace.source}: {len(launches)} launches: {places}"
        raise SevbuildError(message, hint="--launch N picks one")
    if number is not None and not 1 <= number <= len(launches):
        only = "the only launch" if len(launches) == 1 else "its launches"
        raise SevbuildError(f"--launch {number}: no such launch in {trace.source}; {only}: {places}")
    return launches[(number or 1) - 1]


def _launches(
    recorded: Sequence[Recorded], joined: Callable[[list[Event]], tuple[Event, ...]]
) -> list[Launch]:
    """Return the events of each guest together.

    A start begins another launch of its process or guest. What has no owner, or one that started nothing,
    belongs to the guest that was last started: QEMU names its threads, and not every event is of the first.
    """
    owners = {each.owner for each in recorded if isinstance(each.event, Start)}
    told_apart = len(owners) > 1
    groups: list[list[Event]] = []
    current: dict[str | None, list[Event]] = {}
    latest: str | None = None
    for event, owner in recorded:
        if isinstance(event, Start):
            latest = owner if told_apart else None
        key = owner if told_apart and owner in owners else latest
        group = current.get(key)
        if group is None or (isinstance(event, Start) and any(isinstance(each, Start) for each in group)):
            group = current[key] = []
            groups.append(group)
        group.append(event)
    return [
        Launch(joined(group))
        for group in groups
        if any(isinstance(event, Start | Update | Finish) for event in group)
    ]


def _no_launch(trace: Trace, text: str) -> SevbuildError:
    """Return what to raise for a trace without a launch event, and what it has instead."""
    thing = another_thing(encode_text(text[:HEAD_SIZE]))
    if not text.strip():
        thing = "an empty file"
    if thing:
        return SevbuildError(f"{trace.source}: {thing}, not a trace of a launch", hint=_ENABLE)
    had = sum(trace.others.values()) + sum(trace.unknown.values())
    events = f" among {counted(had, 'event')} of other kinds" if had else ""
    return SevbuildError(f"{trace.source}: no launch event{events}", hint=_ENABLE)

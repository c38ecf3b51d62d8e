"""The logs of others that are fuzzed: traces of hypervisors, and the VMSAs in a kernel's log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from sevbuild.diagnose.replay.document import replay_document
from sevbuild.diagnose.replay.replay import Planned, replay_launch
from sevbuild.diagnose.replay.trace import parse_trace
from sevbuild.diagnose.vmsa_dump import compare_dump, dump_document, dump_lines
from sevbuild.launch.plan import LaunchPlan
from sevbuild.text import decode_text
from tests.support.kernel_log import vmsa_log
from tests.support.launches import launching_guest
from tests.support.shared import ROOT
from tests.support.traces import json_trace, own_events, qemu_trace
from tools.fuzz_targets import Target

__all__ = ["diagnose_targets"]

_MOST_BYTES = 16 << 20
"""What an input may have launched: to hash more takes longer than an input may, whoever read it."""


def diagnose_targets() -> list[Target]:
    """Return the parsers of logs with valid inputs for them."""
    plans = [_plan(mode) for mode in ("snp", "sev-es", "sev")]
    logs = tuple(
        qemu_trace(plan, prefix=prefix, form=form).encode()
        for plan in plans
        for prefix, form in (("", "src"), ("12@1700000000.5:", "addr"), ("", "type"))
    )
    own = tuple(json_trace(own_events(plan)).encode() for plan in plans)
    pages = [update.data for update in plans[0].vmsas if isinstance(update.data, bytes)]
    dumps = tuple(
        vmsa_log(pages * 2, size, prefix).encode() for size in (1648, 1032) for prefix in ("", "[  1.5] ")
    )
    return [
        Target("trace-events", _replayed(plans), logs, text=True),
        Target("trace-lines", _replayed(plans), own, text=True),
        Target("vmsa-dump", _compared(plans[0]), dumps, text=True),
    ]


def _plan(mode: str) -> LaunchPlan:
    with tempfile.TemporaryDirectory() as folder:
        guest = launching_guest(Path(folder), launch={"mode": mode}, kernel={"path": "vmlinuz"})
        return guest.plan(guest.targets[0])


def _replayed(plans: list[LaunchPlan]) -> Callable[[bytes], object]:
    def feed(data: bytes) -> None:
        trace = parse_trace(decode_text(data), "input", str(ROOT))
        for launch in trace.launches[:2]:
            if sum(update.length for update in launch.updates) > _MOST_BYTES:
                continue
            for plan in (None, *plans):
                found = replay_launch(trace, launch, None if plan is None else Planned("plan", plan))
                json.dumps(replay_document(found))
                if found.parting is None and not found.ran.finished:
                    raise AssertionError("a launch that did not end passed")

    return feed


def _compared(plan: LaunchPlan) -> Callable[[bytes], object]:
    def feed(data: bytes) -> None:
        found = compare_dump(decode_text(data), plan, "input")
        json.dumps(dump_document(found))
        if not dump_lines(found):
            raise AssertionError("nothing is said")

    return feed

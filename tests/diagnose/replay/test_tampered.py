"""Each change to a recorded launch is located: the line of the trace, the step of the plan, what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sevbuild.diagnose.replay.replay import Planned, Replay, replay_launch
from sevbuild.diagnose.replay.trace import chosen_launch, parse_trace
from sevbuild.launch.plan import LaunchPlan
from tests.support.launches import launching_guest
from tests.support.traces import json_trace, own_events, qemu_events, text_of

VCPU = {"count": 2, "model": "EPYC-v4"}
KERNEL = {"path": "vmlinuz", "cmdline": "quiet"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> LaunchPlan:
    guest = launching_guest(tmp_path_factory.mktemp("guest"), vcpu=VCPU, kernel=KERNEL)
    return guest.plan(guest.targets[0])


@pytest.fixture(scope="module")
def sev_plan(tmp_path_factory: pytest.TempPathFactory) -> LaunchPlan:
    folder = tmp_path_factory.mktemp("sev")
    guest = launching_guest(folder, launch={"mode": "sev-es"}, vcpu=VCPU, kernel=KERNEL)
    return guest.plan(guest.targets[0])


def replayed(text: str, plan: LaunchPlan | None, launch: int | None = None) -> Replay:
    trace = parse_trace(text, "trace", ".")
    return replay_launch(trace, chosen_launch(trace, launch), None if plan is None else Planned("it", plan))


def located(text: str, plan: LaunchPlan) -> tuple[str, int, int | None]:
    found = replayed(text, plan).parting
    assert found is not None
    return found.what, found.line, found.step


def swapped(lines: list[Any], one: int, other: int) -> None:
    lines[one], lines[other] = lines[other], lines[one]


# Lines 1 to 3 begin the launch, 4 to 8 are the updates (steps 0 to 4), 9 finishes it, 10 says that it runs.
QEMU: dict[str, tuple[Callable[[list[str]], object], tuple[str, int, int | None]]] = {
    "policy": (
        lambda lines: lines.__setitem__(1, lines[1].replace("0x30000", "0xb0000")),
        ("policy", 2, None),
    ),
    "policy without its bit": (
        lambda lines: lines.__setitem__(1, lines[1].replace("0x30000", "0x0")),
        ("policy", 2, None),
    ),
    "no start": (lambda lines: lines.pop(1), ("refused", 3, None)),
    "start late": (lambda lines: swapped(lines, 1, 3), ("refused", 2, None)),
    "firmware left out": (lambda lines: lines.pop(3), ("missing", 4, 0)),
    "firmware at another address": (
        lambda lines: lines.__setitem__(3, lines[3].replace("gpa 0xffff0000", "gpa 0xfffe0000")),
        ("gpa", 4, 0),
    ),
    "firmware shorter": (
        lambda lines: lines.__setitem__(3, lines[3].replace("len 0x10000", "len 0xf000")),
        ("length", 4, 0),
    ),
    "memory longer": (
        lambda lines: lines.__setitem__(4, lines[4].replace("len 0x2000", "len 0x3000")),
        ("length", 5, 1),
    ),
    "memory normal": (
        lambda lines: lines.__setitem__(4, lines[4].replace("Zero", "Normal")),
        ("page-type", 5, 1),
    ),
    "secrets unmeasured": (
        lambda lines: lines.__setitem__(5, lines[5].replace("Secrets", "Unmeasured")),
        ("page-type", 6, 2),
    ),
    "cpuid zero": (
        lambda lines: lines.__setitem__(6, lines[6].replace("Cpuid", "Zero")),
        ("page-type", 7, 3),
    ),
    "cpuid last": (lambda lines: lines.insert(7, lines.pop(6)), ("order", 7, 3)),
    "secrets before memory": (lambda lines: swapped(lines, 4, 5), ("order", 5, 1)),
    "hash page left out": (lambda lines: lines.pop(7), ("missing", 8, 4)),
    "hash page elsewhere": (
        lambda lines: lines.__setitem__(7, lines[7].replace("gpa 0x810000", "gpa 0x811000")),
        ("gpa", 8, 4),
    ),
    "hash page zero": (
        lambda lines: lines.__setitem__(7, lines[7].replace("Normal", "Zero")),
        ("page-type", 8, 4),
    ),
    "a page in addition": (
        lambda lines: lines.insert(5, lines[4].replace("gpa 0x800000 len 0x2000", "gpa 0x900000 len 0x1000")),
        ("extra", 6, None),
    ),
    "a page in addition at the end": (
        lambda lines: lines.insert(8, lines[4].replace("gpa 0x800000", "gpa 0x900000")),
        ("extra", 9, None),
    ),
    "launched twice": (lambda lines: lines.insert(8, lines[3]), ("extra", 9, None)),
    "not a page address": (
        lambda lines: lines.__setitem__(6, lines[6].replace("gpa 0x80e000", "gpa 0x80e800")),
        ("gpa", 7, 3),
    ),
    "no page type": (
        lambda lines: lines.__setitem__(6, lines[6].replace("Cpuid", "unknown")),
        ("page-type", 7, 3),
    ),
    "an update after the end": (lambda lines: lines.append(lines[3]), ("extra", 11, None)),
    "no finish": (lambda lines: lines.__delitem__(slice(8, None)), ("unfinished", 8, None)),
    "finish not confirmed": (lambda lines: lines.pop(), ("unfinished", 9, None)),
    "refused by the host": (
        lambda lines: lines.__setitem__(
            9, "qemu-system-x86_64: SNP_LAUNCH_FINISH ret=-5 fw_error=11 'Bad measurement'"
        ),
        ("host-refused", 10, None),
    ),
}


@pytest.mark.parametrize("name", QEMU)
def test_what_was_changed_in_a_trace_of_qemu_is_located(name: str, plan: LaunchPlan) -> None:
    lines = qemu_events(plan)
    change, expected = QEMU[name]
    change(lines)
    assert located(text_of(lines), plan) == expected


def test_the_trace_as_it_was_is_the_plan(plan: LaunchPlan) -> None:
    assert len(plan.regions) == 5
    assert replayed(text_of(qemu_events(plan)), plan).parting is None
    assert len(QEMU) + len(OWN) + len(SEV) >= 20


def flipped(event: dict[str, Any], at: int) -> None:
    data = bytearray.fromhex(event["contents"])
    data[at] ^= 1
    event["contents"] = data.hex()


# Line 1 begins, 2 to 6 are the updates (steps 0 to 4), 7 and 8 the VMSAs (5 and 6), 9 finishes.
OWN: dict[str, tuple[Callable[[list[Any]], object], tuple[str, int, int | None]]] = {
    "a byte of the firmware": (lambda events: flipped(events[1], 0x5123), ("contents", 2, 0)),
    "a byte of the hash page": (lambda events: flipped(events[5], 0xC10), ("contents", 6, 4)),
    "a register of a vCPU": (lambda events: flipped(events[7], 0x3B0), ("contents", 8, 6)),
    "a vCPU less": (lambda events: events.pop(7), ("missing", 8, 6)),
    "a vCPU more": (lambda events: events.insert(8, events[7]), ("extra", 9, None)),
    "a vCPU at another address": (
        lambda events: events[6].update(gpa="0xffffffffff000"),
        ("gpa", 7, 5),
    ),
    "permissions": (
        lambda events: events[3].update(vmpl_permissions=[7, 0, 0]),
        ("vmpl-permissions", 4, 2),
    ),
    "VMSAs first": (lambda events: events.insert(1, events.pop(6)), ("order", 2, 0)),
    "another digest than it has": (
        lambda events: events[8].update(launch_digest="ab" * 48),
        ("launch-digest", 9, None),
    ),
    "mode": (lambda events: events[0].update(mode="sev", policy=1), ("mode", 1, None)),
    "contents shorter than announced": (
        lambda events: events[5].update(contents=events[5]["contents"][:512]),
        ("refused", 6, None),
    ),
    "a VMSA of two pages": (lambda events: events[7].update(length=0x2000), ("length", 8, 6)),
}


@pytest.mark.parametrize("name", OWN)
def test_what_was_changed_in_a_trace_of_ours_is_located(name: str, plan: LaunchPlan) -> None:
    events = own_events(plan)
    assert replayed(json_trace(events), plan).parting is None
    change, expected = OWN[name]
    change(events)
    if name == "mode":
        for event in events[1:]:
            if event["event"] == "launch-update":
                event["page_type"] = "vmsa" if event["page_type"] == "vmsa" else "data"
                if "contents" not in event:
                    event["contents"] = "00" * int(event["length"], 16)
    assert located(json_trace(events), plan) == expected


# Lines 1 to 3 begin the launch, 4 and 5 are the updates, 6 and 7 measure, 8 finishes, 9 says that it runs.
SEV: dict[str, tuple[Callable[[list[str]], object], tuple[str, int, int | None]]] = {
    "order": (lambda lines: swapped(lines, 3, 4), ("order", 4, 0)),
    "firmware left out": (lambda lines: lines.pop(3), ("missing", 4, 0)),
    "hash table left out": (lambda lines: lines.pop(4), ("missing", 7, 1)),
    "hash table longer": (
        lambda lines: lines.__setitem__(4, lines[4].rpartition(" ")[0] + " 0x1000"),
        ("length", 5, 1),
    ),
    "data in addition": (
        lambda lines: lines.insert(4, "kvm_sev_launch_update_data addr 0x7fff00000000 len 0x40"),
        ("extra", 5, None),
    ),
    "odd length": (
        lambda lines: lines.__setitem__(4, lines[4].rpartition(" ")[0] + " 0xb1"),
        ("length", 5, 1),
    ),
    "mode": (lambda lines: lines.__setitem__(1, lines[1].replace("0x5", "0x1")), ("mode", 2, None)),
    "finished before it was measured": (
        lambda lines: lines.__delitem__(slice(5, 7)),
        ("refused", 6, None),
    ),
    "data after it was measured": (lambda lines: lines.insert(7, lines[3]), ("extra", 8, None)),
}


@pytest.mark.parametrize("name", SEV)
def test_what_was_changed_in_a_trace_of_an_sev_guest_is_located(name: str, sev_plan: LaunchPlan) -> None:
    lines = qemu_events(sev_plan)
    assert replayed(text_of(lines), sev_plan).parting is None
    change, expected = SEV[name]
    change(lines)
    assert located(text_of(lines), sev_plan) == expected


def test_what_is_refused_is_named_with_its_status_and_line(plan: LaunchPlan, sev_plan: LaunchPlan) -> None:
    lines = qemu_events(plan)
    lines.insert(8, lines[3])
    lines[6] = lines[6].replace("gpa 0x80e000", "gpa 0x80e800")
    lines[5] = lines[5].replace("len 0x1000", "len 0x1001")
    refused = replayed(text_of(lines), plan).ran.refused
    assert [(line, error.status.name) for line, error in refused] == [
        (6, "INVALID_LEN"),
        (7, "INVALID_ADDRESS"),
        (9, "INVALID_PAGE_STATE"),
    ]
    late = qemu_events(sev_plan)
    late.insert(7, late[3])
    ((line, error),) = replayed(text_of(late), sev_plan).ran.refused
    assert (line, error.status.name) == (8, "INVALID_GUEST_STATE")
    assert error.command.startswith("LAUNCH_UPDATE_DATA")

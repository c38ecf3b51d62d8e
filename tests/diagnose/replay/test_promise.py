"""The promise of 2019: the same contents in any order and pieces have one digest in canonical order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.replay.planned import PlannedBytes
from sevbuild.diagnose.replay.replay import Planned, Replay, replay_launch
from sevbuild.diagnose.replay.trace import chosen_launch, parse_trace
from sevbuild.diagnose.rules.contents import read_contents
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.igvm.headers import GuestPolicy, PageData
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from tests.support.cli import run
from tests.support.igvm import BSP, SNP, write_file
from tests.support.launches import launching_guest
from tests.support.traces import json_trace, own_events, qemu_trace


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> LaunchPlan:
    guest = launching_guest(
        tmp_path_factory.mktemp("guest"), vcpu={"count": 3, "model": "EPYC-v4"}, kernel={"path": "vmlinuz"}
    )
    return guest.plan(guest.targets[0])


def replayed(text: str, plan: LaunchPlan) -> Replay:
    trace = parse_trace(text, "trace", ".")
    return replay_launch(trace, chosen_launch(trace, None), Planned("it", plan))


def pieces(event: dict[str, Any], sizes: list[int]) -> list[dict[str, Any]]:
    """Return an update in pieces of so many pages."""
    gpa, length = int(event["gpa"], 16), int(event["length"], 16)
    data, at = event.get("contents"), 0
    found = list[dict[str, Any]]()
    while at < length:
        size = min(0x1000 * sizes[len(found) % len(sizes)], length - at)
        piece = {**event, "gpa": hex(gpa + at), "length": size}
        if data is not None:
            piece["contents"] = data[2 * at : 2 * (at + size)]
        found.append(piece)
        at += size
    return found


@given(
    seed=st.integers(0, 1 << 32),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    contents=st.booleans(),
)
def test_any_order_and_any_pieces_have_one_digest_in_canonical_order(
    plan: LaunchPlan, seed: int, sizes: list[int], contents: bool
) -> None:
    start, *updates, finish = own_events(plan, contents=contents)
    vmsas = [event for event in updates if event["page_type"] == "vmsa"]
    for vcpu, event in enumerate(vmsas):
        event["vcpu"] = vcpu
    cut = [piece for event in updates if event not in vmsas for piece in pieces(event, sizes)] + vmsas
    same = replayed(json_trace([start, *cut, finish]), plan)
    assert same.parting is None
    assert same.ran.digest == same.planned_digest
    random.Random(seed).shuffle(cut)
    found = replayed(json_trace([start, *cut, finish]), plan)
    assert found.canonical == found.planned_canonical
    assert found.same_in_canonical_order is True
    assert (found.ran.digest == found.planned_digest) == (found.parting is None)


def test_a_loader_that_launches_vmsas_between_pages_is_followed(tmp_path: Path) -> None:
    pages = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in (32, 33)]
    last = PageData(0x28000, 1, b"\x28" * 4096)
    write_file(tmp_path, SNP, GuestPolicy(0xB0000, 1), *pages, BSP, last)
    file = ForeignFile(str(tmp_path / "guest.igvm"))
    (loaded,) = file.launches(ForeignLaunch(("igvmmeasure",), "snp"))
    plan = loaded.plan
    assert not plan.vmsas
    found = replayed(json_trace(own_events(plan)), plan)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    # Where they belong in a trace without any, nobody says.
    regions = tuple(update for update in plan.regions if update.page_type != PageType.VMSA)
    assert regions[-1] == plan.regions[-1]
    without = replayed(qemu_trace(plan._replace(regions=regions)), plan)
    assert without.parting is None
    assert without.ran.digest is None


def test_a_long_trace_is_read_in_one_go(tmp_path: Path) -> None:
    page = "kvm_sev_snp_launch_update src 0x0 gpa {:#x} len 0x1000 (Zero page)\n"
    lines = "".join(page.format(0x1000 * (2 * number)) for number in range(20_000))
    start = "kvm_sev_snp_launch_start policy 0x30000 gosvw (null)\n"
    end = "kvm_sev_snp_launch_finish id_block (null) id_auth (null) host_data (null)\n"
    (tmp_path / "trace.log").write_text(start + lines + end)
    assert run("replay", tmp_path / "trace.log", "-f", "json").status == 0


def test_the_bytes_of_a_plan_are_found_by_address() -> None:
    regions = [
        LaunchUpdate(0x1000 * at, PageType.NORMAL, 0x1000, bytes([at]) * 0x1000, f"page {at}")
        for at in (4, 5, 7)
    ]
    regions.append(LaunchUpdate(0x6000, PageType.ZERO, 0x1000, None, "zeros"))
    vmsa = LaunchUpdate(0x9000, PageType.VMSA, 0x1000, bytes(0x1000), "vmsa 0")
    planned = PlannedBytes([*regions, vmsa])
    assert planned.at(0x4000, 0x1000) is regions[0].data
    both = planned.at(0x4800, 0x1000)
    assert both is not None
    assert len(both) == 0x1000
    assert read_contents(both, 0, 0x10) == b"\4" * 0x10
    assert read_contents(both, 0x7F8, 0x808) == b"\4" * 8 + b"\5" * 8
    assert read_contents(both, 0xFF0, 0x1000) == b"\5" * 0x10
    for gpa, length in (
        (0x3000, 0x1000),
        (0x5000, 0x2000),
        (0x6000, 0x1000),
        (0x7000, 0x2000),
        (0x9000, 1),
        (0, 1),
    ):
        assert planned.at(gpa, length) is None
    named = {gpa: planned.origin(gpa) for gpa in (0x3FFF, 0x4000, 0x5FFF, 0x6000, 0x8000, 0x9000)}
    assert named == {
        0x3FFF: None,
        0x4000: "page 4",
        0x5FFF: "page 5",
        0x6000: "zeros",
        0x8000: None,
        0x9000: None,
    }


def test_a_digest_of_more_than_the_plan_has_is_another_length(plan: LaunchPlan) -> None:
    events = own_events(plan)
    events[5] = {**events[5], "length": "0x2000", "contents_digest": "00" * 48}
    del events[5]["contents"]
    found = replayed(json_trace(events), plan).parting
    assert found is not None
    assert (found.what, found.line, found.trace, found.plan) == ("length", 6, "0x2000", "0x1000")


def test_a_launch_of_nothing_is_missing_everything(plan: LaunchPlan) -> None:
    start, *_, finish = own_events(plan)
    found = replayed(json_trace([start, finish]), plan).parting
    assert found is not None
    assert (found.what, found.line, found.step) == ("missing", 2, 0)

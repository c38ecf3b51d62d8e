"""Our own traces carry contents and VMSAs, and say where a line is at fault."""

from __future__ import annotations

import base64
import json
import os
import shutil
from contextlib import suppress
from hashlib import sha256, sha384
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.replay.document import replay_document
from sevbuild.diagnose.replay.replay import Planned, Replay, replay_launch
from sevbuild.diagnose.replay.schema import trace_schema
from sevbuild.diagnose.replay.trace import chosen_launch, parse_trace
from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from tests.support.guests import guest_of
from tests.support.launches import launching_guest
from tests.support.shared import ROOT
from tests.support.traces import json_trace, own_events

START = {"schema": 1, "event": "launch-start", "mode": "snp", "policy": "0x30000"}
ZERO = {"event": "launch-update", "page_type": "zero", "gpa": "0x800000", "length": 4096}
FINISH = {"event": "launch-finish"}
SCHEMA = jsonschema.Draft7Validator(trace_schema())


def kernel_plan(folder: Path, mode: str = "snp", **tables: Any) -> LaunchPlan:
    guest = launching_guest(
        folder,
        launch={"mode": mode},
        vcpu={"count": 2 - (mode == "sev"), "model": "EPYC-v4"},
        kernel={"path": "vmlinuz"},
        **tables,
    )
    return guest.plan(guest.targets[0])


def replayed(events: list[dict[str, Any]], plan: LaunchPlan | None = None, folder: str = ".") -> Replay:
    for event in events:
        SCHEMA.validate(event)
    trace = parse_trace(json_trace(events), "trace.jsonl", folder)
    return replay_launch(trace, chosen_launch(trace, None), None if plan is None else Planned("it", plan))


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
@pytest.mark.parametrize("contents", [True, False])
@pytest.mark.parametrize("vmsas", [True, False])
def test_a_trace_of_ours_gives_the_digest_of_the_plan(
    mode: str, contents: bool, vmsas: bool, tmp_path: Path
) -> None:
    plan = kernel_plan(tmp_path, mode)
    found = replayed(own_events(plan, contents=contents, vmsas=vmsas), plan)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest is not None
    assert found.same_in_canonical_order


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_a_trace_with_all_contents_needs_no_plan(mode: str, tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path, mode)
    held = replayed(own_events(plan), plan)
    found = replayed(own_events(plan))
    assert (found.ran.digest, found.canonical) == (held.planned_digest, held.planned_canonical)
    assert replay_document(found)["result"] == "accepted"


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_another_order_of_the_same_contents_is_seen_as_that(mode: str, tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path, mode)
    events = own_events(plan)
    events[1], events[2] = events[2], events[1]
    found = replayed(events, plan)
    assert found.parting is not None
    assert found.parting.what == "order"
    assert found.ran.digest != found.planned_digest
    assert found.same_in_canonical_order is True


def test_vcpus_may_be_launched_in_any_order_if_they_are_numbered(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan)
    for number, event in enumerate(events[6:8]):
        event["vcpu"] = number
    events[6], events[7] = events[7], events[6]
    found = replayed(events, plan)
    assert found.parting is not None
    assert (found.parting.what, found.parting.step) == ("contents", 5)
    assert "rip" in [change.name for change in found.parting.registers]
    assert found.same_in_canonical_order is True
    # Without contents, those of each vCPU are the plan's.
    for event in events[6:8]:
        del event["contents"]
    assert replayed(events, plan).same_in_canonical_order is True
    events[6]["vcpu"] = 0
    twice = replayed(events, plan)
    assert "vCPU 0 already has a VMSA" in twice.canonical.reason
    events[6]["vcpu"] = 7
    assert replayed(events, plan).canonical.digest is None


def test_other_contents_are_seen_as_that(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan)
    events[1]["contents"] = "00" * 0x10000
    found = replayed(events, plan)
    assert found.same_in_canonical_order is False
    assert found.parting is not None
    assert found.parting.trace == "other bytes from the page at 0xffff0000, offset 0x0 of the region on"


@pytest.mark.parametrize("key", ["contents_base64", "contents_file", "contents_digest"])
@pytest.mark.parametrize("mode", ["snp", "sev-es"])
def test_contents_can_be_said_in_several_ways(key: str, mode: str, tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path, mode)
    digest = sha384 if mode == "snp" else sha256
    (tmp_path / "blobs").mkdir()

    def say(number: int, data: bytes) -> dict[str, Any]:
        if key == "contents_base64":
            return {key: base64.b64encode(data).decode()}
        if key == "contents_digest":
            return {key: digest(data).hexdigest()}
        name = f"blobs/{number}.bin"
        (tmp_path / name).write_bytes(b"head" + data + b"tail")
        return {key: name, "contents_offset": 4}

    events = own_events(plan)
    for number, event in enumerate(events):
        if "contents" in event:
            event.update(say(number, bytes.fromhex(event.pop("contents"))))
    found = replayed(events, plan, str(tmp_path))
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    for step in found.ran.steps:
        assert step.contents in ({"plan", "none"} if key == "contents_digest" else {"trace", "none"})
    events[1].update(say(1, b"\1" * 0x10000))
    other = replayed(events, plan, str(tmp_path)).parting
    assert other is not None
    assert (other.what, other.line, other.step) == ("contents", 2, 0)
    if key == "contents_digest":
        assert other.trace == f"digest {digest(bytes([1]) * 0x10000).hexdigest()}"


def test_the_digest_of_a_vmsa_is_compared(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan)
    for event in events[6:8]:
        event["contents_digest"] = sha384(bytes.fromhex(event.pop("contents"))).hexdigest()
    assert replayed(events, plan).parting is None
    events[7]["contents_digest"] = "00" * 48
    found = replayed(events, plan).parting
    assert found is not None
    assert (found.what, found.line, found.step) == ("contents", 8, 6)


def test_a_file_may_be_launched_in_pieces(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan)
    piece = {"event": "launch-update", "page_type": "normal", "contents_file": "OVMF.fd"}
    events[1:2] = [
        {**piece, "gpa": "0xffff0000", "length": "0x5000"},
        {**piece, "gpa": "0xffff5000", "contents_offset": "0x5000"},
    ]
    found = replayed(events, plan, str(tmp_path))
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    digests = own_events(plan)
    data = bytes.fromhex(digests[1]["contents"])
    digests[1:2] = [
        {**digests[1], "length": "0x5000", "contents": data[:0x5000].hex()},
        {
            "event": "launch-update",
            "page_type": "normal",
            "gpa": "0xffff5000",
            "length": "0xb000",
            "contents_digest": sha384(data[0x5000:]).hexdigest(),
        },
    ]
    assert replayed(digests, plan).parting is None


def test_a_region_over_two_of_the_plan_takes_the_contents_of_both(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    firmware = plan.regions[0]
    data = b"".join(chunks(firmware.data or b""))
    halves = (
        firmware._replace(length=0x8000, data=data[:0x8000], origin="lower half"),
        firmware._replace(gpa=firmware.gpa + 0x8000, length=0x8000, data=data[0x8000:], origin="upper half"),
    )
    split = plan._replace(regions=(*halves, *plan.regions[1:]))
    found = replayed(own_events(plan, contents=False), split)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    assert found.ran.steps[0].contents == "plan"


def test_what_is_not_known_gives_no_digest(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan, contents=False)
    events[2]["page_type"] = "normal"
    found = replayed(events, plan)
    assert found.ran.steps[1].contents == "unknown"
    assert found.ran.digest is None
    notes = replay_document(found)["notes"]
    assert "contents of 1 update are not known: no launch digest" in notes
    alone = replayed(own_events(plan, contents=False))
    assert alone.ran.digest is None
    assert alone.ran.finished
    without = replayed(own_events(plan, vmsas=False))
    assert without.ran.digest is None
    assert "no VMSA is in the trace: no launch digest" in replay_document(without)["notes"]


def test_a_region_without_an_address_has_no_canonical_order(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path, "sev")
    events = own_events(plan)
    for event in events:
        event.pop("gpa", None)
    found = replayed(events, plan)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    assert found.canonical.reason == "the trace does not say where regions go"
    events[1]["contents_digest"] = sha256(bytes.fromhex(events[1].pop("contents"))).hexdigest()
    assert replayed(events, plan).parting is None
    events[1]["contents_digest"] = "00" * 32
    other = replayed(events, plan).parting
    assert other is not None
    assert (other.what, other.line) == ("contents", 2)


def test_a_firmware_known_by_its_digest_alone_is_passed_over(tmp_path: Path) -> None:
    shutil.copy(ROOT / "guests" / "hello" / "hello.fd", tmp_path)
    whole = guest_of(tmp_path, firmware={"path": "hello.fd"})
    plan = whole.plan(whole.targets[0])
    seed = whole.seed(whole.targets[0])
    seeded = plan._replace(seed=seed, regions=plan.regions[1:])
    found = replayed(own_events(plan), seeded)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest
    assert found.canonical.digest is None
    assert found.planned_canonical.digest is None
    notes = replay_document(found)["notes"]
    assert "the firmware (line 2) is known by its digest alone, and not compared" in notes
    assert "no canonical order of the plan: the firmware is known by its digest alone" in notes


def test_an_id_block_is_held_to_what_was_launched(tmp_path: Path) -> None:
    from tests.support.id_blocks import BLOCK

    plan = kernel_plan(tmp_path)
    digest = replayed(own_events(plan), plan).planned_digest
    assert digest is not None
    block = BLOCK._replace(launch_digest=digest, policy=plan.policy)

    def refused(given: bytes, auth: bytes | None = None) -> list[str]:
        events = own_events(plan)
        events[-1]["id_block"] = base64.b64encode(given).decode()
        if auth is not None:
            events[-1]["id_auth"] = base64.b64encode(auth).decode()
        return [error.status.name for _, error in replayed(events, plan).ran.refused]

    def notes(given: bytes, *, known: bool = True) -> list[str]:
        events = own_events(plan, contents=known)
        events[-1]["id_block"] = base64.b64encode(given).decode()
        found: list[str] = replay_document(replayed(events, plan if known else None))["notes"]
        return [note for note in found if "ID block" in note]

    assert notes(block.encode()) == ["no signature of the ID block of line 9 is checked: it is not there"]
    assert notes(bytes(95))[0].startswith("the ID block of line 9 is not compared: 95 and 0 bytes; ")
    assert notes(block.encode(), known=False) == [
        f"the ID block of line 9 is not compared; it is for {digest.hex()}"
    ]
    assert refused(block.encode()) == []
    assert refused(block._replace(launch_digest=bytes(48)).encode()) == ["BAD_MEASUREMENT"]
    assert refused(block._replace(policy=0x20000).encode()) == ["POLICY_FAILURE"]
    assert refused(block.encode(), bytes(4096)) == ["INVALID_PARAM"]
    # Of a block of another size nothing is known, and a digest that is not known is not compared.
    assert refused(bytes(95)) == []
    unknown = own_events(plan, contents=False)
    unknown[-1]["id_block"] = base64.b64encode(bytes(96)).decode()
    assert replayed(unknown).ran.refused == ()


def test_the_digest_that_a_hypervisor_says_is_compared_with_the_models(tmp_path: Path) -> None:
    plan = kernel_plan(tmp_path)
    events = own_events(plan)
    digest = replayed(events, plan).planned_digest
    assert digest is not None
    events[-1]["launch_digest"] = digest.hex()
    assert replayed(events).parting is None
    events[-1]["launch_digest"] = "00" * 48
    for held in (plan, None):
        found = replayed(events, held)
        assert found.parting is not None
        assert (found.parting.what, found.parting.plan) == ("launch-digest", digest.hex())
    unknown = own_events(plan, contents=False)
    unknown[-1]["launch_digest"] = digest.hex()
    found = replayed(unknown)
    assert found.parting is None
    said = "the launch digest that the hypervisor says is compared with nothing"
    assert said in replay_document(found)["notes"]


def test_several_guests_are_told_apart_by_name() -> None:
    events: list[dict[str, Any]] = [
        {**START, "guest": "a"},
        {**START, "guest": "b"},
        {**ZERO, "guest": "a"},
        {**FINISH, "guest": "b"},
    ]
    trace = parse_trace(json_trace(events), "trace.jsonl", ".")
    assert [len(launch.events) for launch in trace.launches] == [2, 2]
    assert [launch.lines for launch in trace.launches] == [(1, 3), (2, 4)]


def test_events_of_ones_own_are_passed_over_and_counted() -> None:
    events: list[dict[str, Any]] = [START, {"event": "x-timing", "anything": [1]}, ZERO, FINISH]
    trace = parse_trace("\n" + json_trace(events).replace("\n", "\r\n"), "trace.jsonl", ".")
    assert trace.unknown == {"x-timing": 1}
    assert trace.launches[0].lines == (2, 5)


@pytest.mark.parametrize(
    "text",
    [
        json_trace([ZERO, FINISH]),
        "kvm_sev_launch_update_data addr 0x7f00 len 0x10\nkvm_sev_launch_finish \n",
    ],
    ids=["snp", "sev"],
)
def test_a_launch_without_a_start_is_refused(text: str) -> None:
    trace = parse_trace(text, "trace", ".")
    found = replay_launch(trace, trace.launches[0], None)
    assert [error.status.name for _, error in found.ran.refused] == ["INVALID_GUEST_STATE"] * 2
    document = replay_document(found)
    assert document["result"] == "refused"
    assert document["sentence"].startswith("refused at trace:1: ")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([{"event": "launch-start"}], "trace.jsonl:1: $.schema: missing: an integer is required"),
        ([{**START, "schema": 2}], "trace.jsonl:1: $.schema: "),
        ([{**START, "mode": "tdx"}], "trace.jsonl:1: $.mode: "),
        ([{**START, "policy": "196608"}], "trace.jsonl:1: $.policy: must be a hex string"),
        ([{**START, "policy": None}], "trace.jsonl:1: $.policy: missing: an integer or a hex string"),
        ([{**START, "policy": True}], "trace.jsonl:1: $.policy: must be an integer"),
        ([{**START, "Policy": 1}], "trace.jsonl:1: $.Policy: unknown key"),
        (
            [{**START, "mode": "sev", "policy": 1 << 32}],
            "trace.jsonl:1: $.policy: an SEV policy has 32 bits, got 0x100000000",
        ),
        ([START, {"event": "launch_update"}], "trace.jsonl:2: $.event: unknown event 'launch_update'"),
        ([START, {"event": ""}], "trace.jsonl:2: $.event: must not be empty"),
        ([START, {**ZERO, "page_type": "data"}], "trace.jsonl:2: $.page_type: "),
        ([START, {**ZERO, "gpa": None}], "trace.jsonl:2: $.gpa: missing"),
        ([START, {**ZERO, "length": None}], "trace.jsonl:2: $.length: missing"),
        ([START, {**ZERO, "length": -1}], "trace.jsonl:2: $.length: "),
        ([START, {**ZERO, "contents": "00"}], "trace.jsonl:2: $.contents: not measured of a zero page"),
        ([START, {**ZERO, "vcpu": 0}], "trace.jsonl:2: $.vcpu: only a VMSA belongs to a vCPU"),
        ([START, {**ZERO, "vmpl_permissions": [1, 2]}], "trace.jsonl:2: $.vmpl_permissions: must be a list"),
        ([START, {**ZERO, "vmpl_permissions": 7}], "trace.jsonl:2: $.vmpl_permissions: must be a list"),
        (
            [START, {**ZERO, "vmpl_permissions": [1, 2, 256]}],
            "trace.jsonl:2: $.vmpl_permissions[2]: ",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents": "00", "contents_base64": "AA=="}],
            "trace.jsonl:2: $.contents_base64: contents says it already",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents": "zz"}],
            "trace.jsonl:2: $.contents: must be hexadecimal digits",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_base64": "*"}],
            "trace.jsonl:2: $.contents_base64: must be base64",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_digest": "00"}],
            "trace.jsonl:2: $.contents_digest: ",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_offset": 4}],
            "trace.jsonl:2: $.contents_offset: only contents_file has one",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_file": "none.bin"}],
            "trace.jsonl:2: $.contents_file: no such file: none.bin",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_file": ""}],
            "trace.jsonl:2: $.contents_file: must not be empty",
        ),
        (
            [START, {**ZERO, "page_type": "normal", "contents_file": "small.bin"}],
            "trace.jsonl:2: $.contents_file: small.bin has 0x5 bytes, not 0x1000 at 0x0",
        ),
        ([START, {**FINISH, "launch_digest": "ab"}], "trace.jsonl:2: $.launch_digest: "),
        ([START, {**FINISH, "id_block": "*"}], "trace.jsonl:2: $.id_block: must be base64"),
        ([START, {"event": "launch-measure"}], "trace.jsonl:2: $.event: an SNP guest is not measured by"),
        ([START, [1]], "trace.jsonl:2: $: must be an object"),
    ],
)
def test_a_line_at_fault_is_named(events: list[Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(b"small")
    with pytest.raises(SevbuildError) as refused:
        parse_trace(json_trace(events), "trace.jsonl", str(tmp_path))
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "event",
    [
        {"event": "launch-start"},
        {**START, "schema": 2},
        {**START, "policy": "196608"},
        {**START, "Policy": 1},
        {**ZERO, "page_type": "none"},
        {**ZERO, "length": -1},
        {**ZERO, "vmpl_permissions": [1, 2]},
        {**ZERO, "contents": "00", "contents_base64": "AA=="},
        {**ZERO, "contents_offset": 4},
        {**ZERO, "contents_digest": "00"},
        {**FINISH, "launch_digest": "ab"},
        {"event": "launch_update"},
        [1],
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_reader_refuses(event: Any) -> None:
    assert not SCHEMA.is_valid(event)
    with pytest.raises(SevbuildError):
        parse_trace(json_trace([START, event]), "trace.jsonl", ".")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "trace.jsonl:2: not valid JSON: "),
        ('{"event": "x-a", "event": "x-a"}', "trace.jsonl:2: not a readable JSON document: the key"),
        ('{"event": 1.5}', "trace.jsonl:2: not a readable JSON document: 1.5 is not an integer"),
        ("kvm_sev_init", "trace.jsonl:2: not valid JSON: "),
        ("\udcff", "trace.jsonl:2: not UTF-8 text"),
    ],
)
def test_a_line_that_is_no_json_is_named(line: str, message: str) -> None:
    with pytest.raises(SevbuildError) as refused:
        parse_trace(json_trace([START]) + line + "\n", "trace.jsonl", ".")
    assert refused.value.message.startswith(message)


def test_an_event_that_is_misspelt_is_told_the_right_one() -> None:
    for name, hint in (("launch_update", "did you mean launch-update?"), ("boot", "one of launch-start, ")):
        with pytest.raises(FaultsError) as refused:
            parse_trace(json_trace([{"event": name}]), "trace.jsonl", ".")
        assert str(refused.value.faults[0].hint).startswith(hint)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    events = [START, {**ZERO, "page_type": "normal", "contents_file": "pipe"}]
    with pytest.raises(SevbuildError, match="no such file: pipe"):
        parse_trace(json_trace(events), "trace.jsonl", str(tmp_path))


EVENTS = st.sampled_from(
    [
        START,
        {**START, "mode": "sev", "policy": 1},
        ZERO,
        {**ZERO, "page_type": "normal", "contents": "00" * 4096},
        {**ZERO, "page_type": "vmsa", "vcpu": 3},
        {"event": "launch-update", "page_type": "data", "length": 16, "contents": "00" * 16},
        {"event": "launch-measure"},
        FINISH,
        {**FINISH, "id_block": base64.b64encode(bytes(96)).decode()},
        {"event": "x-own"},
    ]
)
MORE = st.dictionaries(st.sampled_from(["gpa", "length", "policy", "mode", "vcpu", "guest"]), st.none() | st.integers(-1, 2**64) | st.text(max_size=3), max_size=1)  # fmt: skip


@given(st.lists(st.tuples(EVENTS, MORE), max_size=8))
def test_any_events_are_replayed_or_refused(drawn: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    events = [{**event, **more} for event, more in drawn]
    with suppress(SevbuildError):
        trace = parse_trace(json_trace(events), "trace.jsonl", ".")
        for launch in trace.launches:
            found = replay_launch(trace, launch, None)
            assert (found.parting is None) == (found.ran.finished and not found.ran.refused)
            assert json.dumps(replay_document(found))

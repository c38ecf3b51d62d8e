"""`sevbuild replay`: what it prints, how it ends, and which guests it takes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.guest.guest import Guest
from sevbuild.igvm.headers import GuestPolicy, PageData
from tests.support.cli import run
from tests.support.igvm import BSP, SNP, write_file
from tests.support.launches import launching_guest
from tests.support.traces import json_trace, own_events, qemu_events, qemu_trace, text_of


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.chdir(tmp_path)
    guest = launching_guest(tmp_path, kernel={"path": "vmlinuz"})
    Path("trace.log").write_text(qemu_trace(guest.plan(guest.targets[0]), prefix="12@1700000000.5:"))
    return guest


def test_the_planned_launch_is_the_same(guest: Guest) -> None:
    result = run("replay", "trace.log", "guest.toml")
    assert (result.status, result.err) == (0, run("measure", "guest.toml").err)
    (measured,) = guest.measure()
    assert result.out.splitlines()[0] == (
        "same updates as snp/qemu/EPYC-v4/vcpus1, with what the trace lacks taken from the plan: "
        "trace.log, lines 2 to 10"
    )
    assert f"issued                    {measured.digest.hex()}" in result.out
    assert "with what is taken from the plan, the launch digest is the plan's" in result.out.splitlines()
    assert "note: contents of 2 updates are not in the trace: the plan's are taken" in result.out
    assert "note: 1 VMSA not in the trace: the plan's are taken" in result.out
    assert "1700000000" not in result.out


def test_a_trace_with_all_of_it_is_the_same_launch(guest: Guest) -> None:
    Path("trace.jsonl").write_text(json_trace(own_events(guest.plan(guest.targets[0]))))
    result = run("replay", "trace.jsonl", "guest.toml", "-q")
    assert result.status == 0
    assert result.out.startswith("same launch as snp/qemu/EPYC-v4/vcpus1: trace.jsonl, lines 1 to 8\n")
    assert "the launch digest is the plan's" in result.out.splitlines()
    assert "note" not in result.out


def test_where_the_launch_parts_is_said_first(guest: Guest) -> None:
    lines = qemu_events(guest.plan(guest.targets[0]))
    lines[6] = lines[6].replace("Cpuid", "Zero")
    Path("trace.log").write_text(text_of(lines))
    result = run("replay", "trace.log", "guest.toml", "-q")
    assert (result.status, result.err) == (1, "")
    assert result.out.splitlines()[0] == (
        "parts from snp/qemu/EPYC-v4/vcpus1 at trace.log:7, step 3 (section 2 (cpuid)): "
        "page type zero, planned cpuid"
    )
    assert "other contents: in canonical order the launch digests differ as well" in result.out


def test_another_order_is_told_from_other_contents(guest: Guest) -> None:
    lines = qemu_events(guest.plan(guest.targets[0]))
    lines[4], lines[5] = lines[5], lines[4]
    Path("trace.log").write_text(text_of(lines))
    result = run("replay", "trace.log", "guest.toml", "-q")
    assert result.status == 1
    first, *_, last_note = [line for line in result.out.splitlines() if not line.startswith("note")]
    assert first.endswith("secrets at 0x80d000, planned here is zero at 0x800000")
    assert last_note == "another order: in canonical order the same contents have the plan's launch digest"


def test_registers_and_refusals_stand_below(guest: Guest) -> None:
    events = own_events(guest.plan(guest.targets[0]))
    data = bytearray.fromhex(events[6]["contents"])
    data[0x3B0] = 0x21
    events[6]["contents"] = data.hex()
    events.insert(7, events[1])
    Path("trace.jsonl").write_text(json_trace(events))
    result = run("replay", "trace.jsonl", "guest.toml", "-q")
    assert result.status == 1
    assert result.out.splitlines()[0].endswith("registers differ: sev_features")
    assert "  sev_features: 0x21, planned 0x1" in result.out.splitlines()
    assert (
        "refused: trace.jsonl:8: SNP_LAUNCH_UPDATE (firmware): INVALID_PAGE_STATE (fw_error=26)" in result.out
    )


def test_without_a_guest_the_commands_are_checked(guest: Guest) -> None:
    result = run("replay", "trace.log")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == "accepted, and compared with no plan: trace.log, lines 2 to 10"
    assert "note: no VMSA is in the trace: no launch digest" in result.out
    lines = qemu_events(guest.plan(guest.targets[0]))
    Path("trace.log").write_text(text_of([*lines[:-2], lines[4], *lines[-2:]]))
    refused = run("replay", "trace.log")
    assert refused.status == 1
    assert refused.out.startswith("refused at trace.log:9: SNP_LAUNCH_UPDATE (line 9): INVALID_PAGE_STATE")


def test_a_trace_that_ends_early_is_no_pass(guest: Guest) -> None:
    lines = qemu_events(guest.plan(guest.targets[0]))
    Path("trace.log").write_text(text_of(lines[:-2]))
    alone = run("replay", "trace.log")
    for result in (run("replay", "trace.log", "guest.toml", "-q"), alone):
        assert result.status == 1
        assert "trace.log:8: the trace ends before LAUNCH_FINISH: the launch is not known" in result.out
        assert "the launch digest is" not in result.out
    assert alone.out.startswith("unfinished at trace.log:8: ")
    assert json.loads(run("replay", "trace.log", "-f", "json").out)["result"] == "unfinished"
    Path("trace.log").write_text(text_of(lines[:-1]))
    assert "the trace ends before the guest runs" in run("replay", "trace.log").out


@pytest.mark.parametrize("mode", ["sev", "sev-es"])
def test_an_sev_trace_says_that_it_has_order_and_lengths_alone(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guest = launching_guest(tmp_path, launch={"mode": mode}, kernel={"path": "vmlinuz"})
    Path("trace.log").write_text(qemu_trace(guest.plan(guest.targets[0])))
    result = run("replay", "trace.log", "guest.toml", "-q")
    assert result.status == 0
    assert result.out.startswith(f"same updates as {mode}/qemu/EPYC-v4/vcpus1, as far as the trace says: ")
    assert "order and lengths are compared, and there is no launch digest" in result.out
    assert "issued" not in result.out


@pytest.mark.usefixtures("guest")
def test_the_host_that_refuses_is_named_with_the_status() -> None:
    with open("trace.log", "a", encoding="utf-8") as log:
        log.write("qemu-system-x86_64: SNP_LAUNCH_FINISH ret=-5 fw_error=11 'Bad measurement'\n")
    result = run("replay", "trace.log", "guest.toml", "-q")
    assert result.status == 1
    assert result.out.splitlines()[0].endswith(
        "trace.log:11: the host refused SNP_LAUNCH_FINISH: ret=-5 fw_error=11 (BAD_MEASUREMENT)"
    )
    document = json.loads(run("replay", "trace.log", "-f", "json").out)
    assert document["refused_by_host"][0]["status"] == "BAD_MEASUREMENT"
    assert document["sentence"].startswith("refused at trace.log:11: the host refused ")


def test_the_json_has_all_of_it(guest: Guest) -> None:
    result = run("replay", "trace.log", "guest.toml", "--format", "json")
    document = json.loads(result.out)
    (measured,) = guest.measure()
    digest = measured.digest.hex()
    assert (document["schema"], document["result"], document["parting"]) == (1, "same", None)
    assert document["guest"] == {"label": "snp/qemu/EPYC-v4/vcpus1", "mode": "snp"}
    assert document["launch_digest"]["issued"] == document["launch_digest"]["planned"] == digest
    assert document["launch_digest"]["same_in_canonical_order"] is True
    assert document["updates"][-1]["launch_digest"] == digest
    assert document["trace"]["lines"] == [2, 10]
    assert document["other_events"] == {"kvm_sev_init": 1}
    Path("trace.log").write_text(text_of(qemu_events(guest.plan(guest.targets[0]), policy=0xB0000)))
    other = run("replay", "trace.log", "guest.toml", "-f", "json")
    assert other.status == 1
    parting = json.loads(other.out)["parting"]
    assert (parting["what"], parting["trace"], parting["plan"]) == ("policy", "0xb0000", "0x30000")


@pytest.mark.usefixtures("guest")
def test_one_of_several_launches_is_chosen() -> None:
    text = Path("trace.log").read_text()
    other = text.replace("Cpuid", "Zero")
    Path("trace.log").write_text(text + other)
    refused = run("replay", "trace.log", "guest.toml")
    assert (refused.status, refused.out) == (2, "")
    assert "trace.log: 2 launches: 1 from line 2, 2 from line 12" in refused.err
    assert "hint: --launch N picks one" in refused.err
    assert run("replay", "trace.log", "guest.toml", "--launch", "1").status == 0
    second = run("replay", "trace.log", "guest.toml", "--launch", "2")
    assert second.status == 1
    assert "note: launch 2 of 2 in the trace" in second.out


@pytest.mark.usefixtures("guest")
def test_events_and_files_that_are_passed_over_are_said() -> None:
    with open("trace.log", "a", encoding="utf-8") as log:
        log.write("kvm_sev_snp_new a\nkvm_sev_snp_new b\nigvm_file_loaded fn=a.igvm, handle=0x1\n")
    result = run("replay", "trace.log", "guest.toml")
    assert result.status == 0
    assert "note: 2 events of unknown kind passed over: kvm_sev_snp_new (2)" in result.out
    assert "note: QEMU loaded an IGVM file: a.igvm" in result.out


@pytest.mark.usefixtures("guest")
def test_a_command_of_a_launch_that_is_not_known_is_no_pass() -> None:
    lines = Path("trace.log").read_text().splitlines()
    Path("trace.log").write_text(text_of([*lines[:5], "kvm_sev_snp_launch_vmsa vcpu 0", *lines[5:]]))
    for arguments in (["guest.toml"], []):
        result = run("replay", "trace.log", *arguments, "-q")
        assert result.status == 1
        assert (
            "trace.log:6: kvm_sev_snp_launch_vmsa is not known here, and may launch something" in result.out
        )


@pytest.mark.usefixtures("guest")
def test_a_range_tried_again_is_said() -> None:
    lines = Path("trace.log").read_text().splitlines()
    Path("trace.log").write_text(text_of([*lines[:4], lines[3], *lines[4:]]))
    result = run("replay", "trace.log", "guest.toml")
    assert result.status == 0
    assert "note: 1 update tried again by QEMU, and counted once" in result.out
    assert "4, 5  firmware" in result.out


@pytest.mark.usefixtures("guest")
def test_a_launch_of_nothing_has_no_table() -> None:
    lines = Path("trace.log").read_text().splitlines()
    Path("trace.log").write_text(text_of([*lines[:3], *lines[-2:]]))
    result = run("replay", "trace.log")
    assert result.status == 0
    assert "origin" not in result.out


def test_one_target_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guest = launching_guest(tmp_path, vcpu={"count": [1, 2, 3, 4], "model": "EPYC-v4"})
    Path("trace.log").write_text(qemu_trace(guest.plan(guest.targets[1])))
    refused = run("replay", "trace.log", "guest.toml")
    assert refused.status == 2
    assert "guest.toml: 4 targets, and one was launched: snp/qemu/EPYC-v4/vcpus1, " in refused.err
    assert "hint: --target LABEL picks one" in refused.err
    result = run("replay", "trace.log", "guest.toml", "--target", "vcpus2")
    assert result.status == 0
    assert "2 VMSAs not in the trace" in result.out
    assert run("replay", "trace.log", "guest.toml", "--set", "vcpu.count=2").status == 0


@pytest.mark.usefixtures("guest")
def test_a_bundle_is_a_guest() -> None:
    assert run("build", "guest.toml", "-o", "dist", "-q").status == 0
    result = run("replay", "trace.log", "dist", "-q")
    assert result.status == 0, result.err
    assert run("replay", "trace.log", "dist/bundle.json", "-q").out == result.out
    for option in (["--set", "vcpu.count=1"], ["--locked"]):
        assert run("replay", "trace.log", "dist", *option).status == 2
    Path("dist/guest.toml").write_text("")
    assert run("replay", "trace.log", "dist").status in (1, 2)


@pytest.mark.usefixtures("guest")
def test_a_bundle_of_one_target_is_that_launch() -> None:
    counts = ("--set", "vcpu.count=[1, 2]")
    assert run("build", "guest.toml", "-o", "some", "-q", *counts, "--target", "vcpus1").status == 0
    result = run("replay", "trace.log", "some", "-q")
    assert "held to snp/qemu/EPYC-v4/vcpus1" in result.out, result.err


def test_an_igvm_file_is_a_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pages = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in (32, 33, 40)]
    write_file(tmp_path, SNP, GuestPolicy(0xB0000, 1), *pages, BSP)
    file = ForeignFile("guest.igvm")
    loaded = file.launches(ForeignLaunch(("qemu",), "snp"))
    Path("trace.log").write_text(qemu_trace(loaded[0].plan))
    result = run("replay", "trace.log", "guest.igvm", "--loader", "qemu", "--mode", "snp", "-q")
    assert result.status == 0, result.out + result.err
    several = run("replay", "trace.log", "guest.igvm", "-q")
    assert several.status == 2
    assert "for an IGVM file --loader NAME as well" in several.err


@pytest.mark.usefixtures("guest")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "x"], "--target is for a GUEST, and none is given"),
        (["--set", "vcpu.count=1"], "--set is for a GUEST, and none is given"),
        (["--loader", "qemu"], "--loader is for a GUEST, and none is given"),
        (["--vcpus", "2"], "--vcpus is for a GUEST, and none is given"),
        (["--locked"], "--locked is for a GUEST, and none is given"),
        (["--lock", "x"], "--lock is for a GUEST, and none is given"),
        (["guest.toml", "--vcpus", "2"], "--vcpus is for IGVM files"),
        (["guest.toml", "-f", "yaml"], "--format yaml: unknown value"),
        (["none.toml"], "cannot read none.toml"),
    ],
)
def test_an_option_without_effect_is_refused(arguments: list[str], message: str) -> None:
    result = run("replay", "trace.log", *arguments)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


@pytest.mark.usefixtures("guest")
def test_what_is_no_trace_ends_with_2() -> None:
    for name in ("OVMF.fd", "vmlinuz", "guest.toml", "none.log"):
        result = run("replay", name, "guest.toml")
        assert (result.status, result.out) == (2, "")
        assert name in result.err


def test_a_plan_that_is_refused_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guest = launching_guest(tmp_path)
    Path("trace.log").write_text(qemu_trace(guest.plan(guest.targets[0])))
    result = run("replay", "trace.log", "guest.toml", "--set", "launch.policy=0x2030000000000000")
    assert result.status == 2
    assert result.out == ""


def test_the_schema_is_printed() -> None:
    result = run("schema", "--of", "trace")
    assert result.status == 0
    jsonschema.Draft7Validator.check_schema(json.loads(result.out))

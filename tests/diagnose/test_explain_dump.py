"""A kernel log with the VMSAs of the launch makes of a search for registers a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.diagnose.dumped import Dumped
from sevbuild.diagnose.launches import Launches
from sevbuild.diagnose.starts import subject_of_guest
from sevbuild.guest.guest import load_guest
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import Planner
from sevbuild.launch.region_data import chunks
from sevbuild.vcpu.save_area import FIELDS
from tests.cli.test_explain import NOTHING, OTHER, QUICK, digest, document, first_error, guest_in
from tests.support.cli import run
from tests.support.kernel_log import vmsa_log

WHERE = {field.name: field.offset for field in FIELDS}


@pytest.fixture(name="guest")
def _guest(tmp_path: Path) -> Path:
    return guest_in(tmp_path, vcpu={"count": 2})


def plan_of(guest: Path, **settings: Any) -> LaunchPlan:
    loaded = load_guest(str(guest), settings=settings)
    return loaded.plan(loaded.targets[0])


def pages_of(plan: LaunchPlan) -> list[bytes]:
    return [b"".join(chunks(update.data or b"")) for update in plan.vmsas]


def written(folder: Path, pages: list[bytes], size: int = 1648) -> Path:
    log = folder / "dmesg.txt"
    log.write_text(vmsa_log(pages, size, "[  1.5] "))
    return log


def test_what_the_log_has_is_compared_and_named(guest: Path) -> None:
    log = written(guest.parent, pages_of(plan_of(guest, **{"vcpu.model": "EPYC-Milan"})))
    wanted = digest(guest, "--set", "vcpu.model=EPYC-Milan", target="vcpus2")
    found = document(guest, wanted, "--vmsa-dump", log)
    assert found["vmsa_dump"]["equal"] is False
    assert found["vmsa_dump"]["differences"][0]["registers"] == [
        {"name": "rdx", "guest": "0x800f12", "dump": "0xa00f11"}
    ]
    assert found["explanations"][0]["settings"].keys() == {"cpu"}
    text = run("explain", "-q", guest, wanted, "--vmsa-dump", log).out
    assert f"{log}: registers differ: rdx (vCPU 0, 1)" in text


def test_registers_that_no_rule_knows_are_the_cause(guest: Path) -> None:
    """Hold a log to a launch that no search could find: a register of no known host."""
    plan = plan_of(guest)
    at = WHERE["r9"]
    pages = [page[:at] + b"\x5a\xa5" * 4 + page[at + 8 :] for page in pages_of(plan)]
    (start,) = subject_of_guest(load_guest(str(guest)), []).starts
    dumped = Dumped(start.setup, tuple(pages))
    wanted = Launches().digest(dumped).hex()
    found = document(guest, wanted, "--vmsa-dump", written(guest.parent, pages), *QUICK)
    (explanation,) = found["explanations"]
    label = "snp/qemu/EPYC-v4/vcpus2"
    assert explanation["sentence"] == f"{label}: the launch that was measured has other registers (r9)"
    assert explanation["evidence"]["origin"] == "vmsa 0"
    assert explanation["evidence"]["differs"] == ["r9: 0x0 -> 0xa55aa55aa55aa55a"]
    assert (found["excluded"], found["next"]) == ([], [])


def test_what_comes_before_the_vmsas_is_searched_with_those_of_the_log(guest: Path) -> None:
    plan = plan_of(guest, **{"kernel.cmdline": "console=ttyS0 quiet "})
    at = WHERE["r9"]
    pages = [page[:at] + b"\1" * 8 + page[at + 8 :] for page in pages_of(plan)]
    other = load_guest(str(guest), settings={"kernel.cmdline": "console=ttyS0 quiet "})
    (start,) = subject_of_guest(other, []).starts
    wanted = Launches().digest(Dumped(start.setup, tuple(pages))).hex()
    found = document(guest, wanted, "--vmsa-dump", written(guest.parent, pages))
    (explanation,) = found["explanations"]
    assert explanation["settings"].keys() == {"cmdline"}
    assert [cause["setting"] for cause in explanation["changes"]] == ["cmdline", "registers"]


def test_a_log_of_more_vcpus_with_other_registers(guest: Path) -> None:
    at = WHERE["r9"]
    own = pages_of(plan_of(guest))
    pages = [page[:at] + b"\2" * 8 + page[at + 8 :] for page in (*own, own[1])]
    (start,) = subject_of_guest(load_guest(str(guest)), []).starts
    wanted = Launches().digest(Dumped(start.setup, tuple(pages))).hex()
    found = document(guest, wanted, "--vmsa-dump", written(guest.parent, pages), *QUICK)
    assert found["sentence"].endswith("has 3 vCPUs instead of 2 and other registers (r9)")


def test_a_log_proves_what_is_not_the_cause(guest: Path) -> None:
    log = written(guest.parent, pages_of(plan_of(guest)))
    found = document(guest, NOTHING, "--vmsa-dump", log)
    assert (found["result"], found["vmsa_dump"]["equal"]) == ("not-found", True)
    assert "with the VMSAs of the log: firmware or kernel hashes differ" in found["excluded"][0]
    assert "vCPU count" not in found["excluded"][0]
    assert not any("--vmsa-dump" in line for line in found["next"])


def test_a_firmware_that_was_named_was_tried_with_the_log(guest: Path) -> None:
    other = guest.parent / "other.fd"
    other.write_bytes(OTHER)
    log = written(guest.parent, pages_of(plan_of(guest)))
    found = document(guest, NOTHING, "--vmsa-dump", log, "--firmware", other, *QUICK)
    assert found["result"] == "not-found"
    assert not any("no other firmware" in line for line in found["not_covered"])
    assert not any("--firmware" in line for line in found["next"])


def test_a_shorter_dump_of_an_older_kernel(guest: Path) -> None:
    plan = plan_of(guest)
    wanted = digest(guest, target="vcpus2")
    found = document(guest, wanted, "--vmsa-dump", written(guest.parent, pages_of(plan), 1032))
    assert (found["result"], found["vmsa_dump"]["compared_bytes"]) == ("equal", 1032)
    more = written(guest.parent, [*pages_of(plan), pages_of(plan)[1]], 1032)
    found = document(guest, digest(guest, "--set", "vcpu.count=3", target="vcpus3"), "--vmsa-dump", more)
    assert found["explanations"][0]["settings"].keys() == {"vcpus"}
    assert found["vmsa_dump"]["vcpus"] == {"guest": 2, "dump": 3}


def test_a_log_is_of_one_launch(guest: Path) -> None:
    published = guest.parent / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    log = written(guest.parent, pages_of(plan_of(guest)))
    result = run("explain", "-q", guest, published, "--vmsa-dump", log)
    assert (result.status, result.out) == (2, "")
    assert first_error(result).startswith("error: --vmsa-dump is of one launch")
    sev = guest_in(guest.parent, launch={"mode": "sev", "policy": 1})
    plain = run("explain", "-q", sev, "ab" * 32, "--vmsa-dump", log)
    assert "a launch in mode sev has no VMSA to compare with" in plain.err


def test_a_launch_with_vmsas_of_a_log_has_as_many_vcpus(guest: Path) -> None:
    (start,) = subject_of_guest(load_guest(str(guest)), []).starts
    planner = Planner()
    pages = tuple(pages_of(start.setup.plan(planner)))
    dumped = Dumped(start.setup, pages)
    assert (dumped.mode, dumped.vcpus, dumped.counted_in_body) == ("snp", 2, False)
    assert dumped.with_vcpus(7) == dumped
    assert dumped.body(planner) == start.setup.body(planner)
    assert (dumped.tail(planner).pages, dumped.tail(planner).further) == (pages, None)
    assert Launches().digest(dumped) == start.digest


def test_the_answer_is_json(guest: Path) -> None:
    log = written(guest.parent, pages_of(plan_of(guest)))
    result = run("explain", "-q", guest, digest(guest, target="vcpus2"), "--vmsa-dump", log, "-f", "json")
    assert json.loads(result.out)["vmsa_dump"]["source"] == str(log)

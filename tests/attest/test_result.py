"""Verdicts: when one holds, what it claims, and how it stands in JSON."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.check_names import CHECKS, NEVER_WAIVED
from sevbuild.attest.named_target import NamedTarget
from sevbuild.attest.result import Verdict, required_checks, verdict_document
from sevbuild.attest.verdict import Check, failed, not_checked, passed
from tests.attest.reports import report

AT = datetime(2026, 6, 1, 12, 30, 15, 999, tzinfo=timezone.utc)
TARGET = NamedTarget("acme-guest", "1.4.0", "snp/qemu/EPYC-Milan/vcpus8", "snp", b"\1" * 48, 0x30000)
REQUIRED = frozenset({"signature", "measurement", "policy", "chip-id"})
PLAIN = {"instance-identity": 2, "configuration": 2, "executables": 3, "hardware": 2}


def verdict(*changes: Check, **more: Any) -> Verdict:
    """Return a verdict of one passed check a claim, with these in their place or beside them."""
    names = ("signature", "measurement", "policy", "chip-id")
    checks = {name: passed(name, "right") for name in names} | {check.name: check for check in changes}
    plain = Verdict(
        "report.bin", "report", report(), tuple(checks.values()), REQUIRED, TARGET, "AMD's ARK", AT, at_given=True
    )  # fmt: skip
    return plain._replace(**more)


def wrong(name: str) -> Check:
    return failed(name, "wrong", "this", "that")


def unmade(name: str) -> Check:
    return not_checked(name, "nothing was given", "this")


@pytest.mark.parametrize(
    ("checks", "holds", "status", "claims"),
    [
        ((), True, "affirming", {}),
        ((unmade("report-data"), unmade("minimum-tcb")), True, "affirming", {}),
        ((unmade("chip-id"),), False, "contraindicated", {"instance-identity": 97}),
        ((unmade("measurement"),), False, "warning", {"executables": 33}),
        ((unmade("policy"),), False, "warning", {"configuration": 36}),
        ((unmade("signature"),), False, "contraindicated", {"hardware": 97}),
        ((wrong("measurement"),), False, "warning", {"executables": 33}),
        ((wrong("policy"),), False, "contraindicated", {"configuration": 96}),
        ((wrong("vmpl"),), False, "contraindicated", {"configuration": 96}),
        ((wrong("report-data"),), False, "contraindicated", {"instance-identity": 97}),
        ((wrong("signature"),), False, "contraindicated", {"hardware": 99}),
        ((wrong("chain"), wrong("minimum-tcb")), False, "contraindicated", {"hardware": 99}),
        ((wrong("validity"),), False, "contraindicated", {"hardware": 97}),
        ((wrong("minimum-tcb"),), False, "warning", {"hardware": 32}),
        ((wrong("minimum-launch-tcb"), wrong("mitigations")), False, "warning", {"hardware": 32}),
        ((wrong("firmware-version"), wrong("tcb-order")), False, "contraindicated", {"hardware": 97}),
        # A failure says more than what was not checked beside it.
        ((wrong("minimum-tcb"), unmade("signature")), False, "warning", {"hardware": 32}),
    ],
)
def test_what_a_verdict_claims(
    checks: tuple[Check, ...], holds: bool, status: str, claims: dict[str, int]
) -> None:
    found = verdict(*checks)
    assert found.holds is holds
    assert found.trustworthiness == {**PLAIN, **claims}
    assert found.status == status


def test_nothing_is_claimed_of_what_nobody_looked_at() -> None:
    alone = verdict(checks=(passed("signature", "right"), unmade("report-data")), required=frozenset())
    assert alone.trustworthiness == {**dict.fromkeys(PLAIN, 0), "hardware": 2}
    assert (alone.holds, alone.status) == (True, "affirming")
    # A check that is required and not there at all is none that was made.
    assert not verdict(checks=(passed("signature", "right"),)).holds
    empty = verdict(checks=(), required=frozenset())
    assert set(empty.trustworthiness.values()) == {0}


def test_what_was_not_made_is_told_apart() -> None:
    found = verdict(unmade("report-data"), unmade("policy"), wrong("vmpl"))
    assert [check.name for check in found.failed] == ["vmpl"]
    assert [check.name for check in found.unchecked] == ["policy", "report-data"]
    assert [check.name for check in found.missing] == ["policy"]


def test_which_checks_are_required() -> None:
    default = {name for name, kind in CHECKS.items() if kind.required}
    assert default >= {
        "signature",
        "chain",
        "validity",
        "reported-tcb",
        "chip-id",
        "measurement",
        "vmpl",
        "policy",
    }
    assert default.isdisjoint({"report-data", "revocation", "minimum-tcb", "csp-id", "reserved"})
    assert default >= set(NEVER_WAIVED)
    assert required_checks(AppraisalPolicy(), vlek=False) == default
    assert required_checks(AppraisalPolicy(), vlek=True) == default - {"chip-id"}
    policy = AppraisalPolicy(
        required=frozenset({"report-data"}), waived=frozenset({"measurement"}), unknown_versions=True
    )
    wanted = default - {"measurement", "version"} | {"report-data"}
    assert required_checks(policy, vlek=False) == wanted
    # Who asks for the chip is not content with a VLEK.
    asked = AppraisalPolicy(required=frozenset({"chip-id"}))
    assert required_checks(asked, vlek=True) == default


def test_a_verdict_in_json() -> None:
    found = verdict(unmade("report-data"), wrong("vmpl"), notes=("ignored: x",))
    whole = verdict_document([verdict(), found])
    assert {key: whole[key] for key in ("schema", "status", "verified")} == {
        "schema": 1,
        "status": "contraindicated",
        "verified": False,
    }
    entry = dict(whole["reports"][1])
    assert entry.pop("report")["vmpl"] == 0
    checks = {check.pop("name"): check for check in entry.pop("checks")}
    assert list(checks) == ["signature", "measurement", "policy", "chip_id", "report_data", "vmpl"]
    assert checks["report_data"] == {
        "status": "not_checked",
        "required": False,
        "reason": "nothing was given",
        "found": "this",
        "wanted": None,
    }
    assert checks["policy"]["required"] is True
    assert checks["policy"]["found"] is None
    assert checks["vmpl"]["wanted"] == "that"
    assert entry == {
        "source": "report.bin",
        "form": "report",
        "status": "contraindicated",
        "verified": False,
        "trustworthiness": {
            "instance_identity": 2,
            "configuration": 96,
            "executables": 3,
            "hardware": 2,
        },
        "target": {"guest": "acme-guest", "version": "1.4.0", "label": "snp/qemu/EPYC-Milan/vcpus8"},
        "trust_anchor": "AMD's ARK",
        "at": "2026-06-01T12:30:15Z",
        "not_checked": ["report_data"],
        "notes": ["ignored: x"],
    }
    alone = verdict_document([verdict(unmade("measurement"), target=None, trust_anchor="")])
    assert (alone["status"], alone["verified"]) == ("warning", False)
    assert (alone["reports"][0]["target"], alone["reports"][0]["trust_anchor"]) == (None, None)
    assert verdict_document([verdict()])["status"] == "affirming"

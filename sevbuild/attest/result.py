"""The verdict on one report: every check, which target was measured, by whose root, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sevbuild.attest.check_names import CHECKS
from sevbuild.attest.verdict import Check
from sevbuild.text import time_text

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.report import Report

__all__ = ["VERDICT_SCHEMA", "EarStatus", "Verdict", "required_checks", "verdict_document"]

VERDICT_SCHEMA = 1
"""The version of the JSON verdict's shape."""

EarStatus = Literal["affirming", "warning", "contraindicated"]
"""A tier of AR4SI (draft-ietf-rats-ar4si, 2.3.2), as `ear.status` of an EAR has it."""

_TIERS: tuple[tuple[int, EarStatus], ...] = ((96, "contraindicated"), (32, "warning"), (2, "affirming"))

_AFFIRMED = {"instance-identity": 2, "configuration": 2, "executables": 3, "hardware": 2}
_UNKNOWN = {"instance-identity": 97, "configuration": 36, "executables": 33, "hardware": 97}
_REFUSED = {"instance-identity": 97, "configuration": 96, "executables": 33, "hardware": 97}
_NO_CLAIM, _CRYPTO_FAILED = 0, 99
"""Values of AR4SI (2.3.3): 2 trustworthy, approved or genuine; 3 approved boot; 33 unrecognized executables;
36 a configuration that could not be learnt; 96 one that is unsupportable; 97 unrecognized; 99 cryptographic
validation failed."""

_CRYPTO = frozenset({"signature", "chain"})
_OUTDATED = frozenset({"minimum-tcb", "minimum-launch-tcb", "firmware-version", "mitigations"})
_OUTDATED_HARDWARE = 32
"""Genuine hardware with known vulnerabilities: what a minimum is for."""


class Verdict(NamedTuple):
    """The verdict on one report. `required` names the checks without which it does not hold.

    `at` is the time of the verdict in UTC; `at_given` tells whether it was given or read from a clock.
    `notes` say what was left aside, such as certificates that were not needed. `form` is that of the
    evidence, one of FORMS (attest/evidence.py).
    """

    source: str
    form: str
    report: Report
    checks: tuple[Check, ...]
    required: frozenset[str]
    target: NamedTarget | None
    trust_anchor: str
    at: datetime
    at_given: bool
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """Return the checks that failed."""
        return [check for check in self.checks if check.status == "fail"]

    @property
    def unchecked(self) -> list[Check]:
        """Return the checks that were not made."""
        return [check for check in self.checks if check.status == "not checked"]

    @property
    def missing(self) -> list[Check]:
        """Return the checks that were not made though they are required."""
        return [check for check in self.unchecked if check.name in self.required]

    @property
    def holds(self) -> bool:
        """Tell whether no check failed and every required one was made."""
        made = {check.name for check in self.checks if check.status == "pass"}
        return not self.failed and self.required <= made

    @property
    def trustworthiness(self) -> dict[str, int]:
        """Return AR4SI's claims with their values; no claim is made where nothing of it was checked."""
        return {claim: self._claim(claim) for claim in _AFFIRMED}

    @property
    def status(self) -> EarStatus:
        """Return the worst tier of the claims; a verdict that does not hold affirms nothing."""
        worst = max(self.trustworthiness.values())
        found = next((status for least, status in _TIERS if worst >= least), _TIERS[-1][1])
        return found if self.holds or found != "affirming" else "warning"

    def _claim(self, claim: str) -> int:
        own = [check for check in self.checks if CHECKS[check.name].claim == claim]
        wrong = {check.name for check in own if check.status == "fail"}
        if wrong & _CRYPTO:
            return _CRYPTO_FAILED
        if wrong:
            return _OUTDATED_HARDWARE if wrong <= _OUTDATED else _REFUSED[claim]
        if any(check.status == "not checked" and check.name in self.required for check in own):
            return _UNKNOWN[claim]
        return _AFFIRMED[claim] if any(check.status == "pass" for check in own) else _NO_CLAIM


def required_checks(policy: AppraisalPolicy, *, vlek: bool) -> frozenset[str]:
    """Return which checks must have been made: those of the defaults and of the policy, less what it waives.

    A VLEK is of a provider and names no chip.
    """
    names = {name for name, kind in CHECKS.items() if kind.required}
    if vlek:
        names.discard("chip-id")
    if policy.unknown_versions:
        names.discard("version")
    return frozenset((names | policy.required) - policy.waived)


def verdict_document(verdicts: Iterable[Verdict], faults: Mapping[str, str] = {}) -> dict[str, Any]:
    """Return verdicts, of one report or more, as JSON: what docs/verifying.md lists.

    `faults` say of paths why no report could be judged there: then not every report is verified.
    """
    reports = [_report_entry(verdict) for verdict in verdicts]
    order = [status for _, status in _TIERS]
    found = [entry["status"] for entry in reports] + (["warning"] if faults else [])
    return {
        "schema": VERDICT_SCHEMA,
        "status": min(found, key=order.index),
        "verified": not faults and all(entry["verified"] for entry in reports),
        "reports": reports,
        "faults": [{"source": source, "fault": fault} for source, fault in faults.items()],
    }


def _report_entry(verdict: Verdict) -> dict[str, Any]:
    from sevbuild.attest.describe import describe_report

    target = verdict.target
    return {
        "source": verdict.source,
        "form": verdict.form,
        "status": verdict.status,
        "verified": verdict.holds,
        "trustworthiness": {_json(claim): value for claim, value in verdict.trustworthiness.items()},
        "target": None
        if target is None
        else {"guest": target.guest, "version": target.version, "label": target.label},
        "trust_anchor": verdict.trust_anchor or None,
        "at": time_text(verdict.at),
        "checks": [
            {
                "name": _json(check.name),
                "status": _json(check.status),
                "required": check.name in verdict.required,
                "reason": check.reason,
                "found": check.found or None,
                "wanted": check.wanted or None,
            }
            for check in verdict.checks
        ],
        "not_checked": [_json(check.name) for check in verdict.unchecked],
        "notes": list(verdict.notes),
        "report": describe_report(verdict.report),
    }


def _json(word: str) -> str:
    return word.replace("-", "_").replace(" ", "_")

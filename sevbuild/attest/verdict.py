"""What checking gives: for each check whether it passed, failed or was not made, and why."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Check", "Status", "failed", "not_checked", "passed"]

Status = Literal["pass", "fail", "not checked"]
"""The outcome of a check; one that was not made is never a pass."""


class Check(NamedTuple):
    """One check: `name` is a claim's, as JSON and the appraisal policy spell it, `reason` one line.

    `found` is what the evidence has, and `wanted` what it was held to, as text; empty where there is none.
    """

    name: str
    status: Status
    reason: str
    found: str = ""
    wanted: str = ""


def passed(name: str, reason: str, found: str = "", wanted: str = "") -> Check:
    """Return a check that passed."""
    return Check(name, "pass", reason, found, wanted)


def failed(name: str, reason: str, found: str = "", wanted: str = "") -> Check:
    """Return a check that failed."""
    return Check(name, "fail", reason, found, wanted)


def not_checked(name: str, reason: str, found: str = "") -> Check:
    """Return a check that was not made; `reason` says what it would have taken."""
    return Check(name, "not checked", reason, found)

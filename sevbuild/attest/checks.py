"""A report held to an appraisal policy: every check that is not of the certificates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sevbuild.attest.guest_checks import check_guest
from sevbuild.attest.platform_checks import check_platform
from sevbuild.attest.report import NEWEST_VERSION, OLDEST_VERSION, reserved_set
from sevbuild.attest.verdict import Check, failed, not_checked, passed

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.product import Product
    from sevbuild.attest.report import Report

__all__ = ["check_measurement", "check_report"]


def check_report(
    report: Report, policy: AppraisalPolicy, targets: Sequence[NamedTarget], product: Product | None
) -> tuple[list[Check], NamedTarget | None]:
    """Return the checks of a report's fields, and which of the published targets was measured.

    `product` is the report's, or the one that was given of a report that does not say.
    """
    measured, target = check_measurement(report, policy, targets)
    checks = [
        _version(report),
        _reserved(report, policy, product),
        *check_platform(report, policy, product),
        measured,
    ]
    return [*checks, *check_guest(report, policy, target)], target


def check_measurement(
    report: Report, policy: AppraisalPolicy, targets: Sequence[NamedTarget]
) -> tuple[Check, NamedTarget | None]:
    """Return whether MEASUREMENT is the launch digest of an accepted target, and which target that is.

    Of several targets with one digest the first whose guest policy is the report's is taken.
    """
    found = report.measurement.hex()
    same = [target for target in targets if target.mode == "snp" and target.digest == report.measurement]
    same.sort(key=lambda target: (bool(target.refused), target.policy != report.policy))
    if same and not same[0].refused:
        also = [target.name for target in same[1:] if not target.refused and target.policy == same[0].policy]
        more = f", and of {len(also)} more" if also else ""
        return passed("measurement", f"the launch digest of {same[0].name}{more}", found), same[0]
    if report.measurement in policy.measurements:
        return passed("measurement", "a launch digest that was given by itself", found), None
    if same:
        return failed("measurement", f"that of {same[0].name}: {same[0].refused}", found), None
    return _of_none(found, policy, targets), None


def _of_none(found: str, policy: AppraisalPolicy, targets: Sequence[NamedTarget]) -> Check:
    """Return the check of a MEASUREMENT (hex) that is no accepted launch digest."""
    name = "measurement"
    accepted = [
        (f"the launch digest of {target.name}", target.digest)
        for target in targets
        if target.mode == "snp" and not target.refused
    ]
    accepted += [("the launch digest that was given", digest) for digest in policy.measurements]
    if len(accepted) == 1:
        ((what, digest),) = accepted
        return failed(name, f"not {what}", found, digest.hex())
    if accepted:
        return failed(name, f"not any of {len(accepted)} launch digests", found)
    if targets:
        refused = any(target.refused for target in targets)
        why = "the appraisal policy accepts no target" if refused else "no target has mode snp"
        return failed(name, why, found)
    return not_checked(name, "nothing to hold it to was given (--against PATH, --expect HEX)", found)


def _version(report: Report) -> Check:
    found = str(report.version)
    if OLDEST_VERSION <= report.version <= NEWEST_VERSION:
        return passed("version", f"version {found}", found)
    reason = f"version {found} is unknown: read as version {NEWEST_VERSION}"
    return not_checked("version", reason, found)


def _reserved(report: Report, policy: AppraisalPolicy, product: Product | None) -> Check:
    fields = reserved_set(report, product)
    if not fields:
        return passed("reserved", "every reserved field is zero")
    found = ", ".join(fields)
    if policy.strict:
        return failed("reserved", f"set: {found}")
    return not_checked("reserved", f"set, for which --strict would refuse the report: {found}", found)

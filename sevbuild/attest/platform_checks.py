"""The platform of a report held to an appraisal policy: TCBs, firmware, PLATFORM_INFO, mitigations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.attest.platform_info import platform_info_names
from sevbuild.attest.verdict import Check, failed, not_checked, passed

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.product import Product, Tcb
    from sevbuild.attest.report import Report

__all__ = ["check_platform"]


def check_platform(report: Report, policy: AppraisalPolicy, product: Product | None) -> list[Check]:
    """Return the checks of what runs below the guest; without a product no TCB can be read."""
    return [
        *_tcbs(report, policy, product),
        _firmware(report, policy),
        _provisional(report, policy),
        _platform(report, policy),
        _mitigations(report, policy),
    ]


def _tcbs(report: Report, policy: AppraisalPolicy, product: Product | None) -> list[Check]:
    names = ("tcb-order", "minimum-tcb", "minimum-launch-tcb")
    if product is None:
        reason = "the report does not say its product, on which the layout of a TCB depends (--product NAME)"
        return [not_checked(name, reason) for name in names]
    reported, committed, current, launch = (
        product.tcb(version)
        for version in (report.reported_tcb, report.committed_tcb, report.current_tcb, report.launch_tcb)
    )
    order = f"{reported} <= {committed} <= {current}"
    right = committed.covers(reported) and current.covers(committed)
    found = [
        passed("tcb-order", "reported <= committed <= current", order)
        if right
        else failed("tcb-order", "not reported <= committed <= current", order)
    ]
    for name, tcb, minima in (
        ("minimum-tcb", reported, policy.minimum_tcb),
        ("minimum-launch-tcb", launch, policy.minimum_launch_tcb),
    ):
        found.append(_minimum(name, tcb, minima.get(product.name), product, given=bool(minima)))
    return found


def _minimum(name: str, tcb: Tcb, least: Tcb | None, product: Product, *, given: bool) -> Check:
    if least is None and not given:
        reason = f"no minimum was given ([{name}.{product.name}] of an appraisal policy)"
        return not_checked(name, reason, str(tcb))
    if least is None:
        return failed(name, f"the appraisal policy has none for {product.name}", str(tcb))
    if tcb.covers(least):
        return passed(name, "no part is below the minimum", str(tcb), str(least))
    below = [
        f"{part} {tcb.parts[part]}, at least {number}"
        for part, number in least.parts.items()
        if part in tcb.parts and tcb.parts[part] < number
    ]
    return failed(name, f"below the minimum: {'; '.join(below)}", str(tcb), str(least))


def _firmware(report: Report, policy: AppraisalPolicy) -> Check:
    current, committed = report.current_version, report.committed_version
    found = f"{current}, committed {committed}"
    least = policy.firmware_version
    if least is None:
        return not_checked("firmware-version", "no minimum was given (platform.firmware-version)", found)
    if min(current, committed) >= least:
        return passed("firmware-version", f"at least {least}", found, str(least))
    return failed("firmware-version", f"older than {least}", found, str(least))


def _provisional(report: Report, policy: AppraisalPolicy) -> Check:
    # By the versions alone: microcode that is newer than what was committed (AWS has that) is no firmware to
    # which the host could go back, and tcb-order shows it.
    found = f"{report.current_version}, committed {report.committed_version}"
    if report.current_version == report.committed_version:
        return passed("provisional-firmware", "the firmware that runs is committed", found)
    if policy.provisional_firmware:
        return passed("provisional-firmware", "not committed yet, which the appraisal policy accepts", found)
    reason = "the host can still go back to the committed firmware (platform.provisional-firmware accepts it)"
    return failed("provisional-firmware", reason, found)


def _platform(report: Report, policy: AppraisalPolicy) -> Check:
    names = platform_info_names(report.platform_info)
    found = f"{report.platform_info:#x} ({', '.join(names) or 'none'})"
    if not policy.platform_required and not policy.platform_forbidden:
        return not_checked("platform-info", "no bits were asked for (platform.required, .forbidden)", found)
    wrong = [f"{name} is clear" for name in policy.platform_required if name not in names]
    wrong += [f"{name} is set" for name in policy.platform_forbidden if name in names]
    if wrong:
        return failed("platform-info", ", ".join(wrong), found)
    return passed("platform-info", "every bit is as required", found)


def _mitigations(report: Report, policy: AppraisalPolicy) -> Check:
    asked = (policy.launch_mitigations, policy.current_mitigations)
    vectors = (report.launch_mit_vector, report.current_mit_vector)
    found = "none" if None in vectors else f"launch {vectors[0]:#x}, current {vectors[1]:#x}"
    wanted = f"launch {asked[0]:#x}, current {asked[1]:#x}"
    if not any(asked):
        reason = "none were asked for (platform.launch-mitigations, .current-mitigations)"
        return not_checked("mitigations", reason, found)
    missing = [
        f"{when} {bits & ~(vector or 0):#x}"
        for when, bits, vector in zip(("launch", "current"), asked, vectors, strict=True)
        if bits & ~(vector or 0)
    ]
    if not missing:
        return passed("mitigations", "every one that is required is there", found, wanted)
    why = f" (a version {report.version} report has none)" if None in vectors else ""
    return failed("mitigations", f"missing at {', '.join(missing)}{why}", found, wanted)

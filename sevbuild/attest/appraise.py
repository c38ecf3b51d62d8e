"""An appraisal: a report and its certificates, held to an appraisal policy and to what was published."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.attest.chain import check_chain
from sevbuild.attest.check_names import CHECKS
from sevbuild.attest.checks import check_report
from sevbuild.attest.result import Verdict, required_checks
from sevbuild.attest.verdict import Check, failed, not_checked, passed

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.certificate import Certificate
    from sevbuild.attest.chain import Chain
    from sevbuild.attest.crl import Crl
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.product import Product
    from sevbuild.attest.report import Report

__all__ = ["Origin", "Trust", "appraise_report"]


class Origin(NamedTuple):
    """What a report came in: `form` is that of the evidence, `notes` are what is to be said of it.

    `checks` are those of what binds the report in it.
    """

    source: str
    form: str = "report"
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


class Trust(NamedTuple):
    """What decides whose report it is: `roots` replace AMD's; `at` is the time at which all must be valid.

    `product` is what a report that does not say it is taken for. `at_given` tells whether the time was given,
    and not read from a clock.
    """

    at: datetime
    at_given: bool = True
    roots: tuple[Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()
    product: Product | None = None


def appraise_report(
    report: Report,
    certificates: Sequence[Certificate],
    policy: AppraisalPolicy,
    targets: Sequence[NamedTarget],
    trust: Trust,
    origin: Origin,
) -> Verdict:
    """Return the verdict on a report; `certificates` are those given of its key, in any order."""
    chain = check_chain(
        report, certificates, product=trust.product, at=trust.at, roots=trust.roots, crls=trust.crls
    )
    checks, target = check_report(report, policy, targets, chain.product)
    if origin.checks:
        checks = [_bound(check) for check in checks]
    checks += [_narrowed(check, report, chain, policy) for check in chain.checks]
    checks += [*_provider(chain, policy), *origin.checks]
    vlek = chain.facts is not None and chain.facts.kind == "VLEK"
    required = required_checks(policy, vlek=vlek)
    absent = required - {check.name for check in checks}
    checks += [not_checked(name, "there is nothing of it in what was given") for name in absent]
    order = list(CHECKS)
    return Verdict(
        origin.source,
        origin.form,
        report,
        tuple(sorted(checks, key=lambda check: order.index(check.name))),
        required,
        target,
        chain.trust_anchor,
        trust.at,
        trust.at_given,
        (*origin.notes, *(f"ignored: {line}" for line in chain.ignored)),
    )


def _bound(check: Check) -> Check:
    """Return a check of a report whose REPORT_DATA is Azure's: nobody can have asked for another value."""
    if check.name != "report-data" or check.status != "not checked":
        return check
    reason = "Azure binds its runtime data in it (hcl-binding); what is new is the nonce of the TPM's quote"
    return not_checked(check.name, reason, check.found)


def _narrowed(check: Check, report: Report, chain: Chain, policy: AppraisalPolicy) -> Check:
    """Return a check of the certificates, failed where the policy does not accept the chip or product."""
    if check.status == "fail":
        return check
    if check.name == "chip-id" and policy.chip_ids and report.chip_id not in policy.chip_ids:
        wanted = ", ".join(chip.hex() for chip in policy.chip_ids)
        masked = "" if any(report.chip_id) else ": the host masks CHIP_ID, or a VLEK signed the report"
        return failed("chip-id", f"not an accepted chip{masked}", report.chip_id.hex(), wanted)
    name = "" if chain.product is None else chain.product.name
    if check.name == "product" and policy.products and name not in policy.products:
        return failed("product", f"{name or 'none'} is not accepted", name, ", ".join(policy.products))
    return check


def _provider(chain: Chain, policy: AppraisalPolicy) -> list[Check]:
    """Return whether an accepted provider's VLEK signed; of a VCEK nothing where nothing was asked."""
    facts = chain.facts
    if facts is None or facts.csp_id is None:
        if not policy.csp_ids:
            return []
        if facts is None:
            return [not_checked("csp-id", "there is no certificate to read it from")]
        reason = "a VCEK signed: the certificate names no provider"
        return [failed("csp-id", reason, "", ", ".join(policy.csp_ids))]
    if not policy.csp_ids:
        return [not_checked("csp-id", "none was given (platform.csp-id)", facts.csp_id)]
    wanted = ", ".join(policy.csp_ids)
    if facts.csp_id in policy.csp_ids:
        return [passed("csp-id", "an accepted provider", facts.csp_id, wanted)]
    return [failed("csp-id", "not an accepted provider", facts.csp_id, wanted)]

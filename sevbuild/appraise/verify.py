"""Attestation reports from files, held to what is accepted: the edge around attest/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timezone
from hashlib import sha512
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.attest.appraise import Origin, Trust, appraise_report
from sevbuild.attest.result import Verdict
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import read_file

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.given import Evidence
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.product import Product
    from sevbuild.attest.report import Report
    from sevbuild.attest.verdict import Check

__all__ = ["Unjudged", "Verdicts", "parse_time", "read_trust", "sha512_of", "verify_reports"]

_CERTIFICATES_LIMIT = 16 << 20
"""No file of certificates, and no list of revoked ones, is larger."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?", re.ASCII | re.IGNORECASE)
_BOUND_LIMIT = 1 << 30
"""The largest file whose SHA-512 a report is held to."""


class Unjudged(NamedTuple):
    """A path at which no report could be judged, and why."""

    source: str
    error: SevbuildError


class Verdicts(NamedTuple):
    """The verdicts on several reports, and what could not be judged."""

    verdicts: tuple[Verdict, ...]
    unjudged: tuple[Unjudged, ...]


def sha512_of(path: str) -> bytes:
    """Return the SHA-512 of a file, which fills REPORT_DATA."""
    return sha512(read_file(path, _BOUND_LIMIT)).digest()


def read_trust(roots: Sequence[str], crls: Sequence[str], at: str, product: Product | None) -> Trust:
    """Return whose keys are trusted, and when: `at` as it was given, this machine's time where it is empty.

    Raises SevbuildError.
    """
    from sevbuild.attest.certificate import certificates_in
    from sevbuild.attest.crl import crls_in

    with within("--root", hint="a certificate in PEM or DER, which has signed itself"):
        trusted = [one for path in roots for one in certificates_in(_certificates(path), path)]
    with within("--crl", hint="`sevbuild certs fetch REPORT --crl FILE` writes such a list"):
        revoked = [one for path in crls for one in crls_in(_certificates(path), path)]
    when = parse_time(at) if at else datetime.now(timezone.utc)
    return Trust(when, bool(at), tuple(trusted), tuple(revoked), product)


def _certificates(path: str) -> bytes:
    return read_file(path, _CERTIFICATES_LIMIT)


def parse_time(text: str) -> datetime:
    """Return a day (its start in UTC), or a time of RFC 3339 with its zone; raises SevbuildError."""
    at = None
    # Python 3.11 and later read more of ISO 8601, weeks among it, and not all of that alike.
    if _TIME.fullmatch(text) is not None:
        with suppress(ValueError, OverflowError):
            found = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
            at = found.replace(tzinfo=found.tzinfo or timezone.utc).astimezone(timezone.utc)
    if at is None:
        hint = "write a day, 2026-11-25, or a time with its zone, 2026-11-25T12:00:00Z"
        raise SevbuildError(f"--at {text[:60]}: not a date", hint=hint)
    return at


def verify_reports(
    paths: Sequence[str],
    policy: AppraisalPolicy,
    targets: Sequence[NamedTarget],
    trust: Trust,
    certificates: Sequence[str] = (),
) -> Verdicts:
    """Return the verdicts on the reports at these paths, in their order; `-` is standard input.

    `certificates` are files, or folders of them. What holds no report, or has damaged certificates, costs the
    others nothing. Raises SevbuildError for what is wrong whatever the reports are.
    """
    from sevbuild.appraise.evidence import evidence_at
    from sevbuild.attest.report import decode_report

    if paths.count("-") > 1:
        raise SevbuildError("- stands for several reports", hint="standard input can be read once")
    verdicts, products, faults = list[Verdict](), [], list[Unjudged]()
    for path in paths:
        try:
            evidence = evidence_at(path)
            report = decode_report(evidence.report, path, allow_unknown_version=policy.unknown_versions)
            # An error of a certificate names that, and not of which of several reports it is.
            with within(path) if len(paths) > 1 else nullcontext():
                verdicts.append(_verdict(path, evidence, report, policy, targets, trust, certificates))
        except SevbuildError as error:
            faults.append(Unjudged(path, error))
            continue
        products.append(report.product)
    # What could not be judged may be the one that does not say its product.
    if trust.product is not None and not faults and all(product == trust.product for product in products):
        what = "the report says" if len(paths) == 1 else "each report says"
        raise SevbuildError(f"--product {trust.product.name}: {what} so itself", hint="leave it out")
    return Verdicts(tuple(verdicts), tuple(faults))


def _verdict(
    path: str,
    evidence: Evidence,
    report: Report,
    policy: AppraisalPolicy,
    targets: Sequence[NamedTarget],
    trust: Trust,
    certificates: Sequence[str],
) -> Verdict:
    """Return the verdict on one report."""
    from sevbuild.appraise.stores import gather_certificates

    product = report.product or trust.product
    found = gather_certificates(report, product, evidence.certificates, certificates)
    origin = Origin(path, evidence.form, _bound(evidence, report, policy), evidence.notes)
    return appraise_report(report, found, policy, targets, trust, origin)


def _bound(evidence: Evidence, report: Report, policy: AppraisalPolicy) -> tuple[Check, ...]:
    """Return the checks of what Azure binds to a report, none for evidence and policy without any of it."""
    if evidence.hcl is None and not policy.tpm_nonces:
        return ()
    from sevbuild.attest.hcl import check_binding, check_nonce, check_quote

    nonce = check_nonce(evidence.hcl, policy.tpm_nonces)
    if evidence.hcl is None:
        return (nonce,)
    return check_binding(evidence.hcl, report), check_quote(evidence.hcl), nonce

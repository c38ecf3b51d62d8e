"""Evidence as JSON shows it: the report's fields by their ABI names, and what came with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sevbuild.attest.anchors import ROOT_PREFIX, SIGNER_PREFIXES
from sevbuild.attest.certificate import Certificate, certificates_in, common_name, name_text
from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.hcl import HclBinding, check_binding, check_quote
from sevbuild.attest.platform_info import bit_names, platform_info_names
from sevbuild.attest.product import PRODUCTS, Product
from sevbuild.attest.report import SIGNING_KEYS, Report, decode_report, reserved_set
from sevbuild.attest.vek import decode_vek, kind_of_vek
from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS, SnpPolicy, version_text
from sevbuild.text import time_text

__all__ = ["describe_evidence", "describe_report"]

_TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_SHORT_CHIP_ID = 8


def describe_evidence(evidence: Evidence, source: str) -> dict[str, Any]:
    """Return a JSON-able description of evidence; nothing in it has been checked, but for what `hcl` says.

    Raises SevbuildError for a report that is none. A version that is not known is read all the same.
    """
    report = decode_report(evidence.report, source, allow_unknown_version=True)
    product = report.product
    return {
        "kind": "attestation-report",
        "form": evidence.form,
        "product": None if product is None else product.name,
        "report": describe_report(report),
        "reserved": reserved_set(report, product),
        "certificates": [one for given in evidence.certificates for one in _describe_given(given)],
        "hcl": None if evidence.hcl is None else _describe_hcl(evidence.hcl, report),
        "notes": list(evidence.notes),
    }


def describe_report(report: Report) -> dict[str, Any]:
    """Return the fields of a report by their ABI names.

    Numbers of 64 bits are hex strings, and objects with `value` where parts of them have names; bytes are
    lower-case hexadecimal digits. Fields that the version does not have are None, as are parts of a TCB
    where nothing tells the product.
    """
    layout = _layout(report)
    found: dict[str, Any] = {}
    for name, value in report._asdict().items():
        if name in ("raw", "signature"):
            continue
        if isinstance(value, bytes):
            found[name] = value.hex()
        elif name in _TCBS:
            parts = None if layout is None else layout.tcb(value)._asdict()
            found[name] = {"value": f"0x{value:016x}", "parts": parts}
        elif isinstance(value, tuple):
            found[name] = str(value)
        else:
            found[name] = value
    found["policy"] = {
        "value": f"{report.policy:#x}",
        "abi": version_text(SnpPolicy(report.policy).abi),
        # Bit 17 is always one.
        "bits": bit_names(report.policy & ~0x2FFFF, SNP_POLICY_BITS),
    }
    found["platform_info"] = {
        "value": f"{report.platform_info:#x}",
        "bits": platform_info_names(report.platform_info),
    }
    found["signing_key"] = SIGNING_KEYS.get(report.signing_key, str(report.signing_key))
    for name in ("launch_mit_vector", "current_mit_vector"):
        found[name] = None if found[name] is None else f"{found[name]:#x}"
    found["signature"] = {"r": f"{report.signature.r:096x}", "s": f"{report.signature.s:096x}"}
    return found


def _layout(report: Report) -> Product | None:
    """Return a product whose TCB layout the report has, None where nothing tells it.

    A chip whose id is longer than Turin's is of Milan or Genoa, which have one layout.
    """
    return report.product or (PRODUCTS[0] if any(report.chip_id[_SHORT_CHIP_ID:]) else None)


def _describe_given(given: GivenCertificate) -> list[dict[str, Any]]:
    try:
        found: Sequence[Certificate] = certificates_in(given.data, given.source)
    except SevbuildError as error:
        return [{"source": given.source, "kind": None, "fault": error.message}]
    return [_describe_certificate(one, given.source) for one in found]


def _describe_certificate(certificate: Certificate, source: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "source": source,
        "kind": _kind(certificate),
        "fault": None,
        "subject": name_text(certificate.subject),
        "issuer": name_text(certificate.issuer),
        "not_before": time_text(certificate.not_before),
        "not_after": time_text(certificate.not_after),
        "sha256": certificate.sha256.hex(),
    }
    if kind_of_vek(certificate) is None:
        return entry
    try:
        facts = decode_vek(certificate)
    except SevbuildError as error:
        return {**entry, "fault": error.message}
    return {
        **entry,
        "product_name": facts.product_name,
        "tcb": {"value": f"0x{facts.version:016x}", "parts": facts.tcb._asdict()},
        "hwid": None if facts.hwid is None else facts.hwid.hex(),
        "csp_id": facts.csp_id,
    }


def _kind(certificate: Certificate) -> str | None:
    """Return what a certificate is by its name, None for one that has none of AMD's."""
    name = common_name(certificate.subject)
    prefixes = {ROOT_PREFIX: "ARK", SIGNER_PREFIXES["VLEK"]: "ASVK", SIGNER_PREFIXES["VCEK"]: "ASK"}
    by_prefix = next((kind for prefix, kind in prefixes.items() if name.startswith(prefix)), None)
    return kind_of_vek(certificate) or by_prefix


def _describe_hcl(hcl: HclBinding, report: Report) -> dict[str, Any]:
    binding, quote = check_binding(hcl, report), check_quote(hcl)
    return {
        "algorithm": hcl.algorithm,
        "binding": {"status": binding.status, "reason": binding.reason},
        "quote": {"status": quote.status, "reason": quote.reason},
        "nonce": None if hcl.quote is None else hcl.quote.extra_data.hex(),
        "pcrs": {}
        if hcl.quote is None
        else {
            str(number): hcl.quote.pcrs[number].hex()
            for number in hcl.quote.selected
            if number < len(hcl.quote.pcrs)
        },
        "runtime": hcl.claims,
    }

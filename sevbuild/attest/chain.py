"""A report held to its signing key's certificate, and that to a root that is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sevbuild.attest.anchors import (
    ROOT_PREFIX,
    SIGNER_PREFIXES,
    Anchors,
    Signer,
    find_anchors,
    is_amd_name,
    pinned_signer,
    unknown_critical,
)
from sevbuild.attest.certificate import Certificate, common_name, name_text
from sevbuild.attest.crl import Crl
from sevbuild.attest.product import Product
from sevbuild.attest.report import SIGNING_KEYS, Report
from sevbuild.attest.revocation import check_revocation
from sevbuild.attest.vek import VEK_EXTENSIONS, VekFacts, decode_vek, kind_of_vek
from sevbuild.attest.vek_url import vcek_url
from sevbuild.attest.verdict import Check, failed, not_checked, passed
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import P384PublicKey

__all__ = ["Chain", "check_chain"]

_UNSIGNED = "none"
"""What SIGNING_KEYS calls the key of a report that nobody signed."""
_ECDSA_P384_SHA384 = 1
"""SNP ABI 10.1 (SIGNATURE_ALGO)."""


class Chain(NamedTuple):
    """What a report's certificates prove.

    `vek` is the certificate that was taken for the report's, None where none was given: `vek_url` then says
    where it is, empty where no URL leads to it. `trust_anchor` is empty where nothing leads to one.
    `ignored` has a line for each certificate that was given and not needed.
    """

    vek: Certificate | None
    facts: VekFacts | None
    product: Product | None
    checks: tuple[Check, ...]
    trust_anchor: str
    ignored: tuple[str, ...]
    vek_url: str


def check_chain(
    report: Report,
    certificates: Sequence[Certificate],
    *,
    product: Product | None,
    at: datetime,
    roots: Sequence[Certificate] = (),
    crls: Sequence[Crl] = (),
) -> Chain:
    """Return what the certificates say of a report, each check made that can be.

    `product` is what the user says, needed for a report that does not name its own. `at` (UTC) is when all
    has to be valid. `roots` replace AMD's keys; nothing in `certificates` does. Raises SevbuildError for a
    root that is none.
    """
    chosen, others = _choose(report, certificates, at)
    if chosen is None:
        return _without_vek(report, others, product)
    vek, key = chosen
    facts, fault = _facts(vek)
    anchors = find_anchors(vek, others, roots)
    kind, chain = kind_of_vek(vek), _chain(vek, anchors)
    checks = (
        _signature(report, vek.source, key),
        _signing_key(report, kind),
        chain,
        _names(vek, anchors, facts),
        _validity(vek, anchors, at),
        check_revocation(anchors, crls, at),
        failed("vek-extensions", fault)
        if facts is None
        else passed(
            "vek-extensions", f"{kind} of {facts.product_name}, structVersion {facts.struct_version}"
        ),
        _reported_tcb(report, facts),
        _chip_id(report, facts),
        _product(report, product, None if facts is None else facts.product),
    )
    named = report.product or product or (None if facts is None else facts.product)
    return Chain(
        vek,
        facts,
        named,
        checks,
        _described(anchors.keys[1]) if anchors.keys and chain.status == "pass" else "",
        tuple(_ignored(others, anchors)),
        "",
    )


def _choose(
    report: Report, certificates: Sequence[Certificate], at: datetime
) -> tuple[tuple[Certificate, P384PublicKey] | None, list[Certificate]]:
    """Return the report's certificate with its key, None where none has such a key, and all others."""
    each = list({one.sha256: one for one in certificates}.values())
    candidates = [(one, one.public_key) for one in each if isinstance(one.public_key, P384PublicKey)]
    if not candidates:
        return None, each
    wanted = SIGNING_KEYS.get(report.signing_key)

    def fitness(candidate: tuple[Certificate, P384PublicKey]) -> tuple[bool, bool, bool]:
        one, key = candidate
        return (
            kind_of_vek(one) == wanted,
            _signature(report, one.source, key).status == "pass",
            one.not_before <= at <= one.not_after,
        )

    # Of one there is nothing to find out.
    chosen = candidates[0] if len(candidates) == 1 else max(candidates, key=fitness)
    return chosen, [one for one in each if one is not chosen[0]]


def _facts(vek: Certificate) -> tuple[VekFacts | None, str]:
    """Return what the extensions say, or why nothing is to be read from them."""
    try:
        facts = decode_vek(vek)
    except SevbuildError as error:
        return None, f"{error.message} ({error.hint})" if error.hint else error.message
    unknown = unknown_critical(vek, VEK_EXTENSIONS)
    return (None, f"the critical extension {unknown} is not known") if unknown else (facts, "")


def _without_vek(report: Report, others: Sequence[Certificate], product: Product | None) -> Chain:
    """Return what is left to check where nobody gave the key's certificate."""
    named = report.product or product
    said = SIGNING_KEYS.get(report.signing_key)
    kind = said if said in ("VCEK", "VLEK") else None
    url = vcek_url(report, named) if kind == "VCEK" and named is not None else None
    why = f"no {kind or 'VCEK or VLEK'} is given"
    if url is not None:
        why += f"; `sevbuild certs fetch REPORT` brings it from {url}"
    elif kind == "VLEK":
        why += ": its provider hands it out with the report, in a certificate table"
    elif kind == "VCEK":
        why += ": to ask for it takes the product" if named is None else ": the host masks CHIP_ID"
    checks = (
        not_checked("signature", why),
        failed("signing-key", "nobody signed the report: SIGNING_KEY is 7")
        if said == _UNSIGNED
        else not_checked("signing-key", "there is no certificate"),
        *(
            not_checked(name, "there is no certificate")
            for name in ("chain", "certificate-names", "validity", "revocation", "vek-extensions")
        ),
        not_checked("reported-tcb", "there is no certificate", f"0x{report.reported_tcb:016x}"),
        not_checked("chip-id", "there is no certificate", report.chip_id.hex()),
        _product(report, product, None),
    )
    return Chain(None, None, named, checks, "", tuple(_ignored(others, Anchors(None))), url or "")


def _signature(report: Report, source: str, key: P384PublicKey) -> Check:
    name = "signature"
    if report.signature_algo != _ECDSA_P384_SHA384:
        return failed(name, f"algorithm {report.signature_algo} is not ECDSA P-384 with SHA-384, which is 1")
    try:
        point = key.public_key(source)
    except SevbuildError as error:
        return failed(name, error.message)
    if not report.signature.verifies(report.signed, point):
        return failed(name, f"it is not of the key in {source}")
    return passed(name, f"ECDSA P-384 with SHA-384, by the key in {source}")


def _signing_key(report: Report, kind: str | None) -> Check:
    name, wanted, found = "signing-key", SIGNING_KEYS.get(report.signing_key, ""), kind or ""
    if not wanted:
        return failed(name, f"it is of no key that is known: SIGNING_KEY is {report.signing_key}", found)
    if wanted == _UNSIGNED:
        return failed(name, f"nobody signed the report: SIGNING_KEY is {report.signing_key}", found)
    if kind != wanted:
        said = f"a {kind}" if kind else "neither a VCEK nor a VLEK"
        return failed(name, f"the report says {wanted}, the certificate is {said}", found, wanted)
    return passed(name, f"the report and the certificate say {kind}", found, wanted)


def _chain(vek: Certificate, anchors: Anchors) -> Check:
    if anchors.keys is None:
        return failed("chain", anchors.fault)
    signer, root = anchors.keys
    if not signer.has_signed(vek):
        whose = f"AMD's {signer.name}" if signer.pinned else signer.name
        return failed("chain", f"{vek.source} is not signed by {whose} (RSA-PSS, SHA-384)")
    way = f"{common_name(vek.subject) or vek.source} <- {signer.name} <- {root.name}"
    whose = "AMD's root" if root.pinned else "the root that is given"
    return passed("chain", f"{way}, {whose}")


def _names(vek: Certificate, anchors: Anchors, facts: VekFacts | None) -> Check:
    kind = kind_of_vek(vek)
    if kind is None or not is_amd_name(vek.subject, f"SEV-{kind}"):
        wanted = "SEV-VCEK or SEV-VLEK, of AMD"
        return failed("certificate-names", "the subject is not that of a VEK", name_text(vek.subject), wanted)
    product = common_name(vek.issuer).rpartition("-")[2]
    wanted = SIGNER_PREFIXES[kind] + (product if facts is None else facts.product.name)
    if not is_amd_name(vek.issuer, wanted):
        return failed(
            "certificate-names",
            f"the issuer is not that of a {kind}",
            name_text(vek.issuer),
            f"{wanted}, of AMD",
        )
    names = [f"SEV-{kind}", wanted]
    if anchors.keys is not None:
        signer, root = anchors.keys
        above = ROOT_PREFIX + product
        for name in (signer.issuer, root.subject, root.issuer):
            if not is_amd_name(name, above):
                what = f"the root above {wanted} has another name"
                return failed("certificate-names", what, name_text(name), f"{above}, of AMD")
        names.append(above)
    return passed("certificate-names", f"{' <- '.join(names)}, all of AMD")


def _validity(vek: Certificate, anchors: Anchors, at: datetime) -> Check:
    each = [(common_name(vek.subject) or vek.source, vek.not_before, vek.not_after)]
    each += [(key.name, key.not_before, key.not_after) for key in anchors.keys or ()]
    wanted = f"at {at:%Y-%m-%d %H:%M:%S} UTC"
    spans = ", ".join(f"{name} {first:%Y-%m-%d} to {last:%Y-%m-%d}" for name, first, last in each)
    faults = [f"{name} is not valid before {first:%Y-%m-%d}" for name, first, _last in each if at < first]
    faults += [f"{name} expired on {last:%Y-%m-%d}" for name, _first, last in each if at > last]
    if faults:
        return failed("validity", "; ".join(faults), spans, wanted)
    ends = min(last for _name, _first, last in each)
    names = ", ".join(name for name, _first, _last in each)
    return passed("validity", f"{names}: valid until {ends:%Y-%m-%d} at least", spans, wanted)


def _reported_tcb(report: Report, facts: VekFacts | None) -> Check:
    found = f"0x{report.reported_tcb:016x}"
    if facts is None:
        return not_checked("reported-tcb", "the certificate's extensions cannot be read", found)
    wanted = f"0x{facts.version:016x}"
    if found != wanted:
        return failed("reported-tcb", "the certificate is for another TCB", found, wanted)
    return passed("reported-tcb", f"the certificate is for this TCB: {facts.tcb}", found, wanted)


def _chip_id(report: Report, facts: VekFacts | None) -> Check:
    found = report.chip_id.hex()
    if facts is None:
        return not_checked("chip-id", "the certificate's extensions cannot be read", found)
    if facts.hwid is None:
        return not_checked("chip-id", "a VLEK is of a provider, not of one chip", found)
    if not any(report.chip_id):
        return not_checked("chip-id", "the host masks CHIP_ID: nothing in the report says which chip it is")
    wanted = facts.hwid.ljust(len(report.chip_id), b"\0").hex()
    if found != wanted:
        return failed("chip-id", "the certificate is of another chip", found, wanted)
    return passed("chip-id", "the certificate is of this chip", found, wanted)


def _product(report: Report, given: Product | None, certified: Product | None) -> Check:
    name, said = "product", report.product
    of_certificate = "" if certified is None else f" (its certificate is of {certified.name})"
    wanted = said or given
    if wanted is None and report.cpuid_fam_id is None:
        return failed(
            name,
            f"a report of version {report.version} does not name its product: --product does{of_certificate}",
        )
    if wanted is None:
        cpu = f"family 0x{report.cpuid_fam_id:x}, model 0x{report.cpuid_mod_id:x}"
        return failed(name, f"{cpu} is of no product that is known; --product names it{of_certificate}", cpu)
    if given is not None and given != wanted:
        return failed(name, f"the report is of {wanted.name}, not of {given.name}", wanted.name, given.name)
    if certified is not None and certified != wanted:
        return failed(name, f"the certificate is of {certified.name}", certified.name, wanted.name)
    return passed(name, wanted.name if said else f"{wanted.name}, as given", wanted.name)


def _ignored(others: Sequence[Certificate], anchors: Anchors) -> Iterator[str]:
    """Yield what is to be said of each certificate that was given and not needed."""
    used = {key.sha256 for key in anchors.keys or ()}
    for one in others:
        common = common_name(one.subject) or "a certificate without a name"
        pinned = pinned_signer(common)
        if one.sha256 in used or (pinned is not None and one.sha256 == pinned.sha256):
            continue
        said = "not needed"
        if pinned is not None:
            said = f"not AMD's, which is pinned, and not trusted (SHA-256 {one.sha256.hex()})"
            if one.public_key == pinned.key:
                said = "another certificate of the key that is pinned; not needed"
        yield f"{one.source}: {common}: {said}"


def _described(root: Signer) -> str:
    whose = "AMD's" if root.pinned else "given:"
    return f"{whose} {root.name} (SHA-256 {root.sha256.hex()})"

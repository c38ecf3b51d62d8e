"""Certificates from AMD's key service, each held to what it is for before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from sevbuild.appraise.stores import cached_certificates, store_directory
from sevbuild.attest.anchors import ROOT_PREFIX, pinned_signer
from sevbuild.attest.certificate import Certificate, certificates_in, common_name
from sevbuild.attest.chain import check_chain
from sevbuild.attest.crl import crls_in
from sevbuild.attest.product import Product
from sevbuild.attest.report import SIGNING_KEYS, Report
from sevbuild.attest.vek_url import chain_url, crl_url, store_names, vcek_url
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.network.key_service import ask
from sevbuild.output.file import make_folder, write_file

__all__ = ["FetchedVek", "fetch_crl", "fetch_folder", "fetch_vek", "product_to_ask_for"]

Tell = Callable[[str], None]
_NEEDED = ("signature", "chain", "certificate-names", "vek-extensions", "reported-tcb", "chip-id")
"""What a certificate must pass to be kept: all but what depends on the date."""


class FetchedVek(NamedTuple):
    """One VCEK: where it is kept, and the URL that it is from, empty where it was there before."""

    certificate: Certificate
    path: str
    url: str


def product_to_ask_for(report: Report, given: Product | None) -> Product:
    """Return the product whose keys signed a report; raises SevbuildError where nobody says it, or two do."""
    named = report.product or given
    if named is None:
        raise SevbuildError("the report does not name its product", hint="--product names it")
    if given not in (None, named):
        raise SevbuildError(f"the report is of {named.name}: --product names another")
    return named


def fetch_vek(report: Report, product: Product, tell: Tell | None = None) -> FetchedVek:
    """Return the VCEK that signed a report, fetched from AMD's key service if it is not kept yet.

    `tell` is told of waits. Raises MismatchError where the service has another certificate than the
    report's, SevbuildError where it can have none and for what a network can do.
    """
    kind = SIGNING_KEYS.get(report.signing_key)
    if kind != "VCEK":
        vlek = kind == "VLEK"
        whose = "is signed by a VLEK" if vlek else "is not signed by a chip's key"
        hint = "its provider hands out the VLEK with the report, in a certificate table" if vlek else None
        raise SevbuildError(f"the report {whose}, which AMD's key service does not have", hint=hint)
    url, names = vcek_url(report, product), store_names(report, product)
    if url is None:
        raise SevbuildError("the host masks CHIP_ID: nothing says whose key to ask for")
    path = os.path.join(store_directory(), *names[0].split("/"))
    # One that is damaged is fetched anew.
    with suppress(SevbuildError):
        for kept in cached_certificates(report, product):
            if not _faults(report, product, kept):
                return FetchedVek(kept, kept.source, "")
    (certificate,) = _certificates(ask(url, tell=tell), url, 1)
    faults = _faults(report, product, certificate)
    if faults:
        raise MismatchError(f"{url}: it is not the report's certificate", details=faults)
    make_folder(os.path.dirname(path))
    write_file(path, certificate.der, follow=False)
    return FetchedVek(certificate, path, url)


def fetch_folder(vek: Certificate, product: Product, tell: Tell | None = None) -> dict[str, bytes]:
    """Return the files of a folder as snpguest reads it: a VCEK and the two certificates above it.

    The two are fetched, and must be those that are pinned: raises MismatchError for others.
    """
    url = chain_url(product, "VCEK")
    files = {"vcek.der": vek.der}
    for one in _certificates(ask(url, tell=tell), url, 2):
        name = common_name(one.subject)
        pinned = pinned_signer(name)
        if pinned is None or pinned.sha256 != one.sha256:
            raise MismatchError(f"{url}: {name or 'a certificate'} is not the one that is pinned")
        files["ark.der" if name.startswith(ROOT_PREFIX) else "ask.der"] = one.der
    return files


def fetch_crl(product: Product, tell: Tell | None = None) -> bytes:
    """Return the list of a product's revoked certificates.

    Raises MismatchError for one that AMD's root key has not signed.
    """
    url = crl_url(product, "VCEK")
    root = pinned_signer(ROOT_PREFIX + product.name)
    data = ask(url, tell=tell)
    for crl in crls_in(data, url):
        if root is None or not root.has_signed(crl):
            raise MismatchError(f"{url}: the list is not signed by AMD's {ROOT_PREFIX}{product.name}")
    return data


def _certificates(data: bytes, url: str, number: int) -> list[Certificate]:
    found = certificates_in(data, url)
    if len(found) != number:
        raise SevbuildError(f"{url}: {len(found)} certificates are there, where {number} should be")
    return found


def _faults(report: Report, product: Product, certificate: Certificate) -> list[str]:
    """Return why a certificate is not the report's; its dates are for whoever uses it."""
    chain = check_chain(report, [certificate], product=product, at=certificate.not_before)
    return [
        f"{check.name}: {check.reason}"
        for check in chain.checks
        if check.name in _NEEDED and check.status != "pass"
    ]

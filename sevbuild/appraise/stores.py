"""Certificates on this machine: files, folders as other tools keep them, and those that were fetched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.attest.certificate import Certificate, certificates_in
from sevbuild.attest.vek import decode_vek
from sevbuild.attest.vek_url import store_names
from sevbuild.errors import SevbuildError, file_errors, within
from sevbuild.fs import read_file
from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.text import time_text

if TYPE_CHECKING:
    from sevbuild.attest.given import GivenCertificate
    from sevbuild.attest.product import Product
    from sevbuild.attest.report import Report

__all__ = [
    "KeptVek",
    "cached_certificates",
    "certificates_at",
    "gather_certificates",
    "kept_veks",
    "store_directory",
]

_LIMIT = 1 << 20
# virtee/snpguest, src/certs.rs: what `fetch` and `certificates` write into a folder, and `verify` reads.
_NAMES = ("ark", "ask", "asvk", "vcek", "vlek")
_ENDINGS = (".pem", ".der")


class KeptVek(NamedTuple):
    """One certificate that was fetched, as text; one that cannot be read has a `fault` and nothing else.

    `chip` is its HWID in hex, `tcb` the TCB that it is for (u64), `not_after` a time of RFC 3339.
    """

    path: str
    product: str = ""
    chip: str = ""
    tcb: str = ""
    not_after: str = ""
    fault: str = ""


def store_directory() -> str:
    """Return the folder in which fetched certificates are kept, beside the cache's other folders.

    It is laid out as Trustee's offline store, so that either reads the other's.
    """
    from sevbuild.network.cache import cache_directory

    return os.path.join(cache_directory(), "certs")


def gather_certificates(
    report: Report, product: Product | None, given: Sequence[GivenCertificate], places: Sequence[str]
) -> list[Certificate]:
    """Return all certificates for a report: those it came with, those at these paths, and its own if kept.

    What was fetched before is looked at only where nobody gives a certificate of a key that signs reports.
    """
    found = [one for each in given for one in certificates_in(each.data, each.source)]
    found += [one for place in places for one in certificates_at(place, report, product)]
    if not any(isinstance(one.public_key, P384PublicKey) for one in found):
        found += cached_certificates(report, product)
    return found


def certificates_at(path: str, report: Report, product: Product | None) -> list[Certificate]:
    """Return the certificates of a file, or those for a report in a folder.

    A folder is one as snpguest writes it (ark, ask, asvk, vcek, vlek; .pem or .der), Trustee's offline store
    (vcek/HWID/TCB_vcek.der), or both. Raises SevbuildError for a folder that is neither.
    """
    if not os.path.isdir(path):
        return certificates_in(read_file(path, _LIMIT), path)
    paths = [os.path.join(path, name + ending) for name in _NAMES for ending in _ENDINGS]
    found = [
        one
        for each in paths
        if os.path.isfile(each)
        for one in certificates_in(read_file(each, _LIMIT), each)
    ]
    found += _stored(path, report, product)
    if not found and not os.path.isdir(os.path.join(path, "vcek")):
        hint = "a folder has ark, ask, asvk, vcek or vlek, each .pem or .der, or vcek/HWID/..."
        raise SevbuildError(f"{path}: no certificates are in it", hint=hint)
    return found


def cached_certificates(report: Report, product: Product | None) -> list[Certificate]:
    """Return what was fetched for a report before; raises SevbuildError for a file that is damaged."""
    with within("a certificate that was fetched", hint="`sevbuild certs fetch` brings it anew"):
        return _stored(store_directory(), report, product)


def kept_veks() -> list[KeptVek]:
    """Return what was fetched so far, in the order of its paths; one that is damaged says so."""
    root = os.path.join(store_directory(), "vcek")
    kept = []
    for folder in _listed(root):
        place = os.path.join(root, folder)
        for name in _listed(place):
            path = os.path.join(place, name)
            try:
                kept.append(_kept(path))
            except SevbuildError as error:
                kept.append(KeptVek(path, fault=error.message))
    return kept


def _kept(path: str) -> KeptVek:
    (certificate, *_more) = certificates_in(read_file(path, _LIMIT), path)
    facts = decode_vek(certificate)
    return KeptVek(
        path,
        facts.product.name,
        (facts.hwid or b"").hex(),
        f"0x{facts.version:016x}",
        time_text(certificate.not_after),
    )


def _stored(folder: str, report: Report, product: Product | None) -> list[Certificate]:
    for name in store_names(report, product):
        path = os.path.join(folder, *name.split("/"))
        if os.path.isfile(path):
            return certificates_in(read_file(path, _LIMIT), path)
    return []


def _listed(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    with file_errors("read", folder):
        return sorted(os.listdir(folder))

"""The parsers of what attestation brings, as the fuzzer feeds them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from struct import pack

from sevbuild.attest.certificate import certificates_in
from sevbuild.attest.certificate_table import CERTIFICATE_GUIDS, decode_table, table_notes
from sevbuild.attest.crl import crls_in
from sevbuild.attest.vek import decode_vek
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import pem
from tools.fuzz_targets import Target

__all__ = ["attest_targets"]

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "amd_ca"


def certificate(data: bytes) -> None:
    """Read the certificates of a file, and what AMD says in their extensions."""
    for found in certificates_in(data, "file"):
        # Those above a VEK have none of AMD's extensions.
        with suppress(SevbuildError):
            decode_vek(found)


def crl(data: bytes) -> None:
    """Read the lists of revoked certificates of a file."""
    crls_in(data, "file")


def table(data: bytes) -> None:
    """Read a certificate table, and the certificates in it."""
    table_notes(data, "table")
    for given in decode_table(data, "table"):
        certificates_in(given.data, given.source)


def table_of(*parts: tuple[str, bytes]) -> bytes:
    """Return a table of certificates by their kind."""
    guids = {name: bytes.fromhex(guid.replace("-", "")) for guid, name in CERTIFICATE_GUIDS.items()}
    at, head, body = 24 * (len(parts) + 1), b"", b""
    for name, data in parts:
        head += guids[name] + pack("<II", at + len(body), len(data))
        body += data
    return head + bytes(24) + body


def attest_targets() -> list[Target]:
    """Return the parsers with valid inputs for each."""
    found = {path.name.partition(".")[0]: path.read_bytes() for path in sorted(DATA.glob("*.der"))}
    vcek, ask, ark = found["milan-vcek"], found["milan-ask"], found["milan-ark"]
    lists = (DATA / "milan.crl").read_bytes()
    files = (*found.values(), vcek + ask + ark, pem(vcek) + pem(ask) + pem(ark))
    tables = (
        table_of(("VCEK", vcek), ("ASK", ask), ("ARK", ark)),
        table_of(("ARK", pem(ark)), ("ASK", pem(ask)), ("VLEK", pem(found["milan-vlek"]))),
    )
    return [
        Target("certificate", certificate, files, text=False),
        Target("crl", crl, (lists, pem(lists, "X509 CRL")), text=False),
        Target("certificate-table", table, tables, text=False),
    ]

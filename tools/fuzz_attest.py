"""The parsers of what attestation brings, as the fuzzer feeds them."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from struct import pack

from sevbuild.attest.certificate import certificates_in
from sevbuild.attest.certificate_table import CERTIFICATE_GUIDS, decode_table, table_notes
from sevbuild.attest.crl import crls_in
from sevbuild.attest.describe import describe_evidence, describe_report
from sevbuild.attest.evidence import is_evidence, read_evidence
from sevbuild.attest.report import decode_report, reserved_set
from sevbuild.attest.vek import decode_vek
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import authority, pem
from tests.support.evidence import binding, dstack, dstack_1, hcl, message, quote, runtime, trustee, tsm_cbor
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


def report(data: bytes) -> None:
    """Read a report, of whatever version, and describe it as `inspect` does."""
    found = decode_report(data, "report", allow_unknown_version=True)
    describe_report(found)
    reserved_set(found, found.product)


def evidence(data: bytes) -> None:
    """Read evidence of any form, and describe it with all that came in it."""
    marked = is_evidence(data)
    found = read_evidence(data, "evidence")
    if not marked:
        raise AssertionError("what was read has no marks of evidence")
    describe_evidence(found, "evidence")


def evidence_seeds(vcek: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return evidence of our own: HCL reports, other binary forms, and JSON."""
    home = authority()
    raw, data = home.report(version=5), runtime()
    bound = hcl(home.report(report_data=binding(data)), data)
    documents = [
        {
            **trustee(decode_report(raw, "report")),
            "cert_chain": [{"cert_type": "VCEK", "data": [*vcek[:40]]}],
        },
        {"attestation": dstack(raw, vcek).hex()},
        {"attestation": dstack_1(raw, vcek).hex()},
        {
            "hcl_report": b64encode(bound).decode(),
            "tpm_quote": quote(message(b"nonce")),
            "vcek": pem(vcek).decode(),
        },
        {
            "outblob": b64encode(raw).decode(),
            "auxblob": b64encode(bytes(24)).decode(),
            "provider": "sev_guest",
        },
    ]
    binary = [
        raw + table_of(("VCEK", vcek)),
        dstack(raw, vcek, pem(vcek)),
        dstack_1(raw, vcek),
        tsm_cbor(raw),
        raw,
        raw.hex().encode(),
    ]
    return [bound], binary, [json.dumps(document).encode() for document in documents]


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
    hcls, binary, documents = evidence_seeds(vcek)
    reports = tuple(
        authority(name).report(version=version) for name in ("Milan", "Turin") for version in (2, 3, 5)
    )
    return [
        Target("report", report, reports, text=False),
        Target("hcl", evidence, tuple(hcls), text=False),
        Target("evidence", evidence, tuple(binary), text=False),
        Target("evidence-json", evidence, tuple(documents), text=True),
        Target("certificate", certificate, files, text=False),
        Target("crl", crl, (lists, pem(lists, "X509 CRL")), text=False),
        Target("certificate-table", table, tables, text=False),
    ]

"""What an appraisal reads and decides, as the fuzzer feeds it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.appraisal_keys import decode_appraisal
from sevbuild.attest.appraisal_text import appraisal_text
from sevbuild.attest.appraise import Origin, Trust, appraise_report
from sevbuild.attest.certificate import decode_certificate
from sevbuild.attest.named_target import NamedTarget
from sevbuild.attest.report import decode_report
from sevbuild.attest.result import verdict_document
from sevbuild.documents.json_text import json_text
from sevbuild.errors import MismatchError
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import render
from sevbuild.reference.export.signing import load_signing_key, load_verifying_key
from sevbuild.reference.read import read_reference_values
from sevbuild.reference.signed import is_signed, read_signed
from tests.support.amd_ca import authority
from tools.fuzz_targets import Target

__all__ = ["appraise_targets"]

ROOT = Path(__file__).resolve().parent.parent
KEY = derive_private_key(5, SECP256R1())
PUBLIC = load_verifying_key(
    KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "key.pub"
)
AT = datetime(2026, 6, 1, tzinfo=timezone.utc)
FULL = b"""schema = 1
[published]
guest = "hello"
release = ["1.0.0", "1.1.0"]
target = "vcpus*"
[guest]
vmpl = [0, 1]
policy = { smt = true, abi = "1.55" }
host-data = "%s"
guest-svn = 3
[platform]
product = ["Milan", "Turin"]
required = "ecc"
forbidden = ["smt", "tsme"]
chip-id = "0102030405060708"
firmware-version = "1.55.40"
[minimum-tcb.Turin]
fmc = 1
boot-loader = 1
tee = 1
snp = 4
microcode = 81
[checks]
require = ["report-data"]
waive = "chip-id"
""" % (b"ab" * 32)


def appraisal(data: bytes) -> None:
    """Read an appraisal policy."""
    decode_appraisal(data.decode("utf-8", "surrogateescape"), "appraisal.toml")


def signed(data: bytes) -> None:
    """Read something signed; what another signed, or nobody, is as orderly as a fault."""
    is_signed(data)
    try:
        read_signed("file", data, PUBLIC, "key.pub")
    except MismatchError:
        return


def verdict(data: bytes) -> None:
    """Appraise a report: whatever was bent, nothing but what the key signed holds."""
    home = authority()
    report = decode_report(data, "report", allow_unknown_version=True)
    certificates = [decode_certificate(draft.der, "file") for draft in (home.vcek, home.ask)]
    policy = AppraisalPolicy(measurements=(bytes(range(48)),), waived=frozenset({"measurement"}))
    trust = Trust(AT, roots=(decode_certificate(home.ark.der, "root"),))
    found = appraise_report(report, certificates, policy, [TARGET], trust, Origin("report"))
    json_text(verdict_document([found]))
    if found.holds and report.signed not in {seed[:0x2A0] for seed in reports()}:
        raise AssertionError("what nobody signed is verified")


TARGET = NamedTarget("hello", "1.0.0", "snp/qemu/EPYC-Milan/vcpus1", "snp", bytes(range(48)), 0x30000)
_REPORTS: list[bytes] = []


def reports() -> list[bytes]:
    """Return reports that one key has signed, made once."""
    if not _REPORTS:
        _REPORTS.extend(authority().report(version=version) for version in (3, 4, 5))
    return _REPORTS


def appraise_targets() -> list[Target]:
    """Return the parsers with valid inputs for each."""
    key = load_signing_key(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    values = read_reference_values("x", (ROOT / "guests/hello/reference-values.json").read_bytes())
    envelope = render("in-toto", values, ExportOptions(key=key))["in-toto.intoto.jsonl"]
    corim = render("corim", values, ExportOptions({"signer-name": "ACME"}, key))["corim.cose"]
    start = appraisal_text([TARGET], ["1.0.0"], "reference-values.json").encode()
    laid_out = json.dumps(json.loads(envelope), indent=2).encode()
    return [
        Target("appraisal", appraisal, (FULL, start), text=True),
        Target("envelope", signed, (envelope, laid_out), text=True),
        Target("cose-sign1", signed, (corim,), text=False),
        Target("verdict", verdict, tuple(reports()), text=False),
    ]

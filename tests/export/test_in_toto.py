"""in-toto: the shape of Statement v1, and its signatures verified by cosign and securesystemslib."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from sevbuild.reference.export.in_toto import PREDICATE_TYPE, pae
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter
from sevbuild.reference.export.signing import load_signing_key
from tests.export.support import document, pem, rendered, signing_key, typed
from tests.support.cli import run
from tests.support.real import peer_program
from tests.support.shared import ROOT

P384, P256 = signing_key(), signing_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS: list[Any] = [P384, P256, ED25519]


def _signed(key: Any, of: str = "matrix") -> dict[str, bytes]:
    return rendered("in-toto", document(of), key=pem(key))


def _securesystemslib(line: bytes, key: Any) -> Envelope:
    """Return an envelope that securesystemslib verified; it compares keyids: the key gets the envelope's."""
    fields = json.loads(line)
    public = SSlibKey.from_crypto(key.public_key())
    public.keyid = fields["signatures"][0]["keyid"]
    envelope = Envelope.from_dict(fields)
    assert envelope.verify([public], 1)
    return envelope


@pytest.mark.parametrize("key", [P256, ED25519], ids=["P-256", "Ed25519"])
def test_the_envelope_is_what_securesystemslib_verifies(key: Any) -> None:
    files = _signed(key)
    (line,) = files["in-toto.intoto.jsonl"].splitlines()
    envelope = _securesystemslib(line, key)
    assert envelope.payload == files["in-toto-statement.json"]
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert envelope.pae() == pae(envelope.payload_type, envelope.payload)
    with pytest.raises(VerificationError):
        _securesystemslib(line.replace(b'"payload":"', b'"payload":"AAAA'), key)


@pytest.mark.parametrize("key", [P256, P384], ids=["P-256", "P-384"])
def test_ecdsa_is_over_sha256_whatever_the_curve(key: Any) -> None:
    """cosign loads any key with SHA-256; sigstore-python's DSSE check names it outright."""
    fields = json.loads(_signed(key)["in-toto.intoto.jsonl"])
    signed = pae(fields["payloadType"], b64decode(fields["payload"]))
    key.public_key().verify(b64decode(fields["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))


def test_securesystemslib_refuses_p384_and_a_note_says_so() -> None:
    line = _signed(P384)["in-toto.intoto.jsonl"]
    with pytest.raises(VerificationError):
        _securesystemslib(line, P384)
    said = {}
    for key in KEYS:
        signer = load_signing_key(pem(key))
        said[signer.kind] = exporter("in-toto").notes(typed(document("matrix")), ExportOptions({}, signer))
    assert "securesystemslib, which expects SHA-384 of this curve, does not" in said["P-384"][0]
    assert "sigstore-python does not" in said["Ed25519"][0]
    assert said["P-256"] == exporter("in-toto").notes(typed(document("matrix")), ExportOptions()) == []


@pytest.mark.parametrize("key", KEYS, ids=["P-384", "P-256", "Ed25519"])
def test_the_keyid_is_there_and_empty(key: Any) -> None:
    """Sigstore and go-securesystemslib skip a keyid that is not theirs; securesystemslib wants the field."""
    (signature,) = json.loads(_signed(key)["in-toto.intoto.jsonl"])["signatures"]
    assert signature["keyid"] == ""
    assert set(signature) == {"keyid", "sig"}


@pytest.mark.parametrize("key", KEYS, ids=["P-384", "P-256", "Ed25519"])
def test_the_bundle_holds_the_same_envelope_and_names_the_key(key: Any) -> None:
    files = _signed(key)
    bundle = json.loads(files["in-toto.sigstore.json"])
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert bundle == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": b64encode(sha256(der).digest()).decode()}},
        "dsseEnvelope": json.loads(files["in-toto.intoto.jsonl"]),
    }


@pytest.mark.parametrize("key", KEYS, ids=["P-384", "P-256", "Ed25519"])
def test_cosign_verifies_what_publish_signs(tmp_path: Path, key: Any) -> None:
    """Envelope and bundle, offline: cosign 3 reads both, cosign 2 the envelope (its bundles want a root)."""
    cosign = peer_program("cosign")
    firmware = ROOT / "guests" / "hello" / "hello.fd"
    (tmp_path / "key.pem").write_bytes(pem(key))
    (tmp_path / "key.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    release = tmp_path / "release"
    signed = run(
        "publish", "-q", firmware.with_name("guest.toml"), "-o", release, "--formats", "in-toto", "--sign", tmp_path / "key.pem"
    )  # fmt: skip
    assert signed.status == 0, signed.err

    def verify(*where: str | Path, type_: str = PREDICATE_TYPE, blob: Path = firmware) -> str:
        command = [cosign, "verify-blob-attestation", "--key", tmp_path / "key.pub", *where]
        command += ["--type", type_, "--insecure-ignore-tlog=true", blob]
        result = subprocess.run(
            list(map(str, command)),
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        last = (result.stderr.splitlines() or [""])[-1]
        assert (last == "Verified OK") == (result.returncode == 0), result.stderr
        return last

    envelope = ("--signature", release / "in-toto.intoto.jsonl")
    bundle = ("--bundle", release / "in-toto.sigstore.json")
    version = subprocess.run([cosign, "version", "--json"], check=True, capture_output=True, text=True).stdout
    forms = [envelope] if json.loads(version)["gitVersion"].startswith("v2") else [envelope, bundle]
    for form in forms:
        assert verify(*form) == "Verified OK"
        assert verify(*form, type_="urn:sevbuild:reference-values:v99") != "Verified OK"
        assert verify(*form, blob=Path(__file__)) != "Verified OK"
        form[1].write_bytes(form[1].read_bytes().replace(b'"sig":"M', b'"sig":"N'))
    if not isinstance(key, ed25519.Ed25519PrivateKey):  # DER begins with 0x30, and base64 of it with M
        assert [verify(*form) for form in forms].count("Verified OK") == 0


def test_the_statement_has_the_four_fields_and_nothing_else() -> None:
    of = document("matrix")
    files = rendered("in-toto", of)
    statement = json.loads(files["in-toto-statement.json"])
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == PREDICATE_TYPE
    assert statement["predicate"] == of == json.loads(files["in-toto-predicate.json"])
    assert statement["subject"] == [
        {"name": entry["name"], "digest": {"sha256": entry["sha256"]}}
        for entry in sorted(of["inputs"], key=lambda entry: entry["name"])
    ]


def test_the_predicate_type_names_the_schema() -> None:
    assert PREDICATE_TYPE == "urn:sevbuild:reference-values:v1"

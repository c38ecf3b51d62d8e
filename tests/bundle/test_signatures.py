"""Who published this: every signature of ours read back, and what is not as it was signed is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cbor2 import CBORTag, dumps, loads
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sevbuild.bundle.signatures import holds_signature, published_by
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.fs import hash_files
from sevbuild.reference.export.in_toto import PAYLOAD_TYPE, pae
from sevbuild.reference.export.signing import load_signing_key, load_verifying_key
from tests.export.support import pem
from tests.support.amd_ca import authority
from tests.support.cli import run
from tests.support.real import peer_program
from tests.support.shared import ROOT, shared_file

VALUES = ROOT / "guests" / "hello" / "reference-values.json"
KEYS: dict[str, Any] = {
    "P-256": ec.derive_private_key(7, ec.SECP256R1()),
    "P-384": ec.derive_private_key(7, ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
}


def public_pem(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a release signed by each kind of key, and with their public halves."""
    folder = tmp_path_factory.mktemp("signed")
    for kind, key in KEYS.items():
        (folder / f"{kind}.pem").write_bytes(pem(key))
        (folder / f"{kind}.pub").write_bytes(public_pem(key))
        result = run(
            "publish", VALUES, "-q", "-o", folder / kind, "--sign", folder / f"{kind}.pem", "--extra", "corim.signer-name=ACME"
        )  # fmt: skip
        assert result.status == 0, result.err
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the release signed with P-256."""
    shutil.copytree(made / "P-256", tmp_path / "release")
    shutil.copy(made / "P-256.pub", tmp_path / "key.pub")
    return tmp_path / "release"


@pytest.mark.parametrize("kind", KEYS)
def test_a_release_is_of_the_owner_of_its_key(made: Path, kind: str) -> None:
    folder, key = made / kind, made / f"{kind}.pub"
    owner = f"{key} ({kind}, SHA-256 {load_signing_key(pem(KEYS[kind])).fingerprint.hex()})"
    count = len((folder / "SHA256SUMS").read_text().splitlines())
    lines = [
        f"{folder}/SHA256SUMS: signed by {owner}: {count} files",
        f"{folder}/in-toto.intoto.jsonl: signed by {owner}: hello 1.0.0, 1 target",
        f"{folder}/corim.cose: signed by {owner}: a CoRIM by ACME",
    ]
    assert published_by(str(folder), str(key)).lines == lines
    result = run("verify", folder, "--key", key)
    assert result.status == 0
    assert result.out.splitlines()[:3] == lines
    # The rest is as without a key.
    assert result.out.splitlines()[3:] == run("verify", folder).out.splitlines()
    for name, line in zip(("SHA256SUMS", "in-toto.intoto.jsonl", "corim.cose"), lines, strict=True):
        alone = run("verify", folder / name, "--key", key)
        assert alone.status == 0
        assert alone.out.splitlines()[-1 if name != "SHA256SUMS" else 0] == line
    for other in KEYS:
        if other != kind:
            assert run("verify", folder, "--key", made / f"{other}.pub").status == 1


def test_the_checksums_verify_elsewhere(made: Path, tmp_path: Path) -> None:
    signature = tmp_path / "s"
    signature.write_bytes(b64decode((made / "P-256" / "SHA256SUMS.sig").read_bytes()))
    command = ["openssl", "dgst", "-sha256", "-verify", "P-256.pub", "-signature", str(signature)]
    subprocess.run([*command, "P-256/SHA256SUMS"], check=True, cwd=made, stdout=subprocess.DEVNULL)
    cosign = peer_program("cosign")
    for kind in KEYS:
        command = [cosign, "verify-blob", "--key", f"{kind}.pub", "--signature", f"{kind}/SHA256SUMS.sig"]
        command += ["--insecure-ignore-tlog=true", f"{kind}/SHA256SUMS"]
        subprocess.run(command, check=True, cwd=made, capture_output=True)


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "name", sorted(["reference-values.json", "release-notes.md", "SHA256SUMS", "corim.cbor"])
)
def test_a_file_that_was_changed_is_seen(release: Path, name: str) -> None:
    changed(
        release / name, lambda data: data.replace(b"1", b"2", 1) if name != "corim.cbor" else data + b"\0"
    )
    with pytest.raises(MismatchError):
        published_by(str(release), str(release.parent / "key.pub"))


@pytest.mark.parametrize("name", ["reference-values.json", "corim.cbor"])
def test_a_file_that_was_taken_away_is_seen(release: Path, name: str) -> None:
    (release / name).unlink()
    with pytest.raises(MismatchError, match="absent, though SHA256SUMS lists it"):
        published_by(str(release), str(release.parent / "key.pub"))


def test_without_its_checksums_the_envelope_holds_the_values(release: Path) -> None:
    key = str(release.parent / "key.pub")
    (release / "SHA256SUMS.sig").unlink()
    assert len(published_by(str(release), key).lines) == 2
    changed(release / "reference-values.json", lambda data: data.replace(b'"0x30000"', b'"0x30001"'))
    with pytest.raises(MismatchError, match="not the reference values that were signed"):
        published_by(str(release), key)
    (release / "in-toto.intoto.jsonl").unlink()
    with pytest.raises(MismatchError, match=r"reference-values\.json: under no signature by "):
        published_by(str(release), key)
    (release / "corim.cose").unlink()
    with pytest.raises(MismatchError, match="nothing in it is signed"):
        published_by(str(release), key)


def test_values_that_no_signed_checksum_lists_are_not_covered(release: Path) -> None:
    signer = load_signing_key(pem(KEYS["P-256"]))
    sums = release / "SHA256SUMS"
    sums.write_text(
        "".join(line for line in sums.read_text().splitlines(True) if "reference-values" not in line)
    )
    (release / "SHA256SUMS.sig").write_bytes(b64encode(signer.sign(sums.read_bytes())))
    (release / "in-toto.intoto.jsonl").unlink()
    with pytest.raises(MismatchError, match="absent, though"):
        published_by(str(release), str(release.parent / "key.pub"))
    sums.write_text("")
    (release / "SHA256SUMS.sig").write_bytes(b64encode(signer.sign(b"")))
    with pytest.raises(MismatchError, match="under no signature"):
        published_by(str(release), str(release.parent / "key.pub"))
    (release / "SHA256SUMS.sig").write_text("not base64!")
    with pytest.raises(SevbuildError, match="not a signature in base64"):
        published_by(str(release), str(release.parent / "key.pub"))


def envelope(payload: Any, kind: str = PAYLOAD_TYPE) -> dict[str, Any]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signature = load_signing_key(pem(KEYS["P-256"])).sign(pae(kind, data))
    return {
        "payloadType": kind,
        "payload": b64encode(data).decode(),
        "signatures": [{"sig": "AAAA"}, {"keyid": "x", "sig": b64encode(signature).decode()}],
    }


STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (envelope({**STATEMENT}), "a statement of type https://slsa.dev/provenance/v1"),
        (envelope(b"hello", "text/plain"), "a payload of type text/plain"),
    ],
)
def test_other_envelopes(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    (tmp_path / "key.pub").write_bytes(public_pem(KEYS["P-256"]))
    path = tmp_path / "e.json"
    # Several envelopes, a line each; and one that is laid out.
    path.write_text(f"{json.dumps(document)}\n\n{json.dumps(document)}\n")
    found = published_by(str(path), str(tmp_path / "key.pub"))
    assert [line.rpartition("): ")[2] for line in found.lines] == [said, said]
    assert found.values is None
    path.write_text(json.dumps(document, indent=2))
    assert holds_signature(str(path))
    assert len(published_by(str(path), str(tmp_path / "key.pub")).lines) == 1
    document = {**document, "payload": b64encode(b"other").decode()}
    path.write_text(json.dumps(document))
    with pytest.raises(MismatchError, match="not signed by"):
        published_by(str(path), str(tmp_path / "key.pub"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**envelope({}), "payloadType": 1}, "no DSSE envelope"),
        ({**envelope({}), "payload": "!"}, "payload and signatures are missing or no base64"),
        ({**envelope({}), "payload": None}, "payload and signatures are missing or no base64"),
        ({**envelope({}), "signatures": []}, "payload and signatures are missing or no base64"),
        ({**envelope({}), "signatures": [1, {"sig": 1}, {"sig": "!"}, {}]}, "not signed by"),
        (envelope({"_type": "other"}), "no in-toto statement of version 1"),
        (envelope([]), "no in-toto statement of version 1"),
        (envelope(b"{"), "payload:1: not valid JSON"),
        (envelope({**STATEMENT, "predicateType": "urn:sevbuild:reference-values:v1"}), "predicate: not reference values"),
        ({"mediaType": "x", "dsseEnvelope": envelope({})}, "a Sigstore bundle, which cosign verifies"),
    ],
)  # fmt: skip
def test_what_is_no_envelope_of_ours(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    (tmp_path / "key.pub").write_bytes(public_pem(KEYS["P-256"]))
    path = tmp_path / "e.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SevbuildError) as caught:
        published_by(str(path), str(tmp_path / "key.pub"))
    assert message in str(caught.value)
    if "Sigstore" in message:
        assert "cosign verify-blob-attestation --key" in (caught.value.hint or "")


def test_a_signed_corim_that_was_changed(release: Path) -> None:
    key, path = str(release.parent / "key.pub"), release / "corim.cose"
    whole = path.read_bytes()
    protected, header, payload, signature = loads(whole).value

    def signed(*parts: Any) -> bytes:
        return dumps(CBORTag(18, list(parts)), canonical=True)

    path.write_bytes(dumps([protected, header, payload, signature], canonical=True))
    assert published_by(str(path), key).lines[0].endswith("a CoRIM by ACME")
    es384 = dumps({**loads(protected), 1: -35}, canonical=True)
    for data, message in (
        (signed(protected, header, payload + b"\0", signature), "not signed by"),
        (signed(protected, header, payload, signature[:-1]), "not signed by"),
        (signed(protected, header, payload, bytes(64)), "not signed by"),
        (signed(es384, header, payload, signature), "signed with algorithm -35, and "),
        (signed(protected, header, payload, "text"), "no COSE_Sign1"),
        (signed(protected, header, payload), "nothing in it is signed"),
        (signed(dumps([]), header, payload, signature), "no COSE_Sign1"),
        (whole + b"\0", "no COSE_Sign1"),
        (whole[:-1], "no COSE_Sign1"),
        (b"\xd2\x84\xff", "no COSE_Sign1"),
        (dumps(CBORTag(17, [protected, header, payload, signature])), "nothing in it is signed"),
    ):
        path.write_bytes(data)
        with pytest.raises(SevbuildError, match=message):
            published_by(str(path), key)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pem(KEYS["P-256"]), "a private key, which is nothing to verify with"),
        (b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "not a public key in PEM"),
        (public_pem(ec.derive_private_key(7, ec.SECP521R1())), "is neither P-256, P-384 nor Ed25519"),
        (public_pem(rsa.generate_private_key(65537, 2048)), "is neither P-256, P-384 nor Ed25519"),
    ],
)
def test_what_is_no_key_to_verify_with(data: bytes, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        load_verifying_key(data, "key.pub")


def test_a_release_that_is_signed_is_replaced_by_another(made: Path, release: Path) -> None:
    again = ("publish", VALUES, "-q", "-o", release)
    assert run(*again).status == 0
    assert not (release / "SHA256SUMS.sig").exists()
    signed = ("--sign", made / "P-384.pem", "--extra", "corim.signer-name=ACME")
    assert run(*again, *signed).status == 0
    (release / "SHA256SUMS.sig").write_text("somebody's own notes\n")
    result = run(*again)
    assert (result.status, "contains SHA256SUMS.sig" in result.err) == (2, True)


def test_a_report_is_held_to_what_a_key_signed(tmp_path: Path) -> None:
    report = shared_file("reports/genoa-v5-oak.report.bin")
    certificate = shared_file("reports/genoa-v5-oak.vcek.der")
    document = json.loads(VALUES.read_text())
    document["values"][0]["digest"] = report.read_bytes()[0x90:0xC0].hex()
    del document["ingredients"], document["profiles"], document["values"][0]["ingredients"]
    (tmp_path / "values.json").write_text(json.dumps(document))
    for kind in ("P-256", "P-384"):
        (tmp_path / f"{kind}.pem").write_bytes(pem(KEYS[kind]))
        (tmp_path / f"{kind}.pub").write_bytes(public_pem(KEYS[kind]))
    sign = ("--sign", f"in-toto={tmp_path}/P-256.pem")
    folder = tmp_path / "release"
    made = run("publish", tmp_path / "values.json", "-q", "-o", folder, "--formats", "in-toto", *sign)
    assert made.status == 0, made.err
    words = ("verify", report, "--certs", certificate, "--at", "2026-06-01")
    key = ("--key", tmp_path / "P-256.pub")
    for against in (folder, folder / "in-toto.intoto.jsonl"):
        result = run(*words, "--against", against, *key)
        assert result.status == 0, result.err
        assert "  target: hello 1.0.0, snp/qemu/EPYC-Milan/vcpus1\n" in result.out
        assert run(*words, "--against", against, "--key", tmp_path / "P-384.pub").status == 1
    assert run(*words, *key).status == 2
    assert run(*words, "--against", folder, "--set", "x=1", *key).status == 2
    assert run(*words, "--against", tmp_path / "values.json", *key).status == 2
    assert run(*words, "--against", folder, "--target", "vcpus9", *key).status == 2


@pytest.mark.parametrize(
    "options", [("--against", VALUES), ("--target", "x"), ("--locked",), ("--expect", "00" * 48)]
)
def test_of_an_envelope_there_is_nothing_else_to_verify(release: Path, options: tuple[Any, ...]) -> None:
    key = release.parent / "key.pub"
    result = run("verify", release / "in-toto.intoto.jsonl", "--key", key, *options)
    assert result.status == 2
    assert options[0] in result.err
    assert os.path.exists(key)


def test_the_values_are_of_the_bytes_that_were_held_to_the_checksums(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is exchanged between two looks at it is not taken for the one that was signed."""
    for name in ("in-toto.intoto.jsonl", "corim.cose"):
        (release / name).unlink()
    document, key = release / "reference-values.json", str(release.parent / "key.pub")
    sums = [line for line in (release / "SHA256SUMS").read_text().splitlines() if "in-toto" not in line]
    text = "".join(f"{line}\n" for line in sums if "corim.cose" not in line)
    (release / "SHA256SUMS").write_text(text)
    signature = load_signing_key(pem(KEYS["P-256"])).sign(text.encode())
    (release / "SHA256SUMS.sig").write_bytes(b64encode(signature))
    assert published_by(str(release), key).values is not None

    def hash_then_exchange(paths: list[str]) -> Any:
        found = hash_files(paths)
        if os.path.basename(paths[0]) == document.name:
            document.write_text(document.read_text().replace("hello", "other"))
        return found

    monkeypatch.setattr("sevbuild.bundle.signatures.hash_files", hash_then_exchange)
    with pytest.raises(MismatchError, match=r"reference-values\.json: not the file that SHA256SUMS lists"):
        published_by(str(release), key)


def test_what_is_not_there_is_not_called_unsigned(release: Path) -> None:
    with pytest.raises(SevbuildError, match=r"cannot read .*/absent: No such file"):
        published_by(str(release / "absent"), str(release.parent / "key.pub"))


def test_a_verdict_says_whose_reference_values_it_rests_on(release: Path, tmp_path: Path) -> None:
    key, report = release.parent / "key.pub", tmp_path / "report"
    report.write_bytes(authority("Milan").report())
    words = ("verify", report, "--against", release, "--key", key, "--at", "2026-06-01")
    lines = published_by(str(release), str(key)).lines
    result = run(*words)
    assert result.status == 1
    assert result.out.splitlines()[: len(lines)] == lines
    assert result.out.splitlines()[-1].startswith(f"{report}: refused: measurement; ")
    # JSON is the verdict alone.
    assert json.loads(run(*words, "--format", "json").out)["verified"] is False


def test_locks_are_not_of_what_was_signed(release: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.write_bytes(authority("Milan").report())
    result = run("verify", report, "--against", release, "--key", release.parent / "key.pub", "--locked")
    assert (result.status, result.out) == (2, "")
    assert "--locked, --frozen, --lock and --offline are for manifests" in result.err

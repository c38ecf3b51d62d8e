"""CoRIM: the IETF's CDDL, Veraison's bytes and its four rules, COSE by an independent library, cocli."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, urlsafe_b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
from pycose.keys.ec2 import EC2Key
from pycose.keys.okp import OKPKey
from pycose.messages.sign1message import Sign1Message

from sevbuild.errors import SevbuildError
from sevbuild.reference.export import corim_tags as tags
from sevbuild.reference.export.corim import BY_CHIP, PROFILE
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import render
from sevbuild.reference.export.signing import load_signing_key
from tests.export.support import DATA, document, pem, rendered, signing_key, typed
from tests.support.real import peer_program
from tests.support.shared import shared_file

ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CDDL = ["-t", "corim", "-M", str(DATA), str(DATA / "corim-head.cddl")]


def _valid(path: Path) -> bool:
    """Tell whether cddl-verifier accepts a file, deterministic encoding included."""
    tool = Path(sys.executable).with_name("cddl-verify")
    command = [str(tool), "--require-deterministic", *CDDL, str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    return result.returncode == 0


def _with_id_block(of: dict[str, Any]) -> dict[str, Any]:
    for value in of["values"]:
        value["id_block"] = {
            "id_key_digest": "aa" * 48,
            "author_key_digest": "bb" * 48,
            "family_id": "cc" * 16,
            "image_id": "dd" * 16,
            "guest_svn": 3,
        }
    return of


@pytest.mark.parametrize("name", ["hardware", "matrix"])
@pytest.mark.parametrize("id_block", [False, True])
def test_files_satisfy_the_cddl(tmp_path: Path, name: str, id_block: bool) -> None:
    of = _with_id_block(document(name)) if id_block else document(name)
    for path, data in rendered("corim", of, key=pem(signing_key())).items():
        (tmp_path / path).write_bytes(data)
        assert _valid(tmp_path / path), path


def test_the_cddl_refuses_what_is_no_corim(tmp_path: Path) -> None:
    good = rendered("corim", document("hardware"))["corim.cbor"]
    item = cbor2.loads(good)
    (tmp_path / "bad.cbor").write_bytes(
        cbor2.dumps(cbor2.CBORTag(501, {**item.value, 99: 1}), canonical=True)
    )
    assert not _valid(tmp_path / "bad.cbor")


def _triples(corim: bytes) -> list[Any]:
    item = cbor2.loads(corim)
    assert item.tag == 501
    assert item.value[3] == cbor2.CBORTag(32, PROFILE)
    (tag,) = item.value[1]
    assert tag.tag == 506
    return list(cbor2.loads(tag.value)[4][0])


def _profile_faults(corim: bytes) -> list[str]:
    """Return what Veraison's SEV-SNP scheme refuses and the CDDL cannot see."""
    faults = []
    for environment, measurements in _triples(corim):
        class_id = environment[0].get(0)
        if not isinstance(class_id, cbor2.CBORTag) or class_id.tag != 111 or class_id.value[:1] == b"\x06":
            faults.append("the class-id is not an object identifier in content octets")
        instance = environment.get(1)
        if not isinstance(instance, cbor2.CBORTag) or instance.tag != 560 or len(instance.value) != 48:
            faults.append("the instance is no tagged bytes")
        for measurement in measurements:
            if 0 not in measurement:
                faults.append("a measurement has no mkey")
            elif not isinstance(measurement[0], int):
                faults.append("an mkey is no number")
            elif measurement[0] == 641 and measurement[1][2][0][1] != instance.value:
                faults.append("the measurement is not the instance")
    return faults


@pytest.mark.parametrize("name", ["hardware", "matrix"])
def test_a_corim_keeps_the_rules_of_veraison(name: str) -> None:
    of = _with_id_block(document(name))
    corim = rendered("corim", of)["corim.cbor"]
    assert _profile_faults(corim) == []
    digests = [environment[1].value.hex() for environment, _ in _triples(corim)]
    assert digests == list(dict.fromkeys(value["digest"] for value in of["values"]))


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("corim-sevsnp-bad-refval-no-key.cbor", "a measurement has no mkey"),
        ("corim-sevsnp-bad-refval-key.cbor", "an mkey is no number"),
    ],
)
def test_the_rules_find_what_veraison_refuses(file: str, fault: str) -> None:
    data = shared_file(f"publish/veraison/{file}").read_bytes()
    item = cbor2.loads(data)
    first = cbor2.dumps(cbor2.CBORTag(501, {**item.value, 1: item.value[1][:1]}))
    assert fault in _profile_faults(first)


def test_veraisons_golden_bytes_come_out_of_our_encoder() -> None:
    """Encode the templates that Veraison's golden file was compiled from, with our own functions."""
    folder = "publish/veraison"
    template = json.loads(shared_file(f"{folder}/comid-sevsnp-refval.json").read_text())
    anchor = json.loads(shared_file(f"{folder}/comid-sevsnp-ta.json").read_text())
    golden = shared_file(f"{folder}/corim-sevsnp-valid.cbor").read_bytes()
    (triple,) = template["triples"]["reference-values"]
    instance = b64decode(triple["environment"]["instance"]["value"])
    measurements = [(entry["key"]["value"], _mval(entry["value"])) for entry in triple["measurements"]]
    reference = tags.comid(
        UUID(template["tag-identity"]["id"]).bytes,
        {
            0: [
                tags.reference_triple(
                    tags.oid(triple["environment"]["class"]["id"]["value"]), instance, measurements
                )
            ]
        },
        language=template["lang"],
    )
    (key,) = anchor["triples"]["attester-verification-keys"]
    names = key["environment"]["class"]
    certificates = [cbor2.CBORTag(555, entry["value"]) for entry in key["verification-keys"]]
    trust = tags.comid(
        UUID(anchor["tag-identity"]["id"]).bytes,
        {3: [[{0: {1: names["vendor"], 2: names["model"]}}, certificates]]},
        language=anchor.get("lang"),
    )
    identifier = cbor2.loads(golden).value[0]
    assert tags.corim(identifier, [reference, trust], PROFILE) == golden


def _mval(value: dict[str, Any]) -> dict[int, Any]:
    if "svn" in value:
        svn = value["svn"]["value"]
        # We write no exact one: later firmware would fail it.
        return tags.minimum_svn(svn) if value["svn"]["type"] == "min-value" else {1: cbor2.CBORTag(552, svn)}
    if "raw-value" in value:
        return tags.raw_value(b64decode(value["raw-value"]["value"]))
    if "digests" in value:
        ((_, text),) = value["digests"]
        return tags.digests(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return {0: {0: value["version"]["value"], 1: {"decimal": 4, "semver": 16384}[value["version"]["scheme"]]}}


def test_an_id_block_is_in_the_triples() -> None:
    of = _with_id_block(document("hardware"))
    ((_, measurements),) = _triples(rendered("corim", of)["corim.cbor"])
    assert [entry[0] for entry in measurements] == [1, 3, 4, 641, 643, 644]
    del of["values"][0]["id_block"]["author_key_digest"]
    ((_, measurements),) = _triples(rendered("corim", of)["corim.cbor"])
    assert [entry[0] for entry in measurements] == [1, 3, 4, 641, 643]


def test_equal_digests_make_one_triple_that_names_both() -> None:
    of = document("matrix")
    of["values"][1]["digest"] = of["values"][0]["digest"]
    triples = _triples(rendered("corim", of)["corim.cbor"])
    assert len(triples) == 7
    assert triples[0][1][0][1][11] == "snp/qemu/EPYC-v4/vcpus1/plain, snp/qemu/EPYC-v4/vcpus1/smp"


@pytest.mark.parametrize(
    ("key", "algorithm", "verifying"),
    [
        (signing_key(), -35, lambda numbers: EC2Key("P_384", *_coordinates(numbers, 48))),
        (signing_key(ec.SECP256R1()), -7, lambda numbers: EC2Key("P_256", *_coordinates(numbers, 32))),
        (ED25519, -8, lambda _: OKPKey("ED25519", x=ED25519.public_key().public_bytes_raw())),
    ],
    ids=["ES384", "ES256", "EdDSA"],
)
def test_the_signature_is_what_an_independent_library_verifies(
    tmp_path: Path, key: Any, algorithm: int, verifying: Any
) -> None:
    files = rendered("corim", document("matrix"), key=pem(key))
    item = cbor2.loads(files["corim.cose"])
    assert (item.tag, dict(item.value[1])) == (18, {})
    assert cbor2.loads(item.value[0])[1] == algorithm
    # The library takes the array itself: cbor2 6 gives it a tuple, which its own reading refuses.
    message = Sign1Message.from_cose_obj([item.value[0], {}, *item.value[2:]], True)
    public = key.public_key()
    message.key = verifying(public.public_numbers() if hasattr(public, "public_numbers") else None)
    assert message.verify_signature()
    assert message.payload == files["corim.cbor"]
    message.payload = message.payload[:-1] + b"\0"
    assert not message.verify_signature()
    (tmp_path / "corim.cose").write_bytes(files["corim.cose"])
    assert _valid(tmp_path / "corim.cose")


def _coordinates(numbers: ec.EllipticCurvePublicNumbers, size: int) -> tuple[bytes, bytes]:
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def test_the_protected_header_names_type_algorithm_and_signer() -> None:
    item = cbor2.loads(
        rendered("corim", document("hardware"), key=pem(signing_key()), signer_uri="https://s.example")[
            "corim.cose"
        ]
    )
    protected = cbor2.loads(item.value[0])
    assert (protected[1], protected[3]) == (-35, "application/rim+cbor")
    assert cbor2.loads(protected[8]) == {0: {0: "ACME release", 1: cbor2.CBORTag(32, "https://s.example")}}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"junk", "not a private key in PEM"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJr\n", "is encrypted, by cosign"),
        (
            signing_key().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"x"),
            ),
            "is encrypted",
        ),
        (pem(signing_key(ec.SECP521R1())), "neither P-256, P-384 nor Ed25519"),
    ],
)
def test_other_keys_are_refused(key: bytes, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        rendered("corim", document("hardware"), key=key)


def test_options_are_checked() -> None:
    of = document("hardware")
    with pytest.raises(SevbuildError, match="requires signer-name"):
        render("corim", typed(of), ExportOptions({}, load_signing_key(pem(signing_key()))))
    with pytest.raises(SevbuildError, match="entity-uri requires entity-name"):
        render("corim", typed(of), ExportOptions({"entity-uri": "https://x.example"}))
    for text in ("1", "junk", "1.40", "3.1", "1..2"):
        with pytest.raises(SevbuildError, match="not an object identifier"):
            rendered("corim", of, class_id=text)


def test_object_identifiers_are_content_octets() -> None:
    assert tags.oid(BY_CHIP).value.hex() == "2b060104019c780301"
    assert tags.oid("2.999.3").value.hex() == "883703"  # the example of X.690 8.19.5


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8))
def test_object_identifiers_read_back(arcs: list[int]) -> None:
    data = tags.oid(".".join(map(str, [1, 3, *arcs]))).value
    found, number = [], 0
    for octet in data:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            found.append(number)
            number = 0
    assert found == [43, *arcs]


def test_cocli_reads_our_files(tmp_path: Path) -> None:
    cocli = peer_program("cocli")
    for name, data in rendered("corim", document("matrix"), key=pem(signing_key())).items():
        (tmp_path / name).write_bytes(data)
        shown = subprocess.run(
            [cocli, "corim", "display", "--file", str(tmp_path / name), "--show-tags"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert PROFILE in shown.stdout
    numbers = signing_key().public_key().public_numbers()
    coordinates = {"x": numbers.x, "y": numbers.y}
    key = {name: _url_base64(number.to_bytes(48, "big")) for name, number in coordinates.items()}
    (tmp_path / "key.jwk").write_text(json.dumps({"kty": "EC", "crv": "P-384", **key}))
    command = [
        cocli,
        "corim",
        "verify",
        "--file",
        str(tmp_path / "corim.cose"),
        "--key",
        str(tmp_path / "key.jwk"),
    ]
    subprocess.run(command, check=True)


def _url_base64(data: bytes) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(data).rstrip(b"=").decode()

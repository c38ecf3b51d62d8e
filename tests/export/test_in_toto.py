"""in-toto: the shape of Statement v1, and DSSE verified by securesystemslib."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from sevbuild.reference.export.in_toto import PREDICATE_TYPE, pae
from tests.export.support import document, pem, rendered, signing_key

KEYS: list[Any] = [
    signing_key(),
    signing_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
]


@pytest.mark.parametrize("key", KEYS, ids=["P-384", "P-256", "Ed25519"])
def test_the_envelope_is_what_securesystemslib_verifies(key: Any) -> None:
    files = rendered("in-toto", document("matrix"), key=pem(key))
    (line,) = files["in-toto.intoto.jsonl"].splitlines()
    fields = json.loads(line)
    envelope = Envelope.from_dict(json.loads(line))
    public = SSlibKey.from_crypto(key.public_key(), keyid=fields["signatures"][0]["keyid"])
    assert envelope.verify([public], 1)
    assert envelope.payload == files["in-toto-statement.json"]
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert envelope.pae() == pae(envelope.payload_type, envelope.payload)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([public], 1)


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

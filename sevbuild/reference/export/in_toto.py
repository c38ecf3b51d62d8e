"""`in-toto`: Statement v1 over the guest's inputs, its predicate; if signed, a DSSE envelope and a bundle."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from sevbuild.reference.document import reference_document
from sevbuild.reference.export.interface import ALL_MODES, Exporter, ExportOptions
from sevbuild.reference.model import DOCUMENT_SCHEMA, ReferenceValues

if TYPE_CHECKING:
    from sevbuild.reference.export.signing import SigningKey

__all__ = ["EXPORTER", "PAYLOAD_TYPE", "PREDICATE_TYPE", "STATEMENT_TYPE", "pae"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = f"urn:sevbuild:reference-values:v{DOCUMENT_SCHEMA}"
"""Says that the predicate is a reference-values document of this schema version (docs/exporting.md)."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_NOT_READ_BY = {
    "P-384": "P-384 over SHA-256, which cosign and Sigstore's libraries verify; securesystemslib, which expects "
    "SHA-384 of this curve, does not",
    "Ed25519": "Ed25519, which cosign and securesystemslib verify, and sigstore-python does not",
}
"""Who refuses an envelope, by the kind of its key (docs/exporting.md has the table and the versions)."""


class InToto(Exporter):
    """Predicate and statement; the predicate is the reference-values document itself."""

    name = "in-toto"
    summary = "in-toto Statement v1, its bare predicate, DSSE and Sigstore bundle with --sign"
    files = (
        "in-toto.intoto.jsonl",
        "in-toto.sigstore.json",
        "in-toto-statement.json",
        "in-toto-predicate.json",
    )
    modes = ALL_MODES
    signs = True

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why there is no statement: no input whose file digest is known."""
        if not _subjects(values):
            return "no input is a file whose SHA-256 is known, so a statement has no subject"
        return super().refusal(values)

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return predicate and statement; if signed, in-toto.intoto.jsonl and in-toto.sigstore.json too."""
        predicate = reference_document(values)
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": _subjects(values),
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        payload = _json_line(statement)
        files = {}
        if options.key is not None:
            envelope = _envelope(payload, options.key)
            files["in-toto.intoto.jsonl"] = _json_line(envelope)
            files["in-toto.sigstore.json"] = _json_line(_bundle(envelope, options.key))
        files["in-toto-statement.json"] = payload
        files["in-toto-predicate.json"] = (json.dumps(predicate, indent=2, sort_keys=True) + "\n").encode()
        return files

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return which readers do not take a signature of this key."""
        found = super().notes(values, options)
        kind = None if options.key is None else options.key.kind
        if kind in _NOT_READ_BY:
            found.append(f"signed with {_NOT_READ_BY[kind]}; P-256 suits all")
        return found


def _subjects(values: ReferenceValues) -> list[dict[str, Any]]:
    """Return the inputs that are files, each digest once."""
    found = {
        (record.name, record.digest): {"name": record.name, "digest": {"sha256": record.digest.hex()}}
        for record in values.inputs
        if record.algorithm == "sha256" and record.name
    }
    return [found[key] for key in sorted(found)]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that DSSE signs (its protocol.md, Pre-Authentication Encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, key: SigningKey) -> dict[str, Any]:
    """Return a DSSE envelope of one signature.

    Its keyid is empty, as Sigstore's own is: go-securesystemslib and Sigstore skip a signature whose keyid is
    another than the one they compute, and securesystemslib wants the field.
    """
    signature = key.sign(pae(PAYLOAD_TYPE, payload))
    return {
        "payload": b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "", "sig": b64encode(signature).decode()}],
    }


def _bundle(envelope: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    """Return a Sigstore bundle without a log entry; its hint is how cosign (3.1.3) names a public key."""
    return {
        "mediaType": _BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": b64encode(key.fingerprint).decode()}},
        "dsseEnvelope": envelope,
    }


def _json_line(document: Any) -> bytes:
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


EXPORTER = InToto()

"""`in-toto`: Statement v1 over the guest's inputs, its predicate, and a DSSE envelope when signed."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from sevbuild.reference.export.interface import ALL_MODES, Document, Exporter, ExportOptions
from sevbuild.reference.model import DOCUMENT_SCHEMA

__all__ = ["EXPORTER", "PREDICATE_TYPE", "STATEMENT_TYPE", "pae"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = f"urn:sevbuild:reference-values:v{DOCUMENT_SCHEMA}"
"""Says that the predicate is a reference-values document of this schema version (docs/exporting.md)."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class InToto(Exporter):
    """Write predicate and statement; the predicate is the reference-values document itself."""

    name = "in-toto"
    summary = "in-toto Statement v1, its bare predicate, DSSE with --sign"
    modes = ALL_MODES
    signs = True

    def refusal(self, document: Document) -> str | None:
        """Return why there is no statement: no input whose file digest is known."""
        if not _subjects(document):
            return "no input is a file whose SHA-256 is known, so a statement has no subject"
        return super().refusal(document)

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `in-toto-predicate.json`, `in-toto-statement.json`, and `in-toto.intoto.jsonl` when signed."""
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": _subjects(document),
            "predicateType": PREDICATE_TYPE,
            "predicate": document,
        }
        payload = (json.dumps(statement, sort_keys=True, separators=(",", ":")) + "\n").encode()
        files = {}
        if options.key is not None:
            files["in-toto.intoto.jsonl"] = _envelope(payload, options.key)
        files["in-toto-statement.json"] = payload
        files["in-toto-predicate.json"] = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
        return files


def _subjects(document: Document) -> list[dict[str, Any]]:
    """Return the inputs that are files, each digest once."""
    found = {
        (entry["name"], entry["sha256"]): {"name": entry["name"], "digest": {"sha256": entry["sha256"]}}
        for entry in document["inputs"]
        if "sha256" in entry and entry["name"]
    }
    return [found[key] for key in sorted(found)]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that DSSE signs (its protocol.md, Pre-Authentication Encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, key: bytes) -> bytes:
    from sevbuild.reference.export.signing import load_signing_key

    signer = load_signing_key(key)
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    envelope = {
        "payload": b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": signer.key_id, "sig": b64encode(signature).decode()}],
    }
    return (json.dumps(envelope, sort_keys=True, separators=(",", ":")) + "\n").encode()


EXPORTER = InToto()

"""What was signed, read back: DSSE envelopes and signed CoRIMs, held to a public key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.json_input import parse_json
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.reference.export.in_toto import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, pae
from sevbuild.reference.read import decode_reference_values
from sevbuild.text import counted

if TYPE_CHECKING:
    from sevbuild.reference.export.signing import VerifyingKey
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Signed", "is_signed", "read_signed"]

_COSE_SIGN1 = (b"\xd2\x84", b"\x84")
"""How a COSE_Sign1 begins: tag 18 and a list of four; the tag may be left out (RFC 9052, 4.2)."""
_COSIGN = (
    "cosign verify-blob-attestation --key {key} --bundle {source} --type {type} "
    "--insecure-ignore-tlog=true INPUT; of a forge, --certificate-identity and --certificate-oidc-issuer "
    "in place of --key"
)


class Signed(NamedTuple):
    """What one signature is over: `said` tells it in words; `values` are reference values, where it is those.

    `payload` are the bytes that were signed.
    """

    said: str
    payload: bytes
    values: ReferenceValues | None = None


def is_signed(data: bytes) -> bool:
    """Tell whether bytes have the marks of something signed: an envelope, a Sigstore bundle, COSE_Sign1."""
    if data[:1] in (b"\xd2", b"\x84"):
        return data.startswith(_COSE_SIGN1)
    if data.lstrip()[:1] != b"{":
        return False
    try:
        found = parse_json("x", _first_line(data))
    except SevbuildError:
        return False
    return isinstance(found, dict) and bool({"payloadType", "dsseEnvelope"} & found.keys())


def read_signed(source: str, data: bytes, key: VerifyingKey, called: str) -> list[Signed]:
    """Return what is signed in a file; `called` is the key's name in messages.

    MismatchError where the key signed none of it, SevbuildError for what is no envelope and no COSE_Sign1,
    and for a Sigstore bundle, whose signer only Sigstore's own tools can judge.
    """
    if data[:1] in (b"\xd2", b"\x84"):
        return [_cose(source, data, key, called)]
    lines = [line for line in data.splitlines() if line.strip()]
    whole = len(lines) > 1 and not lines[0].rstrip().endswith(b"}")
    return [_envelope(source, line, key, called) for line in ([data] if whole else lines)]


def _first_line(data: bytes) -> bytes:
    head = data.lstrip().partition(b"\n")[0]
    return head if head.rstrip().endswith(b"}") else data


def _envelope(source: str, data: bytes, key: VerifyingKey, called: str) -> Signed:
    envelope = parse_json(source, data)
    if isinstance(envelope, dict) and "dsseEnvelope" in envelope:
        command = _COSIGN.format(key=called, source=source, type=PREDICATE_TYPE)
        raise SevbuildError(f"{source}: a Sigstore bundle, which cosign verifies", hint=command)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("payloadType"), str):
        raise SevbuildError(f"{source}: no DSSE envelope: an object with payloadType is expected")
    payload = base64_bytes(envelope["payload"]) if isinstance(envelope.get("payload"), str) else None
    signatures = envelope.get("signatures")
    if payload is None or not isinstance(signatures, list) or not signatures:
        raise SevbuildError(f"{source}: no DSSE envelope: payload and signatures are missing or no base64")
    message = pae(envelope["payloadType"], payload)
    if not any(key.verifies(message, signature) for signature in _signatures(signatures)):
        raise MismatchError(f"{source}: not signed by {called}")
    return _statement(source, envelope["payloadType"], payload)


def _signatures(entries: list[Any]) -> list[bytes]:
    found = [entry.get("sig") for entry in entries if isinstance(entry, dict)]
    return [data for text in found if isinstance(text, str) and (data := base64_bytes(text)) is not None]


def _statement(source: str, kind: str, payload: bytes) -> Signed:
    """Return what an envelope holds; another statement than ours is told by its predicate type alone."""
    if kind != PAYLOAD_TYPE:
        return Signed(f"a payload of type {kind}", payload)
    statement = parse_json(f"{source}: payload", payload)
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise SevbuildError(f"{source}: the payload is no in-toto statement of version 1")
    if statement.get("predicateType") != PREDICATE_TYPE:
        return Signed(f"a statement of type {statement.get('predicateType')}", payload)
    values = decode_reference_values(f"{source}: predicate", statement.get("predicate"))
    return Signed(f"{values.title()}, {counted(len(values.values), 'target')}", payload, values)


def _cose(source: str, data: bytes, key: VerifyingKey, called: str) -> Signed:
    from sevbuild.reference.export.corim_tags import decode_sign1

    found = decode_sign1(data, source)
    if found.algorithm != key.cose_algorithm:
        number = f"algorithm {found.algorithm}, and {called} is {key.kind}"
        raise MismatchError(f"{source}: not signed by {called}: it is signed with {number}")
    if not key.verifies_cose(found.signed, found.signature):
        raise MismatchError(f"{source}: not signed by {called}")
    name = f" by {found.signer}" if found.signer else ""
    return Signed(f"a CoRIM{name}", found.payload)

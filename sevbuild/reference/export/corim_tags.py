"""CoRIM in CBOR: the few maps and tags that launch digests need (draft-ietf-rats-corim, 0b855af)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from cbor2 import CBORTag

    from sevbuild.reference.export.signing import SigningKey

__all__ = [
    "MANIFEST_CREATOR",
    "SHA384_ALGORITHM",
    "TAG_CREATOR",
    "Sign1",
    "comid",
    "corim",
    "decode_sign1",
    "digests",
    "encode",
    "entity",
    "minimum_svn",
    "oid",
    "raw_value",
    "reference_triple",
    "sign1",
    "tagged_bytes",
]

TAG_CREATOR = 0
MANIFEST_CREATOR = 1

SHA384_ALGORITHM = 7
"""SHA-384 in the Named Information hash algorithm registry."""

_SIGN1_TAG = 18
_MEDIA_TYPE = "application/rim+cbor"


def encode(item: Any) -> bytes:
    """Return an item in the deterministic encoding of RFC 8949 4.2.1."""
    from cbor2 import dumps

    return dumps(item, canonical=True)


def _tag(number: int, value: Any) -> CBORTag:
    from cbor2 import CBORTag

    return CBORTag(number, value)


def oid(dotted: str) -> CBORTag:
    """Return an object identifier (tag 111): its content octets alone, without a DER header (RFC 9090)."""
    parts = dotted.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise SevbuildError(f"{dotted!r} is not an object identifier", hint="such as 1.3.6.1.4.1.3704.3.1")
    numbers = [int(part) for part in parts]
    if numbers[0] > 2 or (numbers[0] < 2 and numbers[1] > 39):
        raise SevbuildError(f"{dotted!r} is not an object identifier", hint="it starts with 0, 1 or 2")
    octets = bytearray()
    for arc in (40 * numbers[0] + numbers[1], *numbers[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return _tag(111, bytes(octets))


def tagged_bytes(data: bytes) -> CBORTag:
    """Return opaque bytes as an instance or value (tag 560)."""
    return _tag(560, data)


def minimum_svn(svn: int) -> dict[int, Any]:
    """Return a measurement value of a lowest security version."""
    return {1: _tag(553, svn)}


def digests(digest: bytes, name: str | None = None) -> dict[int, Any]:
    """Return a measurement value of one SHA-384 digest, with a name for people where there is one."""
    value: dict[int, Any] = {2: [[SHA384_ALGORITHM, digest]]}
    if name is not None:
        value[11] = name
    return value


def raw_value(data: bytes) -> dict[int, Any]:
    """Return a measurement value of bytes."""
    return {4: _tag(560, data)}


def reference_triple(
    class_id: CBORTag, instance: bytes, measurements: Sequence[tuple[int, Mapping[int, Any]]]
) -> list[Any]:
    """Return a reference triple of one environment: (mkey, mval) pairs in their order."""
    environment = {0: {0: class_id}, 1: tagged_bytes(instance)}
    return [environment, [{0: key, 1: dict(value)} for key, value in measurements]]


def entity(name: str, uri: str | None, role: int) -> dict[int, Any]:
    """Return an entity-map with a role, TAG_CREATOR in a CoMID or MANIFEST_CREATOR in a CoRIM."""
    found: dict[int, Any] = {0: name, 2: [role]}
    if uri is not None:
        found[1] = _tag(32, uri)
    return found


def comid(
    tag_id: str | bytes,
    triples: Mapping[int, Any],
    *,
    entities: Sequence[Any] = (),
    language: str | None = None,
) -> CBORTag:
    """Return a concise-mid-tag (506) around its own encoding; `triples` by kind, 0 the reference triples."""
    body: dict[int, Any] = {1: {0: tag_id}, 4: dict(triples)}
    if language is not None:
        body[0] = language
    if entities:
        body[2] = list(entities)
    return _tag(506, encode(body))


def corim(identifier: str, tags: Sequence[CBORTag], profile: str, *, entities: Sequence[Any] = ()) -> bytes:
    """Return an unsigned CoRIM (tag 501) with a profile URI."""
    body: dict[int, Any] = {0: identifier, 1: list(tags), 3: _tag(32, profile)}
    if entities:
        body[5] = list(entities)
    return encode(_tag(501, body))


def sign1(payload: bytes, key: SigningKey, signer_name: str, signer_uri: str | None) -> bytes:
    """Return a signed CoRIM (tag 18, COSE_Sign1) over an unsigned one, its tag included."""
    signer: dict[int, Any] = {0: signer_name}
    if signer_uri is not None:
        signer[1] = _tag(32, signer_uri)
    protected = encode({1: key.cose_algorithm, 3: _MEDIA_TYPE, 8: encode({0: signer})})
    signature = key.sign_cose(encode(["Signature1", protected, b"", payload]))
    return encode(_tag(_SIGN1_TAG, [protected, {}, payload, signature]))


class Sign1(NamedTuple):
    """A COSE_Sign1 taken apart: `signed` is what the signature is over, `signer` a name or empty."""

    algorithm: int | None
    payload: bytes
    signed: bytes
    signature: bytes
    signer: str


def decode_sign1(data: bytes, source: str) -> Sign1:
    """Return the parts of a COSE_Sign1 (RFC 9052, 4.2); raises SevbuildError for anything else."""
    from io import BytesIO

    from cbor2 import CBORDecodeError, CBORTag, load, loads

    broken = SevbuildError(f"{source}: no COSE_Sign1")
    stream = BytesIO(data)
    try:
        item = load(stream)
        parts = item.value if isinstance(item, CBORTag) and item.tag == _SIGN1_TAG else item
        protected, _, payload, signature = parts
        header = loads(protected)
        algorithm = header.get(1)
        meta = loads(header[8]) if isinstance(header.get(8), bytes) else {}
        signer = meta.get(0, {}).get(0, "")
    except (CBORDecodeError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise broken from None
    if stream.read(1) or not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise broken
    number = algorithm if isinstance(algorithm, int) else None
    signed = encode(["Signature1", protected, b"", payload])
    return Sign1(number, payload, signed, signature, signer if isinstance(signer, str) else "")

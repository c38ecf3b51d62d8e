"""X.509 certificates of AMD's shape, read strictly: names, times, a P-384 or RSA key, extensions."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sevbuild.attest import der
from sevbuild.attest.der import Reader
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import COORDINATE_SIZE, P384PublicKey
from sevbuild.identity.rsa import RsaPublicKey

__all__ = [
    "Certificate",
    "Name",
    "Signed",
    "certificates_in",
    "common_name",
    "decode_certificate",
    "decode_extensions",
    "decode_name",
    "decode_signed",
    "ders_in",
    "expect_algorithm",
    "name_text",
]

Name = tuple[tuple[str, str], ...]
"""A distinguished name: kind (`CN`, or dotted numbers) and text of each part, in the order they stand in."""

_NAME_PARTS = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
}
# RFC 5480, 2.1.1 and RFC 3279, 2.3.1.
_EC_KEY = bytes.fromhex("301006072a8648ce3d020106052b81040022")
_RSA_KEY = bytes.fromhex("300d06092a864886f70d0101010500")
_LIMIT = 1 << 20
_MOST = 64
# No dash is in base64: what has no end is not looked through again for each beginning.
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s([^-]*)-----END \1-----")


class Certificate(NamedTuple):
    """One certificate, of which nothing has been checked but that it is DER.

    `signed` is what `signature` covers, `signature_algorithm` the DER of that field, alike in both places.
    `extensions` are (critical, value) by dotted number; `sha256` is that of all its bytes.
    """

    source: str
    der: bytes
    sha256: bytes
    serial: int
    issuer: Name
    subject: Name
    not_before: datetime
    not_after: datetime
    public_key: P384PublicKey | RsaPublicKey
    extensions: Mapping[str, tuple[bool, bytes]]
    signed: bytes
    signature: bytes
    signature_algorithm: bytes


class Signed(NamedTuple):
    """What a signature of X.509 covers, to be read and as bytes; the DER of its algorithm; the signature."""

    contents: Reader
    signed: bytes
    algorithm: bytes
    signature: bytes


def decode_certificate(data: bytes, source: str) -> Certificate:
    """Return the certificate of these bytes, all of them; raises SevbuildError for anything that is none."""
    inner, signed, algorithm, signature = decode_signed(data, source)
    explicit = inner.element(0xA0)
    # RFC 5280, 4.1: version 3 is the number 2.
    if explicit.integer() != 2:
        raise SevbuildError(f"{source}: it is no X.509 certificate of version 3")
    explicit.finish()
    serial = inner.integer()
    expect_algorithm(inner, algorithm)
    issuer = decode_name(inner)
    validity = inner.element()
    not_before, not_after = validity.time(), validity.time()
    validity.finish()
    subject = decode_name(inner)
    key = _public_key(inner)
    explicit = inner.element(0xA3)
    extensions = decode_extensions(explicit)
    explicit.finish()
    inner.finish()
    return Certificate(
        source,
        data,
        sha256(data).digest(),
        serial,
        issuer,
        subject,
        not_before,
        not_after,
        key,
        extensions,
        signed,
        signature,
        algorithm,
    )


def certificates_in(data: bytes, source: str) -> list[Certificate]:
    """Return the certificates of a file: PEM, with any text around them, or DER, one behind the other."""
    found = ders_in(data, source, "CERTIFICATE")
    return [
        decode_certificate(one, source if len(found) == 1 else f"{source}: certificate {number}")
        for number, one in enumerate(found, 1)
    ]


def ders_in(data: bytes, source: str, label: str) -> list[bytes]:
    """Return the DER of everything that is called `label` in PEM, or of all where this is DER."""
    if len(data) > _LIMIT:
        raise SevbuildError(f"{source}: {len(data)} bytes are more than certificates have")
    if data[:1] == bytes([der.SEQUENCE]):
        whole, found = Reader(data, source), list[bytes]()
        while whole.tag is not None and len(found) <= _MOST:
            found.append(whole.raw(der.SEQUENCE))
    else:
        blocks = [match for match in _PEM.finditer(data) if match[1] == label.encode()]
        found = [_from_base64(match[2], source) for match in blocks[: _MOST + 1]]
    if not found:
        raise SevbuildError(f"{source}: it is neither DER nor PEM, or has no {label} in it")
    if len(found) > _MOST:
        raise SevbuildError(f"{source}: it has more than {_MOST} certificates")
    return found


def decode_signed(data: bytes, source: str) -> Signed:
    """Return the two parts of what X.509 signs, certificates and lists alike (RFC 5280, 4.1.1 and 5.1.1)."""
    whole = Reader(data, source)
    outer = whole.element()
    whole.finish()
    at = outer.at
    contents = outer.element()
    signed = data[at : outer.at]
    algorithm, signature = outer.raw(der.SEQUENCE), outer.bits()
    outer.finish()
    return Signed(contents, signed, algorithm, signature)


def expect_algorithm(reader: Reader, algorithm: bytes) -> None:
    """Check that the next element is the signature algorithm that stands beside the signature as well."""
    if reader.raw(der.SEQUENCE) != algorithm:
        raise SevbuildError(f"{reader.source}: it names two signature algorithms")


def decode_name(reader: Reader) -> Name:
    """Return the next element, a distinguished name each part of which has one kind and text."""
    outer, parts = reader.element(), list[tuple[str, str]]()
    while outer.tag is not None:
        relative = outer.element(der.SET)
        part = relative.element()
        relative.finish()
        kind = part.oid()
        parts.append((_NAME_PARTS.get(kind, kind), part.text()))
        part.finish()
    return tuple(parts)


def decode_extensions(reader: Reader) -> dict[str, tuple[bool, bytes]]:
    """Return the next element: extensions by number, whether each is critical, and its value."""
    outer, found = reader.element(), dict[str, tuple[bool, bytes]]()
    while outer.tag is not None:
        one = outer.element()
        number = one.oid()
        critical = one.tag == der.BOOLEAN
        # What is false by default is not written (X.690, 11.5).
        if critical and not one.boolean():
            raise one.fault(f"extension {number} says that it is not critical")
        if number in found:
            raise one.fault(f"extension {number} stands there twice")
        found[number] = (critical, one.contents(der.OCTET_STRING))
        one.finish()
    return found


def common_name(name: Name) -> str:
    """Return the common name, empty where there is none."""
    return next((text for kind, text in name if kind == "CN"), "")


def name_text(name: Name) -> str:
    """Return a name as a person reads it."""
    return ", ".join(f"{kind}={text}" for kind, text in name)


def _public_key(reader: Reader) -> P384PublicKey | RsaPublicKey:
    outer = reader.element()
    algorithm, found = outer.raw(der.SEQUENCE), outer.bits()
    outer.finish()
    if algorithm == _EC_KEY:
        # SEC 1, 2.3.3: 04, x and y.
        if len(found) != 1 + 2 * COORDINATE_SIZE or found[0] != 4:
            raise outer.fault("the key is no uncompressed point of P-384")
        x, y = found[1 : 1 + COORDINATE_SIZE], found[1 + COORDINATE_SIZE :]
        return P384PublicKey(int.from_bytes(x, "big"), int.from_bytes(y, "big"))
    if algorithm != _RSA_KEY:
        raise outer.fault("the key is neither of P-384 nor RSA")
    whole = Reader(found, f"{reader.source}: public key")
    numbers = whole.element()
    whole.finish()
    modulus, exponent = numbers.integer(), numbers.integer()
    numbers.finish()
    return RsaPublicKey.of(modulus.bit_length(), exponent, modulus, outer.source)


def _from_base64(text: bytes, source: str) -> bytes:
    joined = b"".join(text.split())
    if re.fullmatch(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", joined):
        return a2b_base64(joined)
    raise SevbuildError(f"{source}: the PEM in it is no base64")

"""Lists of revoked certificates (RFC 5280, 5) as AMD's root keys sign them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sevbuild.attest import der
from sevbuild.attest.certificate import (
    Name,
    decode_extensions,
    decode_name,
    decode_signed,
    ders_in,
    expect_algorithm,
)
from sevbuild.errors import SevbuildError

__all__ = ["Crl", "crls_in", "decode_crl"]


class Crl(NamedTuple):
    """One list, of which nothing has been checked but that it is DER.

    `next_update` is None where the list does not say when it gets stale; `revoked` are serial numbers with
    the time since when.
    """

    source: str
    sha256: bytes
    issuer: Name
    this_update: datetime
    next_update: datetime | None
    revoked: Mapping[int, datetime]
    critical: tuple[str, ...]
    signed: bytes
    signature: bytes
    signature_algorithm: bytes


def crls_in(data: bytes, source: str) -> list[Crl]:
    """Return the lists of a file: PEM, with any text around them, or DER, one behind the other."""
    return [decode_crl(one, source) for one in ders_in(data, source, "X509 CRL")]


def decode_crl(data: bytes, source: str) -> Crl:
    """Return the list of these bytes, all of them; raises SevbuildError for anything that is none."""
    inner, signed, algorithm, signature = decode_signed(data, source)
    # RFC 5280, 5.1.2.1: version 2 is the number 1.
    if inner.integer() != 1:
        raise SevbuildError(f"{source}: it is no list of revoked certificates of version 2")
    expect_algorithm(inner, algorithm)
    issuer = decode_name(inner)
    this_update = inner.time()
    next_update = inner.time() if inner.tag in der.TIMES else None
    revoked, critical = dict[int, datetime](), list[str]()
    if inner.tag == der.SEQUENCE:
        entries = inner.element()
        while entries.tag is not None:
            entry = entries.element()
            serial = entry.integer()
            revoked[serial] = entry.time()
            if entry.tag is not None:
                critical += _critical(decode_extensions(entry))
            entry.finish()
    if inner.tag is not None:
        explicit = inner.element(0xA0)
        critical += _critical(decode_extensions(explicit))
        explicit.finish()
    inner.finish()
    return Crl(
        source,
        sha256(data).digest(),
        issuer,
        this_update,
        next_update,
        revoked,
        tuple(critical),
        signed,
        signature,
        algorithm,
    )


def _critical(extensions: Mapping[str, tuple[bool, bytes]]) -> list[str]:
    return [number for number, (critical, _value) in extensions.items() if critical]

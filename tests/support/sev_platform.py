"""A platform of our own, from its root key to its PDH: what no real one tells, its private keys, is known."""

from __future__ import annotations

from functools import cache
from struct import pack
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP384R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from sevbuild.identity.ecdsa import EcdsaSignature, P384PublicKey
from sevbuild.identity.sev_certificate import AmdCertificate, SevCertificate, certificates_in
from sevbuild.identity.sev_roots import AmdRoot

__all__ = ["NAMES", "OwnPlatform", "own_platform"]

NAMES = ("pdh", "pek", "oca", "cek", "ask", "ark")
EMPTY = pack("<II512x", 0x1000, 0)
PDH, PEK, OCA, CEK, ASK = 0x1003, 0x1002, 0x1001, 0x1004, 0x13


class OwnPlatform(NamedTuple):
    """The private key of the PDH, and the certificates by name."""

    pdh: EllipticCurvePrivateKey
    files: dict[str, bytes]

    @property
    def certificates(self) -> list[AmdCertificate | SevCertificate]:
        return [*certificates_in(b"".join(self.files[name] for name in NAMES), "ours")]

    @property
    def root(self) -> AmdRoot:
        """Return what trusts this platform."""
        by_title = {one.title: one for one in self.certificates}
        ark, ask = by_title["ARK"], by_title["ASK"]
        assert isinstance(ark, AmdCertificate)
        assert isinstance(ask, AmdCertificate)
        return AmdRoot("ours", ark, ask)


@cache
def own_platform(bits: int = 2048, rsa_owner: bool = False) -> OwnPlatform:
    """Return a platform whose AMD keys have so many bits; its owner may have an RSA key as well."""
    ark, ask = _rsa(bits, 1), _rsa(bits, 2)
    cek, pek, pdh = (derive_private_key(number, SECP384R1()) for number in (3, 4, 5))
    ids = [bytes([number]) * 16 for number in (1, 2)]
    files = {
        "ark": _amd(ark, ids[0], ids[0], 0, ark),
        "ask": _amd(ask, ids[1], ids[0], ASK, ark),
    }
    body = _body(CEK, 2, cek)
    files["cek"] = body + _by_rsa(ask, body, ASK) + EMPTY
    owner, oca = _rsa(2048, 6), derive_private_key(7, SECP384R1())
    if rsa_owner:
        numbers = owner.public_key().public_numbers()
        key = pack("<I", 2048) + numbers.e.to_bytes(512, "little") + numbers.n.to_bytes(512, "little")
        oca_body = pack("<IBBHII", 1, 1, 55, 0, OCA, 1) + key
        files["oca"] = oca_body + _by_rsa(owner, oca_body, OCA) + EMPTY
    else:
        oca_body = _body(OCA, 2, oca)
        files["oca"] = oca_body + _by_ec(oca, oca_body, OCA) + EMPTY
    body = _body(PEK, 2, pek)
    by_owner = _by_rsa(owner, body, OCA) if rsa_owner else _by_ec(oca, body, OCA)
    files["pek"] = body + _by_ec(cek, body, CEK) + by_owner
    body = _body(PDH, 3, pdh)
    files["pdh"] = body + _by_ec(pek, body, PEK) + EMPTY
    return OwnPlatform(pdh, files)


@cache
def _rsa(bits: int, number: int) -> RSAPrivateKey:
    del number
    return generate_private_key(65537, bits)


def _body(usage: int, algorithm: int, key: EllipticCurvePrivateKey) -> bytes:
    return pack("<IBBHII", 1, 1, 55, 0, usage, algorithm) + P384PublicKey.of(key.public_key()).encode()


def _by_ec(key: EllipticCurvePrivateKey, body: bytes, usage: int) -> bytes:
    signed = key.sign(body, ECDSA(SHA256(), deterministic_signing=True))
    return pack("<II", usage, 2) + EcdsaSignature(*decode_dss_signature(signed)).encode(512)


def _raw_rsa(key: RSAPrivateKey, body: bytes) -> bytes:
    digest = SHA256() if key.key_size == 2048 else SHA384()
    return key.sign(body, PSS(MGF1(digest), digest.digest_size), digest)[::-1]


def _by_rsa(key: RSAPrivateKey, body: bytes, usage: int) -> bytes:
    return pack("<II512s", usage, 1 if key.key_size == 2048 else 0x101, _raw_rsa(key, body))


def _amd(key: RSAPrivateKey, own: bytes, signer: bytes, usage: int, by: RSAPrivateKey) -> bytes:
    numbers, size = key.public_key().public_numbers(), key.key_size // 8
    body = pack("<I16s16sI16xII", 1, own, signer, usage, key.key_size, key.key_size)
    body += numbers.e.to_bytes(size, "little") + numbers.n.to_bytes(size, "little")
    return body + _raw_rsa(by, body)

"""Signatures with a local key, deterministic: the same key and bytes give the same signature."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["SigningKey", "load_signing_key"]

_P384_BYTES = 48


class SigningKey(NamedTuple):
    """Hold a private key; `kind` is P-256, P-384 or Ed25519, `key_id` the SHA-256 of its public key (DER)."""

    kind: str
    key_id: str
    key: EllipticCurvePrivateKey | Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`: DER for ECDSA (RFC 6979, SHA-256 or SHA-384), 64 bytes for Ed25519."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        if not isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data)
        digest: hashes.HashAlgorithm = hashes.SHA256() if self.kind == "P-256" else hashes.SHA384()
        try:
            return self.key.sign(data, ec.ECDSA(digest, deterministic_signing=True))
        except UnsupportedAlgorithm:
            hint = "its cryptography package is built on OpenSSL 3.2 or later in the published wheels"
            raise SevbuildError("this machine cannot sign deterministically (RFC 6979)", hint=hint) from None

    def sign_raw(self, data: bytes) -> bytes:
        """Return an ES384 signature as COSE has it: r and s, 48 bytes each, big-endian (RFC 9053 2.1)."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        if self.kind != "P-384":
            raise SevbuildError(f"a COSE_Sign1 of ES384 needs a P-384 key, not {self.kind}")
        r, s = decode_dss_signature(self.sign(data))
        return r.to_bytes(_P384_BYTES, "big") + s.to_bytes(_P384_BYTES, "big")


def load_signing_key(pem: bytes) -> SigningKey:
    """Return the private key in PEM bytes; raises SevbuildError for anything else.

    The key is P-256, P-384 or Ed25519, and not encrypted.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    hint = "such as from `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`"
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise SevbuildError("the signing key is encrypted; give it decrypted", hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SevbuildError("the signing key is no private key in PEM", hint=hint) from None
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key_id = sha256(der).hexdigest()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SigningKey("Ed25519", key_id, key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return SigningKey("P-256" if key.curve.name == "secp256r1" else "P-384", key_id, key)
    raise SevbuildError("the signing key is neither P-256, P-384 nor Ed25519", hint=hint)

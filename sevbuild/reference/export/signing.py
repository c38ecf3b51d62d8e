"""Signatures with a local key, deterministic: the same key and bytes give the same; and their other half."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import sign_deterministically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["SigningKey", "SigningKeys", "VerifyingKey", "load_signing_key", "load_verifying_key"]

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}
_COSE_ALGORITHMS = {"P-256": -7, "P-384": -35, "Ed25519": -8}  # ES256, ES384, EdDSA: RFC 9053 tables 1 and 2
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48}

# What every reader takes (docs/exporting.md has the table).
_HINT = "such as from `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"


class SigningKey(NamedTuple):
    """A private key; `kind` is P-256, P-384 or Ed25519, `fingerprint` the SHA-256 of its public key."""

    kind: str
    fingerprint: bytes
    key: EllipticCurvePrivateKey | Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """Return the signature that a DSSE envelope holds: DER for ECDSA (RFC 6979), 64 bytes for Ed25519.

        ECDSA is over the SHA-256 whatever the curve: an envelope does not name its algorithm, and that is the
        one that cosign (2.6.5, 3.1.3) and sigstore-python (4.5.1) verify with.
        """
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._sign(data, SHA256())

    @property
    def cose_algorithm(self) -> int:
        """Return the number of the algorithm in a COSE header: ES256, ES384 or EdDSA."""
        return _COSE_ALGORITHMS[self.kind]

    def sign_cose(self, data: bytes) -> bytes:
        """Return the signature by `cose_algorithm`: of ECDSA r and s, big-endian and whole (RFC 9053 2.1)."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256, SHA384

        signature = self._sign(data, SHA384() if self.kind == "P-384" else SHA256())
        if self.kind not in _COORDINATE_BYTES:
            return signature
        size = _COORDINATE_BYTES[self.kind]
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def _sign(self, data: bytes, digest: HashAlgorithm) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        if not isinstance(self.key, EllipticCurvePrivateKey):
            return self.key.sign(data)
        return sign_deterministically(self.key, data, digest)


class VerifyingKey(NamedTuple):
    """A public key: `kind` and `fingerprint` are as those of its private half."""

    kind: str
    fingerprint: bytes
    key: EllipticCurvePublicKey | Ed25519PublicKey

    @property
    def cose_algorithm(self) -> int:
        """Return the number of the algorithm in a COSE header: ES256, ES384 or EdDSA."""
        return _COSE_ALGORITHMS[self.kind]

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature is one that `SigningKey.sign` makes of these bytes."""
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._verifies(data, signature, SHA256())

    def verifies_cose(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature is one that `SigningKey.sign_cose` makes of these bytes."""
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256, SHA384

        size = _COORDINATE_BYTES.get(self.kind)
        if size is not None:
            if len(signature) != 2 * size:
                return False
            numbers = (int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
            signature = encode_dss_signature(*numbers)
        return self._verifies(data, signature, SHA384() if self.kind == "P-384" else SHA256())

    def _verifies(self, data: bytes, signature: bytes, digest: HashAlgorithm) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey

        try:
            if isinstance(self.key, EllipticCurvePublicKey):
                self.key.verify(signature, data, ECDSA(digest))
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKeys(NamedTuple):
    """The keys of a run: `named` by format, and `default` for every other format that can be signed."""

    default: SigningKey | None = None
    named: Mapping[str, SigningKey] = {}

    def of(self, name: str) -> SigningKey | None:
        """Return the key that signs a format."""
        return self.named.get(name, self.default)

    def refuse_unused(self, signed: Collection[str], reasons: Mapping[str, str]) -> None:
        """Raise SevbuildError where a key signed nothing.

        `signed` are the formats that were; `reasons` say of some others why they are not written.
        """
        for name in self.named:
            if name not in signed:
                reason = reasons.get(name, "it is not among the formats")
                raise SevbuildError(f"a signing key for {name}, which is not written: {reason}")
        if self.default is not None and not set(signed) - set(self.named):
            from sevbuild.reference.export.registry import signed_formats

            hint = f"{' and '.join(signed_formats())} are signed"
            raise SevbuildError("a signing key, but no format that it could sign", hint=hint)


def load_signing_key(pem: bytes, called: str = "the signing key") -> SigningKey:
    """Return the private key in PEM bytes; raises SevbuildError, which says `called`, for anything else.

    The key is P-256, P-384 or Ed25519, and not encrypted.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----" in pem:
        hint = f"cosign verifies with the public half of an unencrypted key just as well, {_HINT}"
        raise SevbuildError(f"{called} is encrypted, by cosign", hint=hint)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise SevbuildError(f"{called} is encrypted; give it decrypted", hint=_HINT) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SevbuildError(f"{called} is not a private key in PEM", hint=_HINT) from None
    public: Any = key.public_key()
    kind = _kind_of(public, called)
    return SigningKey(kind, _fingerprint(public), key)  # type: ignore[arg-type]


def load_verifying_key(pem: bytes, called: str) -> VerifyingKey:
    """Return the public key in PEM bytes; raises SevbuildError, which says `called`, for anything else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    hint = "`openssl pkey -in key.pem -pubout` writes that of a private key"
    if b" PRIVATE KEY-----" in pem:
        raise SevbuildError(f"{called}: a private key, which is nothing to verify with", hint=hint)
    try:
        key: Any = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SevbuildError(f"{called}: not a public key in PEM", hint=hint) from None
    return VerifyingKey(_kind_of(key, called), _fingerprint(key), key)


def _kind_of(public: object, called: str) -> str:
    """Return which kind of key this is; raises SevbuildError for one that nothing is signed with."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(public, ed25519.Ed25519PublicKey):
        return "Ed25519"
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return _CURVES[public.curve.name]
    raise SevbuildError(f"{called} is neither P-256, P-384 nor Ed25519", hint=_HINT)


def _fingerprint(public: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).digest()

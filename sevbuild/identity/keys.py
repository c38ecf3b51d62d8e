"""Keys on P-384 from files: PEM or DER, SEC1 or PKCS#8, encrypted or not, or the structure AMD has of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, EcdsaSignature, P384PublicKey, sign_deterministically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["KEY_LIMIT", "EncryptedKeyError", "PrivateKey", "load_private_key", "load_public_key"]

KEY_LIMIT = 64 << 10
"""No key is larger."""

_MAKE = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384` makes one"
_PARAMETERS = re.compile(rb"-----BEGIN EC PARAMETERS-----.*?-----END EC PARAMETERS-----\s*", re.DOTALL)


class EncryptedKeyError(SevbuildError):
    """A private key is encrypted, and no passphrase was given."""


class PrivateKey(NamedTuple):
    """A private key on P-384, and its public half."""

    key: EllipticCurvePrivateKey
    public: P384PublicKey

    def sign(self, data: bytes) -> EcdsaSignature:
        """Return the signature of `data` (SHA-384, RFC 6979)."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA384

        return EcdsaSignature(*decode_dss_signature(sign_deterministically(self.key, data, SHA384())))


def load_private_key(data: bytes, source: str, passphrase: bytes | None = None) -> PrivateKey:
    """Return the private key in a file's bytes.

    Raises EncryptedKeyError for an encrypted one without a passphrase, SevbuildError for what is no such key,
    for a passphrase that is not its own, and for one that it does not need.
    """
    found = _private(data, source, passphrase)
    if found is None:
        if _public(data) is not None:
            raise SevbuildError(f"{source}: a public key; the private half signs")
        raise SevbuildError(f"{source}: not a private key", hint=_MAKE)
    return _on_p384(found, source)


def load_public_key(data: bytes, source: str, passphrase: bytes | None = None) -> P384PublicKey:
    """Return the public key in a file's bytes, or the public half of a private one.

    The 0x404 bytes that `id-block payload --author` writes are read as well. Raises as `load_private_key`.
    """
    if len(data) == KEY_SIZE:
        key = P384PublicKey.decode(data, source)
        key.public_key(source)
        return key
    public = _public(data)
    if public is None:
        private = _private(data, source, passphrase)
        if private is not None:
            return _on_p384(private, source).public
        hint = f"a public or private key in PEM or DER; {_MAKE}"
        if b"-----BEGIN CERTIFICATE-----" in data:
            hint = "`openssl x509 -pubkey -noout` takes the key out of a certificate"
        raise SevbuildError(f"{source}: not a key", hint=hint)
    if passphrase is not None:
        raise _needless(source)
    _refuse_curve(public, source)
    return P384PublicKey.of(public)


def _on_p384(key: Any, source: str) -> PrivateKey:
    _refuse_curve(key, source)
    return PrivateKey(key, P384PublicKey.of(key.public_key()))


def _refuse_curve(key: Any, source: str) -> None:
    """Raise SevbuildError for a key of another kind, or on another curve."""
    curve = getattr(key, "curve", None)
    if curve is None:
        kind = type(key).__name__.lower().removeprefix("_").partition("p")[0]
        raise SevbuildError(
            f"{source}: a key of another kind ({kind}); ID blocks take ECDSA on P-384", hint=_MAKE
        )
    if curve.name != "secp384r1":
        raise SevbuildError(f"{source}: a key on {curve.name}; ID blocks take P-384 (secp384r1)", hint=_MAKE)


def _is_pem(data: bytes) -> bool:
    return b"-----BEGIN " in data


def _private(data: bytes, source: str, passphrase: bytes | None) -> Any:
    """Return a private key of any kind, None where the bytes are none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    # `openssl ecparam -genkey` writes the curve ahead of the key.
    data = _PARAMETERS.sub(b"", data)
    load = load_pem_private_key if _is_pem(data) else load_der_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        if passphrase is None:
            raise EncryptedKeyError(f"{source}: the key is encrypted, and no passphrase was given") from None
    except (ValueError, UnsupportedAlgorithm):
        return None
    else:
        if passphrase is not None:
            raise _needless(source)
        return key
    try:
        return load(data, password=passphrase)
    except (ValueError, UnsupportedAlgorithm):
        raise SevbuildError(f"{source}: the passphrase does not open the key") from None


def _needless(source: str) -> SevbuildError:
    return SevbuildError(
        f"{source}: the key is not encrypted, and a passphrase was given", hint="leave it out"
    )


def _public(data: bytes) -> Any:
    """Return a public key of any kind, None where the bytes are none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        return load_pem_public_key(data) if _is_pem(data) else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return None

"""Signatures made elsewhere: in which form they are, and what one that does not verify signs instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha384
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.ecdsa import (
    COORDINATE_SIZE,
    NUMBER_SIZE,
    ORDER_P384,
    SIGNATURE_SIZE,
    EcdsaSignature,
    P384PublicKey,
)
from sevbuild.text import utf8_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["SIGNATURE_LIMIT", "Signed", "digest_to_sign", "matching_signature", "signature_forms"]

SIGNATURE_LIMIT = 4096
"""No signature is larger, in any form."""

_OTHER_CURVES = {64: "P-256", 132: "P-521"}


class Signed(NamedTuple):
    """What should have been signed, and by whom, each with its name in a sentence."""

    what: str
    message: bytes
    key: P384PublicKey
    who: str

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """Return the key that verifies; raises SevbuildError for one that is no point of the curve."""
        return self.key.public_key(self.who)


def digest_to_sign(message: bytes) -> bytes:
    """Return what an HSM signs that does not hash: the SHA-384 of the bytes."""
    return sha384(message).digest()


def signature_forms(data: bytes, source: str) -> tuple[EcdsaSignature, ...]:
    """Return each signature that the bytes can be read as; which of them it is, only verifying tells.

    DER (OpenSSL, KMS); r and s of 48 bytes (PKCS#11), big-endian or little-endian; of 72 bytes (AMD), and
    those in a field of 512; any of it in hexadecimal or base64. Raises SevbuildError for anything else.
    """
    found: list[EcdsaSignature] = []
    for form in _bytes_of(data):
        found += _read(form, source)
    # A number of zero, or one that is the order or more, is none of a signature.
    valid = [pair for pair in found if all(0 < number < ORDER_P384 for number in pair)]
    if not valid:
        size = len(data)
        curve = _OTHER_CURVES.get(size)
        hint = "DER, or r and s of 48 bytes each, or the 512 bytes of the ID authentication"
        thing = f"; {size} bytes are r and s of {curve}" if curve and not found else ""
        raise SevbuildError(f"{source}: {size} bytes that are no signature on P-384{thing}", hint=hint)
    return tuple(dict.fromkeys(valid))


def matching_signature(
    data: bytes, signed: Signed, source: str, others: Sequence[Signed] = ()
) -> EcdsaSignature:
    """Return the signature in `data` that verifies.

    Raises MismatchError where none does: it names what was signed in its place, where that is a known
    mistake or one of `others`.
    """
    candidates = signature_forms(data, source)
    for signature in candidates:
        if signature.verifies(signed.message, signed.public_key):
            return signature
    for signature in candidates:
        mistake = _mistake(signature, signed, others)
        if mistake is not None:
            raise MismatchError(f"{source}: {mistake[0]}", hint=mistake[1])
    hint = "`sevbuild id-block payload` writes the bytes to sign; was it another key, digest, policy or id?"
    raise MismatchError(f"{source}: not a signature of {signed.what} by {signed.who}", hint=hint)


def _bytes_of(data: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, and those that they are the hexadecimal or base64 text of."""
    if len(data) > SIGNATURE_LIMIT:
        return
    yield data
    # Who copies from a terminal has line ends in it.
    text = utf8_text(data)
    written = None if text is None else hex_bytes(text) or base64_bytes(text)
    if written is not None:
        yield written


def _read(data: bytes, source: str) -> Iterator[EcdsaSignature]:
    size = len(data)
    if size == 2 * COORDINATE_SIZE:
        halves = (data[:COORDINATE_SIZE], data[COORDINATE_SIZE:])
        for order in ("big", "little"):
            yield EcdsaSignature(*(int.from_bytes(half, order) for half in halves))
    elif size in (2 * NUMBER_SIZE, SIGNATURE_SIZE):
        yield EcdsaSignature.decode(data, source)
    elif data[:1] == b"\x30":
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        with suppress(ValueError):
            yield EcdsaSignature(*decode_dss_signature(data))


def _mistake(
    signature: EcdsaSignature, signed: Signed, others: Sequence[Signed]
) -> tuple[str, str | None] | None:
    """Return what a signature signs in place of what it should, and what to do; None for nothing known."""
    for message, algorithm, mistake in _digest_mistakes(signed.message):
        if signature.verifies(message, signed.public_key, algorithm):
            return mistake
    for other in others:
        if signature.verifies(other.message, other.public_key):
            return f"a signature of {other.what} by {other.who}, not of {signed.what} by {signed.who}", None
        if signature.verifies(signed.message, other.public_key):
            return f"a signature of {signed.what} by {other.who}, not by {signed.who}", None
    return None


def _digest_mistakes(message: bytes) -> Iterator[tuple[bytes, HashAlgorithm | Prehashed, tuple[str, str]]]:
    """Yield what is signed by mistake with the right key: bytes, how they are hashed, what to say of it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    digest = digest_to_sign(message)
    hint = "sign with SHA-384, or sign the digest that `sevbuild id-block payload --digest` writes"
    for algorithm in (hashes.SHA256(), hashes.SHA512(), hashes.SHA224()):
        name = f"SHA-{algorithm.digest_size * 8}"
        why = "; cosign 2 and most KMS take SHA-256 unless told otherwise" if name == "SHA-256" else ""
        yield message, algorithm, (f"a signature over {name}; the firmware verifies SHA-384", hint + why)
        again = f"a signature of the digest, hashed once more with {name}"
        yield digest, algorithm, (again, "sign the digest as it is")
    again = "a signature of the digest, hashed once more"
    yield digest, hashes.SHA384(), (again, "sign the digest as it is, or the bytes themselves")
    text = digest.hex().encode()[: len(digest)]
    mistake = ("a signature of the digest's hexadecimal text", "sign the 48 bytes that it stands for")
    yield text, Prehashed(hashes.SHA384()), mistake

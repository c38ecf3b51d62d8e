"""ECDSA P-384 as the secure processor stores it: little-endian numbers in fields of 72 bytes."""

from __future__ import annotations

from hashlib import sha384
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = [
    "COORDINATE_SIZE",
    "CURVE_P384",
    "KEY_SIZE",
    "NUMBER_SIZE",
    "ORDER_P384",
    "SIGNATURE_SIZE",
    "EcdsaSignature",
    "P384PublicKey",
    "sign_deterministically",
]

NUMBER_SIZE = 72
"""The bytes of a number's field (SNP ABI 10, SEV API C.2): r, s, and the coordinates of a key."""
COORDINATE_SIZE = 48
"""The bytes of a number of P-384."""
CURVE_P384 = 2
"""The curve's number in a key (SNP ABI table 141, SEV API table 112)."""
KEY_SIZE = 0x404
"""The bytes of a public key (SNP ABI table 141, SEV API table 112)."""
SIGNATURE_SIZE = 512
"""The bytes of a signature (SNP ABI, chapter 10): r, s, zeros."""
ORDER_P384 = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
)
"""The order of the curve's base point (SEC 2, 2.5.1)."""


class EcdsaSignature(NamedTuple):
    """The two numbers of a signature."""

    r: int
    s: int

    @classmethod
    def decode(cls, field: bytes, name: str) -> EcdsaSignature:
        """Return the signature at the start of `field`, r and s as 72 bytes each, little-endian.

        Raises SevbuildError for a field whose padding is set: bytes that no signature covers, and that would
        tell two fields of one signature apart.
        """
        found = cls.of_numbers(field)
        if any(number >> 8 * COORDINATE_SIZE for number in found) or any(field[2 * NUMBER_SIZE :]):
            raise SevbuildError(f"{name}: bytes beside the two 48-byte numbers are set")
        return found

    @classmethod
    def of_numbers(cls, field: bytes) -> EcdsaSignature:
        """Return the two numbers at the start of `field` as they are; what stands behind them is not read."""
        parts = (field[:NUMBER_SIZE], field[NUMBER_SIZE : 2 * NUMBER_SIZE])
        return cls(*(int.from_bytes(part, "little") for part in parts))

    def encode(self, size: int) -> bytes:
        """Return the signature as a field of `size` bytes (512 in certificates, ID blocks and reports)."""
        numbers = b"".join(number.to_bytes(NUMBER_SIZE, "little") for number in self)
        return numbers.ljust(size, b"\0")

    @property
    def der(self) -> bytes:
        """Return the signature as X9.62 and OpenSSL write it."""
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        return encode_dss_signature(self.r, self.s)

    def verifies(
        self, data: bytes, key: EllipticCurvePublicKey, digest: HashAlgorithm | Prehashed | None = None
    ) -> bool:
        """Tell whether this is a signature of `data` by the owner of a P-384 key; None stands for SHA-384."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA384

        try:
            key.verify(self.der, data, ECDSA(digest or SHA384()))
        except InvalidSignature:
            return False
        return True


class P384PublicKey(NamedTuple):
    """The two coordinates of a public key; nothing says yet that they are a point of the curve."""

    x: int
    y: int

    @classmethod
    def decode(cls, field: bytes, name: str) -> P384PublicKey:
        """Return the key in a field of KEY_SIZE bytes: curve (u32), x and y of 72 bytes each, little-endian.

        Raises SevbuildError for another length or curve, and for bytes set beside the numbers.
        """
        if len(field) != KEY_SIZE:
            raise SevbuildError(f"{name}: a public key is {KEY_SIZE} bytes, not {len(field)}")
        curve = int.from_bytes(field[:4], "little")
        if curve != CURVE_P384:
            raise SevbuildError(f"{name}: curve {curve} is not P-384, which is {CURVE_P384}")
        numbers = EcdsaSignature.decode(field[4:], name)
        return cls(*numbers)

    @classmethod
    def of(cls, key: EllipticCurvePublicKey) -> P384PublicKey:
        """Return the coordinates of a key; raises SevbuildError for one of another curve."""
        if key.curve.name != "secp384r1":
            raise SevbuildError(f"a key of curve {key.curve.name}, where P-384 (secp384r1) is needed")
        numbers = key.public_numbers()
        return cls(numbers.x, numbers.y)

    def encode(self) -> bytes:
        """Return the field of KEY_SIZE bytes."""
        return (CURVE_P384.to_bytes(4, "little") + EcdsaSignature(*self).encode(2 * NUMBER_SIZE)).ljust(
            KEY_SIZE, b"\0"
        )

    @property
    def digest(self) -> bytes:
        """Return what a report has of an ID or author key: the SHA-384 of its field."""
        return sha384(self.encode()).digest()

    def public_key(self, name: str) -> EllipticCurvePublicKey:
        """Return the key that signatures are checked with; raises SevbuildError for no point of the curve."""
        from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicNumbers

        try:
            return EllipticCurvePublicNumbers(self.x, self.y, SECP384R1()).public_key()
        except ValueError:
            raise SevbuildError(f"{name}: its public key is no point of P-384") from None


def sign_deterministically(key: EllipticCurvePrivateKey, data: bytes, digest: HashAlgorithm) -> bytes:
    """Return the DER signature of `data` by RFC 6979: the same key and bytes give the same signature."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        return key.sign(data, ECDSA(digest, deterministic_signing=True))
    except UnsupportedAlgorithm:
        hint = "its cryptography package is built on OpenSSL 3.2 or later in the published wheels"
        raise SevbuildError("this machine cannot sign deterministically (RFC 6979)", hint=hint) from None

"""RSA as the secure processor stores it: little-endian numbers, signatures with PSS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["MODULUS_BITS", "RsaPublicKey"]

MODULUS_BITS = (2048, 4096)
"""The sizes of a modulus (SEV API C.2 and C.4)."""


class RsaPublicKey(NamedTuple):
    """A public key; `bits` is the size of its modulus."""

    bits: int
    exponent: int
    modulus: int

    @classmethod
    def decode(cls, bits: int, exponent: bytes, modulus: bytes, name: str) -> RsaPublicKey:
        """Return the key of these little-endian numbers; raises SevbuildError unless they have that size."""
        return cls.of(bits, int.from_bytes(exponent, "little"), int.from_bytes(modulus, "little"), name)

    @classmethod
    def of(cls, bits: int, exponent: int, modulus: int, name: str) -> RsaPublicKey:
        """Return the key of these numbers; raises SevbuildError unless they have that size, a known one."""
        if bits not in MODULUS_BITS:
            raise SevbuildError(f"{name}: an RSA key of {bits} bits, where 2048 or 4096 are known")
        if modulus.bit_length() != bits or not modulus & 1 or exponent != _EXPONENT:
            raise SevbuildError(f"{name}: its numbers are no RSA key of {bits} bits")
        return cls(bits, exponent, modulus)

    def verifies(self, signature: bytes, data: bytes, digest: HashAlgorithm) -> bool:
        """Tell whether `signature` (little-endian) is one of `data` by the owner of this key.

        It is PSS with the same digest in its mask, and a salt of the digest's length.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        size = self.bits // 8
        if signature[size:].strip(b"\0"):
            return False
        key = RSAPublicNumbers(self.exponent, self.modulus).public_key()
        padding = PSS(MGF1(digest), digest.digest_size)
        try:
            key.verify(signature[:size][::-1], data, padding, digest)
        except InvalidSignature:
            return False
        return True


_EXPONENT = 65537
"""Of every key in AMD's chains."""

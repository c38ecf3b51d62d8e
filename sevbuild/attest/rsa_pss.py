"""RSA-PSS with SHA-384, the one algorithm by which AMD signs certificates and lists of revoked ones."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PSS_SHA384", "RsaPublic"]

# RFC 4055, 3.1: id-RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes; most of AMD's
# certificates write out the trailer field, which DER leaves out where it is 1, some do not.
_SHA384 = "300d06096086480165030402020500"
_PARAMETERS = f"a00f{_SHA384}a11c301a06092a864886f70d010108{_SHA384}a203020130"
PSS_SHA384 = frozenset(
    bytes.fromhex(text)
    for text in (
        f"304106092a864886f70d01010a3034{_PARAMETERS}",
        f"304606092a864886f70d01010a3039{_PARAMETERS}a303020101",
    )
)
"""Both forms in which a certificate names the algorithm (DER of its AlgorithmIdentifier)."""


class RsaPublic(NamedTuple):
    """An RSA public key: modulus and exponent."""

    n: int
    e: int

    def verifies(self, signed: bytes, signature: bytes, algorithm: bytes) -> bool:
        """Tell whether this is a signature of `signed` by the owner of the key.

        `algorithm` is what the certificate says of it: anything but PSS_SHA384 verifies nothing.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
        from cryptography.hazmat.primitives.hashes import SHA384

        if algorithm not in PSS_SHA384:
            return False
        key = RSAPublicNumbers(self.e, self.n).public_key()
        padding = PSS(MGF1(SHA384()), salt_length=SHA384.digest_size)
        try:
            key.verify(signature, signed, padding, SHA384())
        except InvalidSignature:
            return False
        return True

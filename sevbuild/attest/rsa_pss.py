"""RSA-PSS with SHA-384, the one algorithm by which AMD signs certificates and lists of revoked ones."""

from __future__ import annotations

from typing import Protocol

from sevbuild.identity.rsa import RsaPublicKey

__all__ = ["PSS_SHA384", "Sealed", "is_signed_by"]

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


class Sealed(Protocol):
    """What has a signature in X.509's manner: the bytes it is over, itself, and the DER of its algorithm."""

    @property
    def signed(self) -> bytes:
        """The bytes that are signed."""

    @property
    def signature(self) -> bytes:
        """The signature, its first byte the most significant."""

    @property
    def signature_algorithm(self) -> bytes:
        """The DER of its AlgorithmIdentifier."""


def is_signed_by(sealed: Sealed, key: RsaPublicKey) -> bool:
    """Tell whether a certificate or list is signed by the owner of a key, by PSS_SHA384 and nothing else."""
    from cryptography.hazmat.primitives.hashes import SHA384

    if sealed.signature_algorithm not in PSS_SHA384 or len(sealed.signature) != key.bits // 8:
        return False
    return key.verifies(sealed.signature[::-1], sealed.signed, SHA384())

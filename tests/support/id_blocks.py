"""Keys and ID blocks for tests: the same in every run."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, derive_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.keys import PrivateKey
from sevbuild.identity.signed_block import SignedBlock, author_of, sign_block

__all__ = ["AUTHOR_KEY", "BLOCK", "ID_KEY", "private_key", "private_pem", "public_pem", "signed"]

BLOCK = IdBlock(bytes(range(48)), 0x30000, b"f" * 16, b"i" * 16, 7)


@cache
def private_key(secret: int) -> PrivateKey:
    """Return the key of a secret number."""
    key = derive_private_key(secret, SECP384R1())
    return PrivateKey(key, P384PublicKey.of(key.public_key()))


ID_KEY = private_key(0x1D)
AUTHOR_KEY = private_key(0xA0)


def signed(block: IdBlock = BLOCK, *, author: bool = False) -> SignedBlock:
    """Return a block signed with ID_KEY, and with AUTHOR_KEY as its author's on demand."""
    return sign_block(block, ID_KEY, author_of(ID_KEY.public, AUTHOR_KEY) if author else None)


def private_pem(
    key: PrivateKey, *, passphrase: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8
) -> bytes:
    """Return a private key as OpenSSL writes it."""
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.key.private_bytes(Encoding.PEM, form, encryption)


def public_pem(key: PrivateKey) -> bytes:
    """Return the public half of a key as OpenSSL writes it."""
    return key.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

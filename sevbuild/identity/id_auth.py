"""The authentication of an ID block: signatures and public keys, 4096 bytes (SNP ABI, SNP_LAUNCH_FINISH)."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, SIGNATURE_SIZE, EcdsaSignature, P384PublicKey

__all__ = ["ALGORITHM", "AUTH_SIZE", "AuthFields", "Author", "IdAuth"]

AUTH_SIZE = 4096
ALGORITHM = 1
"""ECDSA on P-384 with SHA-384 (SNP ABI, chapter 10)."""

# Offset and size of each field of ID_AUTH_INFO, in the order of `AuthFields`; what is between is reserved.
_FIELDS = (
    (0x000, 4),
    (0x004, 4),
    (0x040, SIGNATURE_SIZE),
    (0x240, KEY_SIZE),
    (0x680, SIGNATURE_SIZE),
    (0x880, KEY_SIZE),
)
_ENDS = [at + size for at, size in _FIELDS]
_RESERVED = list(zip(_ENDS, [*(at for at, _size in _FIELDS[1:]), AUTH_SIZE], strict=True))
_LEAST = _ENDS[3]
"""The bytes of an authentication that ends behind the ID key."""


class AuthFields(NamedTuple):
    """The fields of the 4096 bytes as they stand there, none of them looked at.

    `signature` is the ID key's of the block, `key_signature` the author key's of the ID key.
    """

    algorithm: bytes
    author_algorithm: bytes
    signature: bytes
    key: bytes
    key_signature: bytes
    author_key: bytes

    @classmethod
    def of(cls, auth: bytes) -> AuthFields:
        """Return the fields of AUTH_SIZE bytes."""
        return cls(*(auth[at : at + size] for at, size in _FIELDS))

    def encode(self) -> bytes:
        """Return the AUTH_SIZE bytes; a field that is shorter than its place has zeros behind it."""
        data = bytearray(AUTH_SIZE)
        for (at, size), field in zip(_FIELDS, self, strict=True):
            data[at : at + size] = field.ljust(size, b"\0")
        return bytes(data)


class Author(NamedTuple):
    """The author key, and its signature of the ID key's 0x404 bytes."""

    signature: EcdsaSignature
    key: P384PublicKey


class IdAuth(NamedTuple):
    """The ID key and its signature of the block's 96 bytes, and the author where there is one."""

    signature: EcdsaSignature
    key: P384PublicKey
    author: Author | None = None

    @classmethod
    def decode(cls, data: bytes, source: str) -> IdAuth:
        """Return what 4096 bytes say, or fewer as QEMU takes them, which stands for zeros behind.

        All that the firmware passes over must be zero: of two authentications that differ there it would
        accept both. Raises SevbuildError, of another algorithm too.
        """
        if not _LEAST <= len(data) <= AUTH_SIZE:
            raise SevbuildError(
                f"{source}: {len(data)} bytes; the authentication of an ID block has {AUTH_SIZE}"
            )
        data = data.ljust(AUTH_SIZE, b"\0")
        fields = AuthFields.of(data)
        algorithms = [
            int.from_bytes(field, "little") for field in (fields.algorithm, fields.author_algorithm)
        ]
        if algorithms[0] != ALGORITHM:
            raise SevbuildError(
                f"{source}: ID key algorithm {algorithms[0]}; {ALGORITHM} is ECDSA P-384 with SHA-384"
            )
        for start, end in _RESERVED:
            if any(data[start:end]):
                raise SevbuildError(f"{source}: reserved bytes in {start:#x}..{end - 1:#x} are set")
        signature = EcdsaSignature.decode(fields.signature, f"{source}: ID block signature")
        key = _key(fields.key, f"{source}: ID key")
        if not any(fields.key_signature) and not any(fields.author_key):
            # Without an author key peers write either number (docs/id-block.md).
            if algorithms[1] > ALGORITHM:
                raise SevbuildError(f"{source}: author key algorithm {algorithms[1]} without an author key")
            return cls(signature, key)
        if algorithms[1] != ALGORITHM:
            raise SevbuildError(
                f"{source}: author key algorithm {algorithms[1]}; {ALGORITHM} is ECDSA P-384 with SHA-384"
            )
        author = Author(
            EcdsaSignature.decode(fields.key_signature, f"{source}: ID key signature"),
            _key(fields.author_key, f"{source}: author key"),
        )
        return cls(signature, key, author)

    def encode(self) -> bytes:
        """Return the 4096 bytes; without an author key all of the author's fields are zero."""
        algorithm, author = ALGORITHM.to_bytes(4, "little"), self.author
        return AuthFields(
            algorithm,
            b"" if author is None else algorithm,
            self.signature.encode(SIGNATURE_SIZE),
            self.key.encode(),
            b"" if author is None else author.signature.encode(SIGNATURE_SIZE),
            b"" if author is None else author.key.encode(),
        ).encode()


def _key(field: bytes, name: str) -> P384PublicKey:
    """Return the key in a field, a point on the curve; raises SevbuildError."""
    key = P384PublicKey.decode(field, name)
    key.public_key(name)
    return key

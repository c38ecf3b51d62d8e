"""The authentication of an ID block: signatures and public keys, 4096 bytes (SNP ABI, SNP_LAUNCH_FINISH)."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, SIGNATURE_SIZE, EcdsaSignature, P384PublicKey

__all__ = [
    "ALGORITHM",
    "AUTHOR_ALGORITHM_AT",
    "AUTHOR_KEY_AT",
    "AUTH_SIZE",
    "ID_BLOCK_SIGNATURE_AT",
    "ID_KEY_AT",
    "ID_KEY_SIGNATURE_AT",
    "Author",
    "IdAuth",
    "part_of",
]

AUTH_SIZE = 4096
ALGORITHM = 1
"""ECDSA on P-384 with SHA-384 (SNP ABI, chapter 10)."""

AUTHOR_ALGORITHM_AT = 0x004
ID_BLOCK_SIGNATURE_AT = 0x040
ID_KEY_AT = 0x240
ID_KEY_SIGNATURE_AT = 0x680
AUTHOR_KEY_AT = 0x880

_RESERVED = ((0x008, ID_BLOCK_SIGNATURE_AT), (ID_KEY_AT + KEY_SIZE, ID_KEY_SIGNATURE_AT))
_AUTHOR_PARTS = ((ID_KEY_SIGNATURE_AT, SIGNATURE_SIZE), (AUTHOR_KEY_AT, KEY_SIZE))


def part_of(auth: bytes, at: int, size: int) -> bytes:
    """Return `size` bytes of the authentication."""
    return auth[at : at + size]


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
        least = ID_KEY_AT + KEY_SIZE
        if not least <= len(data) <= AUTH_SIZE:
            raise SevbuildError(
                f"{source}: {len(data)} bytes; the authentication of an ID block has {AUTH_SIZE}"
            )
        data = data.ljust(AUTH_SIZE, b"\0")
        algorithms = [int.from_bytes(part_of(data, at, 4), "little") for at in (0, AUTHOR_ALGORITHM_AT)]
        if algorithms[0] != ALGORITHM:
            raise SevbuildError(
                f"{source}: ID key algorithm {algorithms[0]}; {ALGORITHM} is ECDSA P-384 with SHA-384"
            )
        for start, end in (*_RESERVED, (AUTHOR_KEY_AT + KEY_SIZE, AUTH_SIZE)):
            if any(data[start:end]):
                raise SevbuildError(f"{source}: reserved bytes in {start:#x}..{end - 1:#x} are set")
        signature = EcdsaSignature.decode(
            part_of(data, ID_BLOCK_SIGNATURE_AT, SIGNATURE_SIZE), f"{source}: ID block signature"
        )
        key = _key(part_of(data, ID_KEY_AT, KEY_SIZE), f"{source}: ID key")
        if not any(any(part_of(data, *part)) for part in _AUTHOR_PARTS):
            # Without an author key peers write either number (docs/id-block.md).
            if algorithms[1] > ALGORITHM:
                raise SevbuildError(f"{source}: author key algorithm {algorithms[1]} without an author key")
            return cls(signature, key)
        if algorithms[1] != ALGORITHM:
            raise SevbuildError(
                f"{source}: author key algorithm {algorithms[1]}; {ALGORITHM} is ECDSA P-384 with SHA-384"
            )
        (signature_at, signature_size), (key_at, key_size) = _AUTHOR_PARTS
        author = Author(
            EcdsaSignature.decode(part_of(data, signature_at, signature_size), f"{source}: ID key signature"),
            _key(part_of(data, key_at, key_size), f"{source}: author key"),
        )
        return cls(signature, key, author)

    def encode(self) -> bytes:
        """Return the 4096 bytes; without an author key all of the author's fields are zero."""
        data = bytearray(AUTH_SIZE)

        def put(at: int, part: bytes) -> None:
            data[at : at + len(part)] = part

        put(0, ALGORITHM.to_bytes(4, "little"))
        put(ID_BLOCK_SIGNATURE_AT, self.signature.encode(SIGNATURE_SIZE))
        put(ID_KEY_AT, self.key.encode())
        if self.author is not None:
            put(AUTHOR_ALGORITHM_AT, ALGORITHM.to_bytes(4, "little"))
            put(ID_KEY_SIGNATURE_AT, self.author.signature.encode(SIGNATURE_SIZE))
            put(AUTHOR_KEY_AT, self.author.key.encode())
        return bytes(data)


def _key(field: bytes, name: str) -> P384PublicKey:
    """Return the key in a field, a point on the curve; raises SevbuildError."""
    key = P384PublicKey.decode(field, name)
    key.public_key(name)
    return key

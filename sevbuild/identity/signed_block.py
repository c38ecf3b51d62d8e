"""An ID block with its authentication: signed here, put together from signatures of others, and verified."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import MismatchError
from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.identity.id_auth import Author, IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.keys import PrivateKey
from sevbuild.identity.signature import Signed, matching_signature

__all__ = ["SignedBlock", "attached_author", "author_of", "sign_block", "signed_by"]


class SignedBlock(NamedTuple):
    """An ID block and what authenticates it."""

    block: IdBlock
    auth: IdAuth

    def refuse_unverified(self, source: str) -> None:
        """Raise MismatchError unless both signatures are those of the keys beside them."""
        block, auth = self
        if not auth.signature.verifies(block.encode(), auth.key.public_key(source)):
            raise MismatchError(f"{source}: the signature of the ID block is not the ID key's")
        if auth.author is not None and not author_verifies(auth.author, auth.key, source):
            raise MismatchError(f"{source}: the signature of the ID key is not the author key's")


def author_verifies(author: Author, key: P384PublicKey, source: str) -> bool:
    """Tell whether an author signed an ID key."""
    return author.signature.verifies(key.encode(), author.key.public_key(source))


def sign_block(block: IdBlock, key: PrivateKey, author: Author | None = None) -> SignedBlock:
    """Return a block signed with an ID key of this machine (RFC 6979)."""
    return SignedBlock(block, IdAuth(key.sign(block.encode()), key.public, author))


def author_of(key: P384PublicKey, author_key: PrivateKey) -> Author:
    """Return the author's part for an ID key, signed with an author key of this machine (RFC 6979)."""
    return Author(author_key.sign(key.encode()), author_key.public)


def attached_author(key: P384PublicKey, author_key: P384PublicKey, signature: bytes, source: str) -> Author:
    """Return the author's part for an ID key, signed elsewhere; raises MismatchError."""
    return Author(matching_signature(signature, _by_author(key, author_key), source), author_key)


def signed_by(
    block: IdBlock,
    key: P384PublicKey,
    signature: bytes,
    source: str,
    *,
    author: Author | None = None,
) -> SignedBlock:
    """Return a block with a signature that was made elsewhere, in any form that is known.

    Raises MismatchError for one that does not verify, and says what it does sign where that can be told.
    """
    wanted = Signed("the ID block", block.encode(), key, "the ID key")
    others = [] if author is None else [_by_author(key, author.key)]
    return SignedBlock(block, IdAuth(matching_signature(signature, wanted, source, others), key, author))


def _by_author(key: P384PublicKey, author_key: P384PublicKey) -> Signed:
    return Signed("the ID key", key.encode(), author_key, "the author key")

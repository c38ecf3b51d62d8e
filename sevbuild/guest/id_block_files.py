"""ID blocks from files: a block and its authentication, a folder that has both, or an IGVM file."""

from __future__ import annotations

import os
from typing import NamedTuple

from sevbuild.documents.binary_text import base64_bytes
from sevbuild.errors import SevbuildError, file_errors, within
from sevbuild.fs import FileSource, file_starts_with, read_file
from sevbuild.guest.id_blocks import AUTH_FILE, BLOCK_FILE
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.igvm_block import given_block
from sevbuild.identity.signed_block import SignedBlock
from sevbuild.igvm.headers import GuestPolicy, SnpIdBlock
from sevbuild.igvm.reader import read_igvm
from sevbuild.text import utf8_text

__all__ = ["BlockFile", "block_paths", "read_block_file", "read_signed_block"]

_TEXT_LIMIT = 8192
"""The authentication in base64, with line ends in it."""


class BlockFile(NamedTuple):
    """The bytes of a block as they were found, and of its authentication, None where there is none.

    Each has the path of its file. `author_key` is what an IGVM file says of AUTHOR_KEY_EN, None where nothing
    does.
    """

    source: str
    block: bytes
    auth_source: str
    auth: bytes | None
    author_key: bool | None = None


def read_block_file(path: str, auth: str = "") -> BlockFile:
    """Return the block at a path: 96 bytes or their base64, a folder of both files, or an IGVM file.

    `auth` is the file of the authentication; without it, the one beside the block is taken.
    """
    if os.path.isdir(path):
        path = os.path.join(path, BLOCK_FILE)
    if file_starts_with(path, b"IGVM"):
        if auth:
            raise SevbuildError(f"{path} is an IGVM file, and has the authentication of its ID block")
        return _of_igvm(path)
    if not auth and os.path.basename(path) == BLOCK_FILE:
        beside = os.path.join(os.path.dirname(path), AUTH_FILE)
        auth = beside if os.path.lexists(beside) else ""
    block = _read(path)
    IdBlock.decode(block, path)
    return BlockFile(path, block, auth, _read(auth) if auth else None)


def block_paths(path: str) -> list[str]:
    """Return the path of a block, or of each in a folder and those in it; raises SevbuildError for none."""
    if not os.path.isdir(path):
        return [path]
    with file_errors("read", path):
        folders = [path, *sorted(entry.path for entry in os.scandir(path) if entry.is_dir())]
    blocks = (os.path.join(folder, BLOCK_FILE) for folder in folders)
    found = [os.path.normpath(block) for block in blocks if os.path.lexists(block)]
    if not found:
        hint = "`sevbuild id-block payload -o DIR` writes it"
        raise SevbuildError(f"{path}: there is no {BLOCK_FILE} in it", hint=hint)
    return found


def read_signed_block(path: str, auth: str = "") -> SignedBlock:
    """Return the block at a path with its authentication, whose bytes are in order."""
    found = read_block_file(path, auth)
    if found.auth is None:
        hint = "`sevbuild id-block attach` makes it of a signature"
        raise SevbuildError(f"{found.source}: there is no {AUTH_FILE} beside it", hint=hint)
    return SignedBlock(
        IdBlock.decode(found.block, found.source), IdAuth.decode(found.auth, found.auth_source)
    )


def _read(path: str) -> bytes:
    """Return the bytes of a file, or those that it has the base64 text of, as snpguest writes it."""
    data = read_file(path, _TEXT_LIMIT)
    text = utf8_text(data)
    found = None if text is None else base64_bytes(text)
    return data if found is None else found


def _of_igvm(path: str) -> BlockFile:
    """Return the ID block in an IGVM file, with the policy that the file launches its platform by."""
    with within(path):
        headers = [item.header for item in read_igvm(FileSource(path)).items()]
        blocks = [header for header in headers if isinstance(header, SnpIdBlock)]
        if len(blocks) != 1:
            hint = "`sevbuild build` writes one where the manifest has [id-block]" if not blocks else None
            raise SevbuildError(f"{len(blocks) or 'no'} ID blocks in the file", hint=hint)
        (block,) = blocks
        policies = [
            header.policy
            for header in headers
            if isinstance(header, GuestPolicy) and header.compatibility_mask & block.compatibility_mask
        ]
        if len(policies) != 1:
            raise SevbuildError(f"{len(policies)} guest policies beside the ID block, which needs one")
    (policy,) = policies
    given = given_block(block, policy)
    return BlockFile(path, given.block, path, given.auth, given.author_key)

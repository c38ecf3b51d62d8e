"""The ID blocks of a declared guest: signed with the manifest's keys, or found in a folder that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sevbuild.errors import MismatchError, Notice, SevbuildError, file_errors, within
from sevbuild.fs import path_from, read_file
from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.identity.id_auth import AUTH_SIZE, Author, IdAuth
from sevbuild.identity.id_block import BLOCK_SIZE, IdBlock
from sevbuild.identity.keys import KEY_LIMIT, EncryptedKeyError, PrivateKey, load_private_key, load_public_key
from sevbuild.identity.signature import SIGNATURE_LIMIT
from sevbuild.identity.signed_block import SignedBlock, attached_author, author_of, sign_block
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.manifest.model import DeclaredIdBlock, Manifest, Variant
from sevbuild.manifest.targets import Target
from sevbuild.manifest.unused import takes_id_block

__all__ = ["AUTH_FILE", "BLOCK_FILE", "IdBlocks", "Passphrases", "read_blocks", "unsigned_block"]

BLOCK_FILE, AUTH_FILE = "id-block.bin", "id-auth.bin"
"""What a folder of a block has: its 96 bytes, and the 4096 that authenticate it."""

_UNLOCK = "`build`, `qemu-args` and `id-block create` take --passphrase-env and --passphrase-fd"


class Passphrases(NamedTuple):
    """The passphrases of the ID key and of the author key, None for a key that is not encrypted."""

    id_key: bytes | None = None
    author_key: bytes | None = None


class FoundBlock(NamedTuple):
    """A block in a folder of them; `name` is the path of its own folder from there, `.` for that itself."""

    name: str
    signed: SignedBlock


class IdBlocks:
    """The ID blocks of one guest; keys and folders are read when they are first needed, and once.

    Whatever fails names the manifest's key that it is about. Encrypted keys need `unlock`.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._passphrases = Passphrases()
        self._manifest = manifest
        self._keys: dict[Variant, tuple[PrivateKey, Author | None]] = {}
        self._digests: dict[Variant, tuple[bytes, bytes | None]] = {}
        self._folders: dict[str, Mapping[tuple[bytes, int], FoundBlock]] = {}

    def unlock(self, passphrases: Passphrases) -> None:
        """Have encrypted keys opened with these; raises SevbuildError for one that no key is named for."""
        declared = [variant.id_block for variant in self._manifest.variants if variant.id_block is not None]
        for name, passphrase, keys in (
            ("key", passphrases.id_key, [block.key for block in declared]),
            ("author-key", passphrases.author_key, [block.author_key for block in declared]),
        ):
            if passphrase is not None and not any(keys):
                raise SevbuildError(f"a passphrase for id-block.{name}, which the manifest does not name")
        self._passphrases = passphrases

    def signed(self, target: Target, digest: bytes) -> SignedBlock | None:
        """Return the signed block of a target and its launch digest, None where it has none.

        None is also what a manifest has that pins a key alone.
        """
        declared = _declared(target)
        if declared is None:
            return None
        if declared.signed is not None:
            return self._found(target, declared, digest).signed
        if declared.key is None:
            return None
        return self.sign(target.variant, unsigned_block(target, digest))

    def sign(self, variant: Variant, block: IdBlock) -> SignedBlock:
        """Return a block signed with the keys that the manifest names for a variant."""
        declared = variant.id_block
        if declared is None or declared.key is None:
            place = _place(variant, "id-block")
            hint = "--key FILE gives one; `sevbuild id-block payload` is for keys that are elsewhere"
            raise SevbuildError(f"{place}: names no ID key to sign with", hint=hint)
        key, author = self._opened(variant, declared)
        return sign_block(block, key, author)

    def folder_of(self, target: Target, digest: bytes) -> str | None:
        """Return the path, as the manifest would write it, of the folder that a target's block lies in."""
        declared = _declared(target)
        if declared is None or declared.signed is None:
            return None
        return os.path.normpath(os.path.join(declared.signed, self._found(target, declared, digest).name))

    def reported(self, target: Target, digest: bytes) -> ReportedIdBlock | None:
        """Return what a report of a target shows of its ID block, None where it has none.

        A key whose digest the manifest pins is not opened for it.
        """
        declared = _declared(target)
        if declared is None:
            return None
        if declared.signed is not None:
            block, auth = self._found(target, declared, digest).signed
            author = None if auth.author is None else auth.author.key.digest
            return ReportedIdBlock(auth.key.digest, author, block.family_id, block.image_id, block.guest_svn)
        block = unsigned_block(target, digest)
        key_digests = self._key_digests(target.variant, declared)
        return ReportedIdBlock(*key_digests, block.family_id, block.image_id, block.guest_svn)

    def check(self, variant: Variant) -> Iterator[Notice]:
        """Open the keys of a variant, or read the blocks signed elsewhere; yield what is not checked."""
        declared = variant.id_block
        if declared is None:
            return
        if declared.signed is not None:
            self._blocks(variant, declared.signed)
        elif declared.key is not None:
            try:
                self._opened(variant, declared)
            except EncryptedKeyError:
                where = variant.document.where("id-block.key")
                yield Notice("note", where, "a key of [id-block] is encrypted: it was not opened")
            except SevbuildError:
                if declared.key_digest is None or os.path.lexists(self._path(declared.key)):
                    raise
                message = "the ID key is not on this machine; key-digest stands for it"
                yield Notice("note", variant.document.where("id-block.key"), message)
        else:
            message = "no ID block is built: its key is known by its digest alone"
            yield Notice("note", variant.document.where("id-block"), message)

    def _key_digests(self, variant: Variant, declared: DeclaredIdBlock) -> tuple[bytes, bytes | None]:
        """Return the digests of ID key and author key, by what says them with the least opened."""
        known = self._digests.get(variant)
        if known is None:
            key, author = declared.key_digest, declared.author_key_digest
            if key is None:
                key = self._public(variant, "key", declared.key).digest
            if author is None and declared.author_key is not None:
                author = self._public(variant, "author-key", declared.author_key).digest
            known = self._digests[variant] = (key, author)
        return known

    def _public(self, variant: Variant, key: str, name: str | None) -> P384PublicKey:
        passphrase = self._passphrases.id_key if key == "key" else self._passphrases.author_key
        hint = f"id-block.{key}-digest stands for the key where it is not opened; {_UNLOCK}"
        with within(_place(variant, f"id-block.{key}"), hint=hint):
            return load_public_key(self._read(name, KEY_LIMIT), str(name), passphrase)

    def _opened(self, variant: Variant, declared: DeclaredIdBlock) -> tuple[PrivateKey, Author | None]:
        """Return the ID key of a variant, and its author's part."""
        known = self._keys.get(variant)
        if known is None:
            with within(_place(variant, "id-block.key"), hint=_UNLOCK):
                data = self._read(declared.key, KEY_LIMIT)
                key = load_private_key(data, str(declared.key), self._passphrases.id_key)
            _check_pin(variant, "key-digest", key.public, declared.key_digest)
            author = self._author(variant, declared, key.public)
            known = self._keys[variant] = (key, author)
        return known

    def _author(self, variant: Variant, declared: DeclaredIdBlock, key: P384PublicKey) -> Author | None:
        if declared.author_key is None:
            return None
        if declared.author_signature is None:
            hint = f"a public one requires author-signature; {_UNLOCK}"
            with within(_place(variant, "id-block.author-key"), hint=hint):
                data = self._read(declared.author_key, KEY_LIMIT)
                author_key = load_private_key(data, declared.author_key, self._passphrases.author_key)
            author = author_of(key, author_key)
        else:
            public = self._public(variant, "author-key", declared.author_key)
            with within(_place(variant, "id-block.author-signature")):
                data = self._read(declared.author_signature, SIGNATURE_LIMIT)
                author = attached_author(key, public, data, declared.author_signature)
        _check_pin(variant, "author-key-digest", author.key, declared.author_key_digest)
        return author

    def _read(self, name: str | None, limit: int) -> bytes:
        return read_file(self._path(name or ""), limit)

    def _path(self, name: str) -> str:
        return path_from(self._manifest.directory, name)

    def _blocks(self, variant: Variant, folder: str) -> Mapping[tuple[bytes, int], FoundBlock]:
        """Return the blocks of a folder by launch digest and policy, each verified."""
        if folder not in self._folders:
            with within(_place(variant, "id-block.signed")):
                self._folders[folder] = read_blocks(self._path(folder))
        return self._folders[folder]

    def _found(self, target: Target, declared: DeclaredIdBlock, digest: bytes) -> FoundBlock:
        """Return the block of a target that was signed elsewhere, as the manifest wants it."""
        variant, folder = target.variant, declared.signed or ""
        blocks = self._blocks(variant, folder)
        found = blocks.get((digest, target.policy))
        if found is None:
            others = [hex(policy) for known, policy in blocks if known == digest]
            what = f"launch digest {digest.hex()[:16]}... and policy {target.policy:#x}"
            what += f", but one for policy {' and '.join(others)}" if others else ""
            hint = "`sevbuild id-block payload` writes what is to be signed"
            raise MismatchError(f"{target.label}: {folder} has no ID block for {what}", hint=hint)
        block, auth = found.signed
        for key, wanted, said in (
            ("family-id", declared.family_id, block.family_id),
            ("image-id", declared.image_id, block.image_id),
            ("guest-svn", declared.guest_svn, block.guest_svn),
        ):
            if wanted is not None and wanted != said:
                have, want = (part.hex() if isinstance(part, bytes) else part for part in (said, wanted))
                place = _place(variant, f"id-block.{key}")
                raise MismatchError(f"{place}: {want}; the block in {folder}/{found.name} has {have}")
        _check_pin(variant, "key-digest", auth.key, declared.key_digest)
        author = None if auth.author is None else auth.author.key
        _check_pin(variant, "author-key-digest", author, declared.author_key_digest)
        return found


def unsigned_block(target: Target, digest: bytes) -> IdBlock:
    """Return the block of a target that is to be signed."""
    declared = target.variant.id_block or DeclaredIdBlock()
    ids = (declared.family_id or bytes(16), declared.image_id or bytes(16))
    return IdBlock(digest, target.policy, *ids, declared.guest_svn or 0)


def read_blocks(folder: str) -> Mapping[tuple[bytes, int], FoundBlock]:
    """Return the blocks of a folder, and of the folders in it, by launch digest and policy.

    Raises SevbuildError for a block that is damaged or not signed by its keys, and for two of one launch.
    """
    with file_errors("read", folder):
        names = [".", *sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())]
    found: dict[tuple[bytes, int], FoundBlock] = {}
    for name in names:
        place = os.path.normpath(os.path.join(folder, name))
        if not os.path.lexists(os.path.join(place, BLOCK_FILE)):
            continue
        block = IdBlock.decode(read_file(os.path.join(place, BLOCK_FILE), BLOCK_SIZE), place)
        signed = SignedBlock(
            block, IdAuth.decode(read_file(os.path.join(place, AUTH_FILE), AUTH_SIZE), place)
        )
        signed.refuse_unverified(place)
        key = (block.launch_digest, block.policy)
        first = found.setdefault(key, FoundBlock(name, signed))
        if first.signed != signed:
            message = f"{folder}: {first.name} and {name} are two ID blocks for one launch"
            raise SevbuildError(message, hint="remove one of them")
    return found


def _place(variant: Variant, path: str) -> str:
    """Return where a key of the manifest stands, and which it is."""
    return f"{variant.document.where(path)}: {path}"


def _declared(target: Target) -> DeclaredIdBlock | None:
    return target.variant.id_block if takes_id_block(target) else None


def _check_pin(variant: Variant, name: str, key: P384PublicKey | None, pin: bytes | None) -> None:
    """Raise MismatchError where a key is not the one that the manifest pins."""
    if pin is None or (key is not None and key.digest == pin):
        return
    found = "there is no such key" if key is None else f"the key's is {key.digest.hex()}"
    raise MismatchError(f"{_place(variant, f'id-block.{name}')}: {pin.hex()} is pinned; {found}")

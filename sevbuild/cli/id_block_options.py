"""What the verbs of `id-block` take: the launches whose blocks they are, and keys."""

# No `from __future__ import annotations` here, as in options.py.

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.errors import Notice, SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.guest.guest import Guest
    from sevbuild.identity.ecdsa import P384PublicKey
    from sevbuild.identity.id_auth import Author
    from sevbuild.identity.id_block import IdBlock
    from sevbuild.identity.keys import PrivateKey

__all__ = [
    "AUTHOR_KEY",
    "AUTHOR_SIGNATURE",
    "FILE",
    "BlockOptions",
    "Launch",
    "author_part",
    "digest_option",
    "folders_of",
    "policy_number",
    "private_key",
    "public_key",
]

BLOCKS = "The block"
"""The group of options that say what is signed."""


def _block_option(name: str, metavar: str, text: str, default: Any = "") -> Any:
    return options.value_option(name, metavar=metavar, text=text, default=default, panel=BLOCKS)


def digest_option(name: str, text: str) -> Any:
    """Return an option that takes 48 bytes in hexadecimal."""
    return options.value_option(name, metavar="HEX", text=text)


FILE: Any = typer.Argument(
    None,
    metavar="[FILE]",
    help="A manifest (measured now), a reference-values.json, or the folder of a release or bundle.  "
    f"[default: {options.DEFAULT_MANIFEST}]",
    show_default=False,
)
AUTHOR_KEY: Any = options.value_option(
    "--author-key", metavar="FILE", text="The author key: private, or public with --author-signature."
)
AUTHOR_SIGNATURE: Any = options.value_option(
    "--author-signature", metavar="FILE", text="The author key's signature of the ID key, made elsewhere."
)


class Launch(NamedTuple):
    """One block that is to be signed, and the labels of the targets that are launched with it.

    `labels` is empty where nothing but a launch digest was given.
    """

    block: "IdBlock"
    labels: tuple[str, ...]


class BlockOptions(NamedTuple):
    """What a block says: a launch of its own, and ids and SVN beside those of a manifest or document."""

    launch_digest: str = _block_option("--launch-digest", "HEX", "A launch digest, in place of a file.")
    policy: str = _block_option("--policy", "N", "The policy that goes with it, such as 0x30000.")
    family_id: str = _block_option("--family-id", "HEX", "16 bytes that reports show.")
    image_id: str = _block_option("--image-id", "HEX", "16 bytes that reports show.")
    guest_svn: int | None = _block_option("--guest-svn", "N", "The security version number.", None)

    def launches(
        self, given: str | None, settings: list[str], targets: list[str], lock: options.LockOptions
    ) -> "tuple[list[Launch], Guest | None, list[Notice]]":
        """Return the blocks of the SNP targets at a path, or of `--launch-digest`; raises SevbuildError.

        Targets of one digest and policy have one block. The guest is that of a manifest.
        """
        if self.launch_digest:
            if settings or targets or given is not None:
                raise SevbuildError("--launch-digest stands in place of a file, its --target and --set")
            lock.refuse()
            return [Launch(self._given(), ())], None, []
        if self.policy:
            hint = "the policy is the target's; --set launch.policy=N overrides a manifest's"
            raise SevbuildError("--policy goes with --launch-digest", hint=hint)
        path = options.DEFAULT_MANIFEST if given is None else given
        found, guest, notices = _launches(path, settings, targets, lock)
        merged: dict[IdBlock, list[str]] = {}
        for label, block in found:
            merged.setdefault(self._with_ids(block), []).append(label)
        if not merged:
            hint = "for SEV and SEV-ES guests there is `sevbuild session`"
            raise SevbuildError(f"{path}: no SNP target, and only those have an ID block", hint=hint)
        return [Launch(block, tuple(labels)) for block, labels in merged.items()], guest, notices

    def _given(self) -> "IdBlock":
        from sevbuild.documents.document import parse_hex
        from sevbuild.identity.id_block import IdBlock
        from sevbuild.launch.policy import SnpPolicy

        if not self.policy:
            hint = "--policy 0x30000 is the default of SNP guests"
            raise SevbuildError("--launch-digest: an ID block has the policy beside it", hint=hint)
        with within("--launch-digest"):
            digest = parse_hex(self.launch_digest, 48)
        policy = policy_number(self.policy)
        fault = SnpPolicy(policy).fault("snp")
        if fault is not None:
            raise SevbuildError(f"--policy: {fault[0]}", hint=fault[1])
        return self._with_ids(IdBlock(digest, policy))

    def _with_ids(self, block: "IdBlock") -> "IdBlock":
        from sevbuild.documents.document import parse_hex

        if self.family_id:
            with within("--family-id"):
                block = block._replace(family_id=parse_hex(self.family_id, 16))
        if self.image_id:
            with within("--image-id"):
                block = block._replace(image_id=parse_hex(self.image_id, 16))
        if self.guest_svn is None:
            return block
        if not 0 <= self.guest_svn < 1 << 32:
            raise SevbuildError(f"--guest-svn {self.guest_svn}: not a number of 32 bits")
        return block._replace(guest_svn=self.guest_svn)


def policy_number(text: str) -> int:
    """Return the number that `--policy` gives, in any notation of TOML; raises SevbuildError."""
    try:
        policy = int(text, 0)
    except ValueError:
        policy = -1
    if not 0 <= policy < 1 << 64:
        raise SevbuildError(f"--policy {text}: not a number of 64 bits", hint="such as 0x30000")
    return policy


def _launches(
    path: str, settings: list[str], targets: list[str], lock: options.LockOptions
) -> "tuple[list[tuple[str, IdBlock]], Guest | None, list[Notice]]":
    from sevbuild.bundle.published import is_document
    from sevbuild.cli.source import load_values

    if is_document(path):
        from sevbuild.reference.id_blocks import unsigned_blocks

        source = load_values(path, settings=settings, targets=targets, lock=lock)
        if source.values.releases:
            hint = "the document of one release, or its folder, has the launch digests of that alone"
            raise SevbuildError(f"{path}: has several releases, which share labels", hint=hint)
        return list(unsigned_blocks(source.values)), None, source.notices
    from sevbuild.guest.id_blocks import unsigned_block

    guest, held = lock.load(path, settings)
    chosen = [target for target in guest.select(targets) if target.mode == "snp"]
    measured = guest.measure(chosen)
    held(guest, chosen)
    return [(item.label, unsigned_block(item.target, item.digest)) for item in measured], guest, guest.notices


def private_key(path: str, passphrase: bytes | None) -> "PrivateKey":
    """Return the private key in a file; raises SevbuildError."""
    from sevbuild.fs import read_file
    from sevbuild.identity.keys import KEY_LIMIT, load_private_key

    return load_private_key(read_file(path, KEY_LIMIT), path, passphrase)


def public_key(path: str, passphrase: bytes | None = None) -> "P384PublicKey":
    """Return the public key in a file, or the public half of a private one; raises SevbuildError."""
    from sevbuild.fs import read_file
    from sevbuild.identity.keys import KEY_LIMIT, load_public_key

    return load_public_key(read_file(path, KEY_LIMIT), path, passphrase)


def author_part(
    key: "P384PublicKey", author_key: str, author_signature: str, passphrase: bytes | None
) -> "Author | None":
    """Return what an author says of an ID key, None without an author key; raises SevbuildError."""
    from sevbuild.fs import read_file
    from sevbuild.identity.signature import SIGNATURE_LIMIT
    from sevbuild.identity.signed_block import attached_author, author_of

    if not author_key:
        if author_signature:
            raise SevbuildError("--author-signature requires --author-key", hint="whose signature it is")
        if passphrase is not None:
            raise SevbuildError("a passphrase for --author-key, which is not given")
        return None
    if not author_signature:
        return author_of(key, private_key(author_key, passphrase))
    data = read_file(author_signature, SIGNATURE_LIMIT)
    return attached_author(key, public_key(author_key, passphrase), data, author_signature)


def folders_of(launches: Sequence[Launch]) -> list[str]:
    """Return a folder for each block: that of its first target's label, none for a single block."""
    from sevbuild.bundle.layout import target_folders

    if len(launches) == 1:
        return [""]
    return list(target_folders((launch.labels[0] for launch in launches), ".").values())

"""What there is to check of an ID block and its authentication, each with what holds and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sevbuild.attest.verdict import Check, failed, not_checked, passed
from sevbuild.errors import SevbuildError
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.id_block import BLOCK_VERSION, IdBlock
from sevbuild.launch.policy import SnpPolicy

__all__ = ["WantedBlock", "check_id_block"]


class WantedBlock(NamedTuple):
    """What a block is held to; None where nothing was said. Digests have 48 bytes, ids 16.

    An empty digest of an author key wants that there be none.
    """

    launch_digest: bytes | None = None
    policy: int | None = None
    key_digest: bytes | None = None
    author_key_digest: bytes | None = None
    family_id: bytes | None = None
    image_id: bytes | None = None
    guest_svn: int | None = None

    def over(self, below: WantedBlock) -> WantedBlock:
        """Return what is wanted here, and for the rest what is wanted `below`."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return below._replace(**given)


def check_id_block(block: bytes, auth: bytes | None, wanted: WantedBlock) -> tuple[Check, ...]:
    """Return every check of a block of 96 bytes; raises SevbuildError for another size."""
    found = IdBlock.decode(block, "the ID block")
    return (*_of_block(found, wanted), *_of_auth(block, auth, wanted))


def _of_block(block: IdBlock, wanted: WantedBlock) -> Iterator[Check]:
    if block.version == BLOCK_VERSION:
        yield passed("version", "the block's version is the one there is", str(block.version))
    else:
        yield failed(
            "version", f"{block.version} is not {BLOCK_VERSION}", str(block.version), str(BLOCK_VERSION)
        )
    fault = SnpPolicy(block.policy).fault("snp")
    if fault is not None:
        yield failed("launchable-policy", f"no guest is launched with it: {fault[0]}", hex(block.policy))
    yield _held("launch-digest", block.launch_digest, wanted.launch_digest)
    yield _held("policy", block.policy, wanted.policy)
    yield _held("family-id", block.family_id, wanted.family_id)
    yield _held("image-id", block.image_id, wanted.image_id)
    yield _held("guest-svn", block.guest_svn, wanted.guest_svn)


def _of_auth(block: bytes, data: bytes | None, wanted: WantedBlock) -> Iterator[Check]:
    """Yield the checks of the authentication; where its bytes are not in order, no other can be made."""
    if data is None:
        for name in ("authentication", "id-key-signature"):
            yield not_checked(name, "there is no authentication beside the block")
        return
    try:
        auth = IdAuth.decode(data, "the authentication")
    except SevbuildError as error:
        yield failed("authentication", error.message)
        return
    yield passed("authentication", "every byte that the firmware passes over is zero")
    yield _signed(
        "id-key-signature",
        auth.signature.verifies(block, auth.key.public_key("the ID key")),
        ("the ID key signed the block", "the ID key did not sign this block"),
    )
    yield _held("id-key", auth.key.digest, wanted.key_digest)
    yield from _of_author(auth, wanted.author_key_digest)
    refusal = GivenIdBlock.of(block, data, author_key=auth.author is not None).refusal()
    if refusal is None:
        yield passed("launch-finish", "SNP_LAUNCH_FINISH takes it for its launch digest and policy")
    else:
        yield failed("launch-finish", f"SNP_LAUNCH_FINISH refuses it: {refusal[0].name}: {refusal[1]}")


def _of_author(auth: IdAuth, wanted: bytes | None) -> Iterator[Check]:
    if auth.author is None:
        if wanted:
            yield failed("author-key", "there is no author key", "", wanted.hex())
        elif wanted is not None:
            yield passed("author-key", "there is no author key, as wanted")
        return
    signature, key = auth.author
    yield _signed(
        "author-key-signature",
        signature.verifies(auth.key.encode(), key.public_key("the author key")),
        ("the author key signed the ID key", "the author key did not sign this ID key"),
    )
    if wanted == b"":
        yield failed("author-key", "no author key was wanted", key.digest.hex())
    else:
        yield _held("author-key", key.digest, wanted)


def _signed(name: str, holds: bool, reasons: tuple[str, str]) -> Check:
    return passed(name, reasons[0]) if holds else failed(name, reasons[1])


def _held(name: str, found: bytes | int, wanted: bytes | int | None) -> Check:
    """Return the check of one value against the one that was wanted."""
    text = _text(name, found)
    if wanted is None:
        return not_checked(name, f"nothing was given to hold it to: --{_OPTIONS.get(name, name)}", text)
    if found == wanted:
        return passed(name, "as wanted", text, text)
    return failed(name, f"{_text(name, wanted)} was wanted", text, _text(name, wanted))


_OPTIONS = {"id-key": "key-digest", "author-key": "author-key-digest"}


def _text(name: str, value: bytes | int) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if name == "guest-svn" else hex(value)

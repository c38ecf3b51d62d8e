"""An ID block as the secure processor takes it: what it reads, in its order, and what it passes over."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, NUMBER_SIZE, SIGNATURE_SIZE, EcdsaSignature, P384PublicKey
from sevbuild.identity.id_auth import (
    ALGORITHM,
    AUTH_SIZE,
    AUTHOR_ALGORITHM_AT,
    AUTHOR_KEY_AT,
    ID_BLOCK_SIGNATURE_AT,
    ID_KEY_AT,
    ID_KEY_SIGNATURE_AT,
    part_of,
)
from sevbuild.identity.id_block import BLOCK_SIZE, IdBlock
from sevbuild.launch.status import Status

__all__ = ["GivenIdBlock"]


class GivenIdBlock(NamedTuple):
    """The bytes that SNP_LAUNCH_FINISH is given, and AUTHOR_KEY_EN; what `SnpGuest.launch_finish` takes.

    `identity/id_auth.py` refuses more: what the firmware passes over is zero there. docs/id-block.md has the
    table of these bytes.
    """

    block: bytes
    auth: bytes
    author_key: bool = False

    @classmethod
    def of(cls, block: bytes, auth: bytes, *, author_key: bool = False) -> GivenIdBlock:
        """Return what a hypervisor passes on; raises SevbuildError for sizes that QEMU refuses."""
        if len(block) != BLOCK_SIZE or len(auth) > AUTH_SIZE:
            sizes = f"{len(block)} and {len(auth)} bytes"
            raise SevbuildError(
                f"{sizes}; an ID block has {BLOCK_SIZE}, its authentication at most {AUTH_SIZE}"
            )
        return cls(block, auth.ljust(AUTH_SIZE, b"\0"), author_key)

    @property
    def launch_digest(self) -> bytes:
        """Return the launch digest that the block is for."""
        return IdBlock.decode(self.block, "ID block").launch_digest

    @property
    def policy(self) -> int:
        """Return the policy that the block is for."""
        return IdBlock.decode(self.block, "ID block").policy

    def refusal(self) -> tuple[Status, str] | None:
        """Return the firmware's status and reason, None for a block that it takes (Genoa 1.55.25).

        Algorithms come first, then the ID key and its signature of the block, then the author key and its
        signature of the ID key. The block's version is signed and not looked at.
        """
        algorithms = [("ID", 0), *([("author", AUTHOR_ALGORITHM_AT)] if self.author_key else [])]
        for who, at in algorithms:
            number = int.from_bytes(part_of(self.auth, at, 4), "little")
            if number != ALGORITHM:
                return Status.INVALID_PARAM, f"{who} key algorithm {number}"
        id_key = part_of(self.auth, ID_KEY_AT, KEY_SIZE)
        refused = self._unsigned("ID", id_key, self.block, ID_BLOCK_SIGNATURE_AT)
        if refused is None and self.author_key:
            author_key = part_of(self.auth, AUTHOR_KEY_AT, KEY_SIZE)
            refused = self._unsigned("author", author_key, id_key, ID_KEY_SIGNATURE_AT)
        return None if refused is None else (Status.BAD_SIGNATURE, refused)

    def _unsigned(self, who: str, field: bytes, message: bytes, at: int) -> str | None:
        """Return why a message is not signed by the key in a field; the signature is at `at`."""
        try:
            # The firmware reads no further than the numbers.
            numbers = field[: 4 + 2 * NUMBER_SIZE].ljust(KEY_SIZE, b"\0")
            key = P384PublicKey.decode(numbers, f"the {who} key").public_key(f"the {who} key")
        except SevbuildError as error:
            return error.message
        signature = EcdsaSignature.of_numbers(part_of(self.auth, at, SIGNATURE_SIZE))
        return None if signature.verifies(message, key) else f"not signed by the {who} key"

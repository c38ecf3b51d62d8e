"""An ID block as the secure processor takes it: what it reads, in its order, and what it passes over."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE, NUMBER_SIZE, EcdsaSignature, P384PublicKey
from sevbuild.identity.id_auth import ALGORITHM, AUTH_SIZE, AuthFields
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
        fields = AuthFields.of(self.auth)
        algorithms = [("ID", fields.algorithm)]
        algorithms += [("author", fields.author_algorithm)] if self.author_key else []
        for who, field in algorithms:
            number = int.from_bytes(field, "little")
            if number != ALGORITHM:
                return Status.INVALID_PARAM, f"{who} key algorithm {number}"
        refused = _unsigned("ID", fields.key, self.block, fields.signature)
        if refused is None and self.author_key:
            refused = _unsigned("author", fields.author_key, fields.key, fields.key_signature)
        return None if refused is None else (Status.BAD_SIGNATURE, refused)


def _unsigned(who: str, field: bytes, message: bytes, signature: bytes) -> str | None:
    """Return why a message is not signed by the key in a field, None where it is."""
    try:
        # The firmware reads no further than the numbers.
        numbers = field[: 4 + 2 * NUMBER_SIZE].ljust(KEY_SIZE, b"\0")
        key = P384PublicKey.decode(numbers, f"the {who} key").public_key(f"the {who} key")
    except SevbuildError as error:
        return error.message
    return (
        None
        if EcdsaSignature.of_numbers(signature).verifies(message, key)
        else f"not signed by the {who} key"
    )

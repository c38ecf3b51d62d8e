"""The ID block: what a publisher signs of a guest, 96 bytes (SNP ABI, SNP_LAUNCH_FINISH)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["BLOCK_SIZE", "BLOCK_VERSION", "IdBlock"]

BLOCK_SIZE = 96
BLOCK_VERSION = 1
"""The version of the block's format, the only one there is; firmware 1.55.25 does not look at it."""

_LAYOUT = Struct("<48s16s16sIIQ")


class IdBlock(NamedTuple):
    """An ID block: the launch digest (48 bytes) and policy that are signed, ids of 16 bytes, SVN (u32)."""

    launch_digest: bytes
    policy: int
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    guest_svn: int = 0
    version: int = BLOCK_VERSION

    @classmethod
    def decode(cls, data: bytes, source: str) -> IdBlock:
        """Return the block in 96 bytes; raises SevbuildError for any other number of them."""
        if len(data) != BLOCK_SIZE:
            raise SevbuildError(f"{source}: {len(data)} bytes; an ID block has {BLOCK_SIZE}")
        digest, family_id, image_id, version, guest_svn, policy = _LAYOUT.unpack(data)
        return cls(digest, policy, family_id, image_id, guest_svn, version)

    def encode(self) -> bytes:
        """Return the 96 bytes, which are what the ID key signs."""
        ids = (self.family_id, self.image_id)
        return _LAYOUT.pack(self.launch_digest, *ids, self.version, self.guest_svn, self.policy)

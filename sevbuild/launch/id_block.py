"""What of an ID block, which LAUNCH_FINISH is given, an attestation report shows."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ReportedIdBlock"]


class ReportedIdBlock(NamedTuple):
    """What an attestation report shows of an ID block: 48-byte key digests, 16-byte ids, SVN (u32)."""

    id_key_digest: bytes
    author_key_digest: bytes | None
    family_id: bytes
    image_id: bytes
    guest_svn: int

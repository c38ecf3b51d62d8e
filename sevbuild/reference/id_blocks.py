"""The ID blocks that published launch digests call for."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.identity.id_block import IdBlock
from sevbuild.reference.model import ReferenceValues

__all__ = ["unsigned_blocks"]


def unsigned_blocks(values: ReferenceValues) -> Iterator[tuple[str, IdBlock]]:
    """Yield the label of each SNP target and its block, with the ids and the SVN that were published."""
    for value in values.values:
        if value.mode == "snp":
            block = IdBlock(value.digest, value.policy)
            if value.id_block is not None:
                said = value.id_block
                block = block._replace(
                    family_id=said.family_id, image_id=said.image_id, guest_svn=said.guest_svn
                )
            yield value.label, block

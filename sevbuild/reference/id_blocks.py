"""The ID blocks that published launch digests call for."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.attest.id_block import WantedBlock
from sevbuild.attest.verdict import Check, failed, passed
from sevbuild.identity.id_block import IdBlock
from sevbuild.reference.model import ReferenceValues

__all__ = ["published_block", "unsigned_blocks"]


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


def published_block(values: ReferenceValues, block: IdBlock, source: str) -> tuple[Check, WantedBlock]:
    """Return whether a block is for a target of a document, and what the document says of such a block."""
    found = [value for value in values.values if value.digest == block.launch_digest]
    if not found:
        return failed("target", f"no target of {source} has its launch digest"), WantedBlock()
    # Of several with one digest, that with the block's policy.
    value = next((value for value in found if value.policy == block.policy), found[0])
    wanted = WantedBlock(value.digest, value.policy)
    if value.id_block is not None:
        said = value.id_block
        wanted = WantedBlock(
            value.digest,
            value.policy,
            said.id_key_digest,
            said.author_key_digest or b"",
            said.family_id,
            said.image_id,
            said.guest_svn,
        )
    return passed("target", f"the launch digest is that of {value.label} in {source}"), wanted

"""Decode the `[id-block]` table: who signs a guest's launch digests, and what else is signed with them."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import U32, Table, check_hex
from sevbuild.documents.schema_shapes import hex_digits, integer, table, text
from sevbuild.manifest.model import DeclaredIdBlock
from sevbuild.manifest.path_keys import decode_path

__all__ = ["decode_id_block", "id_block_schema"]


def decode_id_block(top: Table, *, ready: bool) -> DeclaredIdBlock | None:
    """Return what the table says, collecting faults; `ready` tells that an IGVM file is launched as it is."""
    section = top.table("id-block")
    if section is None:
        return None
    found = DeclaredIdBlock(
        family_id=_hex(section, "family-id", 16),
        image_id=_hex(section, "image-id", 16),
        guest_svn=section.integer("guest-svn", 0, U32),
        key=decode_path(section, "key", url_key=None),
        key_digest=_hex(section, "key-digest", 48),
        author_key=decode_path(section, "author-key", url_key=None),
        author_signature=decode_path(section, "author-signature", url_key=None),
        author_key_digest=_hex(section, "author-key-digest", 48),
        signed=decode_path(section, "signed", url_key=None),
    )
    section.finish()
    if ready:
        hint = "`sevbuild id-block verify` looks into the file"
        top.fault("id-block", "cannot be combined with igvm.path: a ready file has its own, or none", hint)
    if not any(section.has(key) for key in ("key", "key-digest", "signed")):
        hint = "key, key-digest or signed; docs/id-block.md"
        top.fault("id-block", "does not say who signs the ID blocks", hint)
    if section.has("key") and section.has("signed"):
        section.fault("signed", "cannot be combined with key: blocks are signed here or elsewhere")
    if section.has("author-key") and not section.has("key"):
        section.fault("author-key", "requires key: blocks that were signed elsewhere have their author's")
    if section.has("author-key-digest") and section.has("key") and not section.has("author-key"):
        section.fault("author-key-digest", "requires author-key: without one, no author signs the ID key")
    if section.has("author-signature") and not section.has("author-key"):
        section.fault("author-signature", "requires author-key: whose signature it is")
    return found


def _hex(section: Table, key: str, size: int) -> bytes | None:
    if not section.has(key):
        return None
    return check_hex(section.document, section.at(key), section.any(key), size)


def id_block_schema() -> dict[str, Any]:
    """Return the schema of the table; whether anything in it says who signs is left to `check`."""
    path = {"minLength": 1, "pattern": "^[^~]"}
    return table(
        "The ID block that SNP targets are launched with: launch digest and policy, signed by the publisher (docs/id-block.md).",
        {
            "key": text(
                "The ID key, a private key on P-384 in PEM or DER, with which `build` signs. It never enters a bundle.",
                **path,
            ),
            "key-digest": {
                "description": "A pin: the SHA-384 of the ID key as reports show it. Without key and signed, reference values have it and nothing is signed.",
                **hex_digits(48),
            },
            "signed": text(
                "A folder of blocks that were signed elsewhere, in place of key; `id-block attach` writes them.",
                **path,
            ),
            "author-key": text(
                "The author key, which signs the ID key: private, or public with author-signature.", **path
            ),
            "author-signature": text("The author key's signature of the ID key, made elsewhere.", **path),
            "author-key-digest": {
                "description": "A pin: the SHA-384 of the author key as reports show it.",
                **hex_digits(48),
            },
            "family-id": {
                "description": "16 bytes in hex, as reports show them. Default: zeros.",
                **hex_digits(16),
            },
            "image-id": {
                "description": "16 bytes in hex, as reports show them. Default: zeros.",
                **hex_digits(16),
            },
            "guest-svn": integer(
                0, U32, "The guest's security version number, as reports show it. Default 0."
            ),
        },
    )

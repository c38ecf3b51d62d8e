"""`corim`: a CoRIM as Veraison's SEV-SNP scheme reads it (veraison/services, 6b88102)."""

from __future__ import annotations

from typing import Any

from sevbuild.errors import SevbuildError
from sevbuild.reference.export import corim_tags
from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["BY_CHIP", "EXPORTER", "MEASUREMENT_KEY", "PROFILE"]

PROFILE = "tag:amd.com,2024:snp-corim-profile"
"""The profile Veraison registers; the URI of the later draft is unknown to it."""

BY_CHIP = "1.3.6.1.4.1.3704.3.1"
"""The class of guests whose reports a chip's own key signs (draft-deeglaze-amd-sev-snp-corim-profile)."""

GUEST_SVN_KEY, FAMILY_ID_KEY, IMAGE_ID_KEY = 1, 3, 4
MEASUREMENT_KEY, ID_KEY_KEY, AUTHOR_KEY_KEY = 641, 643, 644
"""The mkeys of the fields of a report in the same draft."""


class Corim(Exporter):
    """One reference triple a launch digest: instance and mkey 641 are the digest.

    What is the host's (TCB, chip, platform) and what Veraison skips is left out.
    """

    name = "corim"
    summary = "CoRIM for Veraison, COSE_Sign1 with --sign"
    files = ("corim.cose", "corim.cbor")
    signs = True

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `corim.cbor`, and `corim.cose` when signed."""
        extra = options.extra
        class_id = corim_tags.oid(extra.get("class-id", BY_CHIP))
        if options.key is not None and "signer-name" not in extra:
            hint = f"give {options.flag('signer-name')}, or signer-name under [publish.corim]"
            raise SevbuildError("a signed CoRIM requires signer-name: who signs it", hint=hint)
        launches: dict[bytes, list[Value]] = {}
        for value in values_of(values, self.modes):
            launches.setdefault(value.digest, []).append(value)
        triples = [
            corim_tags.reference_triple(class_id, digest, _measurements(digest, launched))
            for digest, launched in launches.items()
        ]
        identifier = values.title("/")
        makers: list[list[dict[int, Any]]] = [[], []]
        if "entity-name" in extra:
            name, uri = extra["entity-name"], extra.get("entity-uri")
            makers = [
                [corim_tags.entity(name, uri, role)]
                for role in (corim_tags.TAG_CREATOR, corim_tags.MANIFEST_CREATOR)
            ]
        elif "entity-uri" in extra:
            raise SevbuildError("corim: entity-uri requires entity-name")
        tag = corim_tags.comid(identifier, {0: triples}, entities=makers[0])
        unsigned = corim_tags.corim(identifier, [tag], PROFILE, entities=makers[1])
        if options.key is None:
            return {"corim.cbor": unsigned}
        signed = corim_tags.sign1(unsigned, options.key, extra["signer-name"], extra.get("signer-uri"))
        return {"corim.cose": signed, "corim.cbor": unsigned}


def _measurements(digest: bytes, values: list[Value]) -> list[tuple[int, dict[int, Any]]]:
    """Return the digest and, where the targets of it share an ID block, what a report shows of that."""
    found = [(MEASUREMENT_KEY, corim_tags.digests(digest, ", ".join(value.label for value in values)))]
    block = values[0].id_block
    if block is not None and all(value.id_block == block for value in values):
        found = [
            (GUEST_SVN_KEY, corim_tags.minimum_svn(block.guest_svn)),
            (FAMILY_ID_KEY, corim_tags.raw_value(block.family_id)),
            (IMAGE_ID_KEY, corim_tags.raw_value(block.image_id)),
            *found,
            (ID_KEY_KEY, corim_tags.digests(block.id_key_digest)),
        ]
        if block.author_key_digest is not None:
            found.append((AUTHOR_KEY_KEY, corim_tags.digests(block.author_key_digest)))
    return found


EXPORTER = Corim()

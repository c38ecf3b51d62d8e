"""The ID block inside an IGVM file: SNP_ID_BLOCK says all of it but the policy, which is GUEST_POLICY's."""

from __future__ import annotations

from hashlib import sha384

from sevbuild.identity.ecdsa import CURVE_P384, NUMBER_SIZE
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import ALGORITHM, AuthFields
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.signed_block import SignedBlock
from sevbuild.igvm.headers import SnpIdBlock
from sevbuild.launch.id_block import ReportedIdBlock

__all__ = ["given_block", "id_block_header", "reported_block"]

_NO_NUMBER = bytes(NUMBER_SIZE)


def id_block_header(signed: SignedBlock, mask: int = 1) -> SnpIdBlock:
    """Return the header that a loader makes the same ID block and authentication of."""
    block, auth = signed
    author = auth.author
    author_numbers = (
        [_NO_NUMBER] * 4 if author is None else [*_fields(author.signature), *_fields(author.key)]
    )
    r, s, x, y = author_numbers
    signature_r, signature_s = _fields(auth.signature)
    id_x, id_y = _fields(auth.key)
    return SnpIdBlock(
        compatibility_mask=mask,
        author_key_enabled=int(author is not None),
        reserved=bytes(3),
        ld=block.launch_digest,
        family_id=block.family_id,
        image_id=block.image_id,
        version=block.version,
        guest_svn=block.guest_svn,
        id_key_algorithm=ALGORITHM,
        author_key_algorithm=0 if author is None else ALGORITHM,
        id_signature_r=signature_r,
        id_signature_s=signature_s,
        id_key_curve=CURVE_P384,
        id_key_reserved=0,
        id_key_qx=id_x,
        id_key_qy=id_y,
        author_signature_r=r,
        author_signature_s=s,
        author_key_curve=0 if author is None else CURVE_P384,
        author_key_reserved=0,
        author_key_qx=x,
        author_key_qy=y,
    )


def given_block(header: SnpIdBlock, policy: int) -> GivenIdBlock:
    """Return what a loader gives SNP_LAUNCH_FINISH of a header; `policy` is the file's GUEST_POLICY.

    QEMU 10.2 puts the page together so: what the header has reserved is not in it.
    """
    block = IdBlock(
        header.ld, policy, header.family_id, header.image_id, header.guest_svn, header.version
    ).encode()
    auth = AuthFields(
        _word(header.id_key_algorithm),
        _word(header.author_key_algorithm),
        header.id_signature_r + header.id_signature_s,
        _word(header.id_key_curve) + header.id_key_qx + header.id_key_qy,
        header.author_signature_r + header.author_signature_s,
        _word(header.author_key_curve) + header.author_key_qx + header.author_key_qy,
    )
    return GivenIdBlock(block, auth.encode(), bool(header.author_key_enabled))


def reported_block(header: SnpIdBlock) -> ReportedIdBlock:
    """Return what a report shows of the ID block in a header."""
    # The policy is no part of it.
    given = given_block(header, 0)
    fields = AuthFields.of(given.auth)
    author = sha384(fields.author_key).digest() if given.author_key else None
    digest = sha384(fields.key).digest()
    return ReportedIdBlock(digest, author, header.family_id, header.image_id, header.guest_svn)


def _word(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _fields(numbers: tuple[int, int]) -> list[bytes]:
    return [number.to_bytes(NUMBER_SIZE, "little") for number in numbers]

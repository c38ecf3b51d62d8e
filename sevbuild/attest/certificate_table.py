"""The certificate table that a host hands out with a report (GHCB 4.1.8.1, SNP_GUEST_REQUEST extended)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from sevbuild.attest.given import GivenCertificate
from sevbuild.errors import SevbuildError

__all__ = ["CERTIFICATE_GUIDS", "decode_table", "table_notes"]

# GHCB specification 56421, table 8; the GUIDs stand in the order in which they are printed (RFC 4122), unlike
# those of a firmware.
CERTIFICATE_GUIDS = {
    "63da758d-e664-4564-adc5-f4b93be8accd": "VCEK",
    "a8074bc2-a25a-483e-aae6-39c045a0b8a1": "VLEK",
    "4ab7b379-bbac-4fe4-a02f-05aef327c782": "ASK",
    "c0b406a4-a803-4952-9743-3fb6014cd0ae": "ARK",
}
"""Which certificate an entry is, by its GUID; the ASK's stands for the ASVK's as well."""
_PLATFORM = "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6"
_ENTRY = Struct("<16sII")
_MOST = 64


class _Entry(NamedTuple):
    guid: str
    data: bytes


def decode_table(data: bytes, source: str) -> tuple[GivenCertificate, ...]:
    """Return the certificates of a table in its order, each named by what its GUID says it is.

    Raises SevbuildError for a table without an end, for entries that are not within it, and for a second
    entry of one GUID.
    """
    return tuple(
        GivenCertificate(f"{source}: {CERTIFICATE_GUIDS[entry.guid]}", entry.data)
        for entry in _entries(data, source)
        if entry.guid in CERTIFICATE_GUIDS
    )


def table_notes(data: bytes, source: str) -> tuple[str, ...]:
    """Return a line for each entry of a table that is no certificate."""
    return tuple(
        f"{source}: entry {entry.guid}, {len(entry.data)} bytes: "
        + ("more of the platform, not read" if entry.guid == _PLATFORM else "of no kind that is known")
        for entry in _entries(data, source)
        if entry.guid not in CERTIFICATE_GUIDS
    )


def _entries(data: bytes, source: str) -> list[_Entry]:
    places = list(_places(data, source))
    first, found = _ENTRY.size * (len(places) + 1), dict[str, _Entry]()
    for guid, offset, size in places:
        if guid in found:
            raise SevbuildError(f"{source}: two entries are {_said(guid)}")
        if offset < first or not size or offset + size > len(data):
            raise SevbuildError(
                f"{source}: {_said(guid)} is {size} bytes at offset {offset}, "
                f"where {len(data)} bytes are there and the entries end at {first}"
            )
        found[guid] = _Entry(guid, data[offset : offset + size])
    return list(found.values())


def _places(data: bytes, source: str) -> Iterator[tuple[str, int, int]]:
    """Yield GUID, offset and size of each entry up to the one of zeros that ends the table."""
    for at in range(0, _ENTRY.size * (_MOST + 1), _ENTRY.size):
        if at + _ENTRY.size > len(data):
            raise SevbuildError(f"{source}: the certificate table has no end: no entry of zeros is in it")
        raw, offset, size = _ENTRY.unpack_from(data, at)
        if not any(raw):
            if offset or size:
                raise SevbuildError(f"{source}: the entry that ends the certificate table has a place")
            return
        text = raw.hex()
        yield "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])), offset, size
    raise SevbuildError(f"{source}: the certificate table has more than {_MOST} entries")


def _said(guid: str) -> str:
    return f"{guid} ({CERTIFICATE_GUIDS.get(guid, 'not known')})"

"""What Linux hands a guest under configfs-tsm (Documentation/ABI/testing/configfs-tsm-report)."""

from __future__ import annotations

from sevbuild.attest.certificate_table import decode_table, table_notes
from sevbuild.attest.given import Evidence
from sevbuild.attest.json_bytes import base64_at
from sevbuild.documents.json_reader import Reader
from sevbuild.errors import SevbuildError

__all__ = ["PROVIDER", "tsm_evidence", "tsm_of_cbor", "tsm_of_json"]

PROVIDER = "sev_guest"
"""How Linux calls the provider of SNP reports (drivers/virt/coco/sev-guest/sev-guest.c)."""


def tsm_evidence(
    source: str, outblob: bytes, auxblob: bytes = b"", provider: str = "", manifest: bytes = b""
) -> Evidence:
    """Return the evidence of one entry: `outblob` is the report, `auxblob` the host's certificate table.

    Either provider is said or is PROVIDER. Raises SevbuildError for another one, and for a bad table.
    """
    if provider.strip() not in ("", PROVIDER):
        raise SevbuildError(
            f"{source}: provider {provider.strip()[:40]!r} makes no SNP reports, {PROVIDER} does"
        )
    name = f"{source}: auxblob"
    notes = table_notes(auxblob, name) if auxblob else ()
    if manifest:
        notes += (f"{source}: manifestblob, {len(manifest)} bytes: what a service lists of itself, not read",)
    return Evidence("tsm", outblob, decode_table(auxblob, name) if auxblob else (), None, notes)


def tsm_of_json(table: Reader, source: str) -> Evidence:
    """Return the same of its JSON, which has the files by their names, the binary ones in base64."""
    outblob, auxblob, manifest = (
        base64_at(table, key) if key == "outblob" or table.has(key) else b""
        for key in ("outblob", "auxblob", "manifestblob")
    )
    provider = table.string("provider", required=False)
    table.document.raise_faults()
    return tsm_evidence(source, outblob, auxblob, provider, manifest)


def tsm_of_cbor(data: bytes, source: str) -> Evidence:
    """Return the same of its CBOR (RFC 8949): one map of text to bytes or text, as Veraison takes it."""
    at, found = 1, dict[str, bytes]()
    for _entry in range(data[0] & 0x1F):
        kind, key, at = _cbor_string(data, at, source)
        if kind != _TEXT or key.decode("latin-1") in found:
            raise SevbuildError(f"{source}: a key of the map is no text, or stands there twice")
        _kind, found[key.decode("latin-1")], at = _cbor_string(data, at, source)
    if at != len(data):
        raise SevbuildError(f"{source}: more follows the map, at offset {at}")
    if "outblob" not in found:
        raise SevbuildError(f"{source}: the map has no outblob")
    provider = found.get("provider", b"").decode("latin-1")
    manifest = found.get("manifestblob", b"")
    return tsm_evidence(source, found["outblob"], found.get("auxblob", b""), provider, manifest)


_BYTES, _TEXT = 2, 3


def _cbor_string(data: bytes, at: int, source: str) -> tuple[int, bytes, int]:
    """Return the kind of the string at `at`, its bytes, and where it ends."""
    first = data[at : at + 1] or b"\0"
    kind, size = first[0] >> 5, first[0] & 0x1F
    start = at + 1
    if kind in (_BYTES, _TEXT) and 24 <= size <= 26:
        start += 1 << size - 24
        size = int.from_bytes(data[at + 1 : start], "big")
    if kind not in (_BYTES, _TEXT) or size > len(data) - start:
        raise SevbuildError(f"{source}: neither bytes nor text of a known size, at offset {at}")
    return kind, data[start : start + size], start + size

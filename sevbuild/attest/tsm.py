"""What Linux hands a guest under configfs-tsm (Documentation/ABI/testing/configfs-tsm-report)."""

from __future__ import annotations

from sevbuild.attest.certificate_table import decode_table, table_notes
from sevbuild.attest.given import Evidence
from sevbuild.attest.json_bytes import base64_at
from sevbuild.documents.json_reader import Reader
from sevbuild.errors import SevbuildError

__all__ = ["PROVIDER", "tsm_evidence", "tsm_of_json"]

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

"""What Trustee's attester sends of a confidential VM of Azure: HCL report, TPM quote and VCEK as JSON."""

from __future__ import annotations

from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.hcl import decode_hcl
from sevbuild.attest.json_bytes import base64_at, hex_at
from sevbuild.attest.tpm_quote import TpmQuote, decode_quote
from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.document import check_hex
from sevbuild.documents.json_reader import Reader
from sevbuild.text import encode_text

__all__ = ["azure_evidence"]

_PCR_SIZE = 32
"""The quote is of the bank of SHA-256 (az-cvm-vtpm, src/vtpm/mod.rs)."""


def azure_evidence(table: Reader, source: str) -> Evidence:
    """Return the report in the HCL report, what binds it, the quote, and the VCEK that came with them."""
    hcl = base64_at(table, "hcl_report")
    quote = None
    if table.any("tpm_quote") is not None:
        quote = _quote(table.section("tpm_quote"), source)
    found: tuple[GivenCertificate, ...] = ()
    if table.any("vcek") is not None:
        # PEM as it stands, or DER in base64.
        text = table.string("vcek")
        data = (None if text.startswith("-----") else base64_bytes(text)) or encode_text(text)
        found = (GivenCertificate(f"{source}: vcek", data),)
    table.document.raise_faults()
    report, binding = decode_hcl(hcl, f"{source}: hcl_report")
    return Evidence("azure-vtpm", report, found, binding._replace(quote=quote))


def _quote(table: Reader, source: str) -> TpmQuote | None:
    message, signature = (hex_at(table, key) for key in ("message", "signature"))
    document = table.document
    pcrs = [
        check_hex(document, f"{table.at('pcrs')}[{index}]", entry, _PCR_SIZE) or b""
        for index, entry in enumerate(table.strings("pcrs"))
    ]
    document.raise_faults()
    return decode_quote(message, signature, tuple(pcrs), f"{source}: tpm_quote")

"""Every form in which a report comes, told by its content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.report import REPORT_SIZE
from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.errors import SevbuildError
from sevbuild.text import utf8_text

__all__ = ["EVIDENCE_LIMIT", "FORMS", "KNOWN", "Evidence", "GivenCertificate", "is_evidence", "read_evidence"]

EVIDENCE_LIMIT = 4 << 20
"""The size of the largest evidence that is read: dstack's event logs are the longest part of any."""

FORMS = {
    "report": "an attestation report",
    "report-and-table": "an attestation report with its certificate table",
    "tsm": "evidence of configfs-tsm",
    "trustee": "evidence of Trustee",
    "dstack": "an attestation of dstack",
    "hcl": "an HCL report of Azure",
    "azure-vtpm": "evidence of Azure with a TPM quote",
}
"""Each form, and how a sentence calls it."""

KNOWN = (
    "known are a report of 1184 bytes, alone or with its certificate table, in hexadecimal or base64; what "
    "configfs-tsm has, also as JSON; the evidence of Trustee, dstack and Azure"
)
"""What is read, as a hint says it."""
_CBOR_MAPS = tuple(bytes([0xA0 | count]) for count in range(1, 16))
"""How a map of so few entries begins in CBOR (RFC 8949, 3.1)."""
_TABLE_END = 24
"""The bytes of the shortest certificate table, which has no entry."""


def read_evidence(data: bytes, source: str) -> Evidence:
    """Return what is in evidence of any of FORMS, binary, in hexadecimal or base64, or JSON.

    Raises SevbuildError for anything else, and where a form is none on a closer look.
    """
    if len(data) > EVIDENCE_LIMIT:
        raise SevbuildError(f"{source}: {len(data)} bytes; the limit of evidence is {EVIDENCE_LIMIT}")
    text = _text_of(data)
    if text is not None and text.lstrip()[:1] == "{":
        return _of_json(data, source)
    raw = data if text is None else hex_bytes(text) or base64_bytes(text) or b""
    form = _form_of(raw)
    if form is None:
        size = f": a report is {REPORT_SIZE} bytes, not {len(raw)}" if _begins_as_report(raw) else ""
        raise SevbuildError(f"{source}: no evidence of a guest{size}", hint=None if size else KNOWN)
    return _READERS[form](raw, source)


def is_evidence(data: bytes) -> bool:
    """Tell whether bytes have the marks of evidence; whether it is any, `read_evidence` finds out."""
    if len(data) > EVIDENCE_LIMIT:
        return False
    text = _text_of(data)
    if text is not None and text.lstrip()[:1] == "{":
        from sevbuild.documents.json_input import parse_json

        try:
            return _json_form(parse_json("evidence", data)) is not None
        except SevbuildError:
            return False
    raw = data if text is None else hex_bytes(text) or base64_bytes(text) or b""
    return _form_of(raw) is not None


def _text_of(data: bytes) -> str | None:
    """Return the text that evidence is written as, None for a binary form: each of those has zeros in it."""
    return None if b"\0" in data else utf8_text(data)


def _begins_as_report(raw: bytes) -> bool:
    """Tell whether bytes begin as a report of some version that may be: a small number in four bytes."""
    return raw[1:4] == bytes(3) and raw[0] > 0


def _form_of(raw: bytes) -> str | None:
    """Return the form of binary evidence by its marks, None for bytes without any."""
    if raw[:4] == b"HCLA":
        return "hcl"
    # SCALE: version 0, SEV-SNP, a report of 1,184 bytes. MessagePack: a map with `version` before all.
    if raw[:4] == b"\0\x03\x81\x12" or raw[1:9] == b"\xa7version":
        return "dstack"
    if raw[:1] in _CBOR_MAPS and b"\x67outblob" in raw:
        return "tsm"
    if len(raw) == REPORT_SIZE:
        return "report"
    # A number that small begins other files as well; SIGNATURE_ALGO is 1 in every report that is signed.
    if len(raw) >= REPORT_SIZE + _TABLE_END and _begins_as_report(raw) and raw[0x34:0x38] == b"\1\0\0\0":
        return "report-and-table"
    return None


def _report(raw: bytes, source: str) -> Evidence:
    del source
    return Evidence("report", raw)


def _report_and_table(raw: bytes, source: str) -> Evidence:
    from sevbuild.attest.certificate_table import decode_table, table_notes

    table = raw[REPORT_SIZE:]
    name = f"{source}: certificate table"
    found = decode_table(table, name)
    return Evidence("report-and-table", raw[:REPORT_SIZE], found, None, table_notes(table, name))


def _dstack(raw: bytes, source: str) -> Evidence:
    from sevbuild.attest.dstack import decode_attestation

    return decode_attestation(raw, source)


def _tsm(raw: bytes, source: str) -> Evidence:
    from sevbuild.attest.tsm import tsm_of_cbor

    return tsm_of_cbor(raw, source)


def _hcl(raw: bytes, source: str) -> Evidence:
    from sevbuild.attest.hcl import decode_hcl

    report, binding = decode_hcl(raw, source)
    return Evidence("hcl", report, (), binding)


_READERS: dict[str, Callable[[bytes, str], Evidence]] = {
    "report": _report,
    "report-and-table": _report_and_table,
    "dstack": _dstack,
    "tsm": _tsm,
    "hcl": _hcl,
}


def _json_form(value: Any) -> str | None:
    """Return which form a JSON value is, by the key that only this form has."""
    marks = {
        "outblob": "tsm",
        "attestation_report": "trustee",
        "hcl_report": "azure",
        "attestation": "dstack",
    }
    return next((form for key, form in marks.items() if isinstance(value, dict) and key in value), None)


def _of_json(data: bytes, source: str) -> Evidence:
    from sevbuild.documents.json_input import JsonDocument, parse_json
    from sevbuild.documents.json_reader import Reader

    value = parse_json(source, data)
    form = _json_form(value)
    table = Reader(JsonDocument(source), value)
    if form == "tsm":
        from sevbuild.attest.tsm import tsm_of_json

        return tsm_of_json(table, source)
    if form == "trustee":
        from sevbuild.attest.trustee import trustee_evidence

        return trustee_evidence(table, source)
    if form == "azure":
        from sevbuild.attest.azure import azure_evidence

        return azure_evidence(table, source)
    if form == "dstack":
        from sevbuild.attest.dstack import dstack_of_json

        return dstack_of_json(table, source)
    raise SevbuildError(f"{source}: no evidence of a guest", hint=KNOWN)

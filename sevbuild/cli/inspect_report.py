"""Evidence of a guest as `inspect` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.attest.appraisal import HOST_VMPL
from sevbuild.attest.evidence import FORMS
from sevbuild.attest.product import Tcb
from sevbuild.cli.tables import text_table
from sevbuild.text import visible

__all__ = ["evidence_text"]

_HEXADECIMAL = ("vmpl", "cpuid_fam_id", "cpuid_mod_id", "cpuid_step")
_SHORTEST = 32
"""The digits of the shortest field that is bytes."""


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Return the description of evidence as a table of its fields, and what came with it."""
    report = evidence["report"]
    product = evidence["product"] or "no product is named"
    text = visible(f"{evidence['name']}: {FORMS[evidence['form']]}, version {report['version']}, {product}")
    rows = [(name.upper(), _shown(name, value)) for name, value in report.items()]
    text += "\n\n" + text_table(("field", "value"), rows)
    if evidence["reserved"]:
        text += f"\nreserved, and set: {', '.join(evidence['reserved'])}\n"
    if evidence["certificates"]:
        entries = [_certificate(one) for one in evidence["certificates"]]
        text += "\ncertificates\n" + text_table(("kind", "valid until", "of", "where"), entries)
    if evidence["hcl"] is not None:
        text += "\n" + _hcl(evidence["hcl"])
    text += "".join(f"\nnote: {visible(note)}\n" for note in evidence["notes"])
    return text + "\nNothing of this is verified: `sevbuild verify` does that.\n"


def _shown(name: str, value: Any) -> str:
    text = f"{value:#x}" if name in _HEXADECIMAL and value is not None else str(value)
    if value is None:
        text = "not in this version"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, Mapping):
        text = _parted(value)
    elif isinstance(value, str) and len(value) >= _SHORTEST and not value.strip("0"):
        text = f"{len(value) // 2} bytes of zeros"
    return f"{text} (the host asked for it)" if name == "vmpl" and value == HOST_VMPL else text


def _parted(value: Mapping[str, Any]) -> str:
    if "r" in value:
        return f"{value['r']} {value['s']}"
    if "parts" in value:
        return f"{value['value']}{_tcb(value['parts'])}"
    words = [f"ABI {value['abi']} or later"] if value.get("abi", "0.0") != "0.0" else []
    return f"{value['value']} ({', '.join([*words, *value['bits']]) or 'none'})"


def _tcb(parts: Mapping[str, Any] | None) -> str:
    if parts is None:
        return " (which parts these are depends on the product)"
    return f" ({Tcb(**parts)})"


def _certificate(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if one["fault"] is not None:
        return one["kind"] or "-", "-", one["fault"], one["source"]
    of = one["product_name"] + _tcb(one["tcb"]["parts"]) if "tcb" in one else one["subject"]
    return one["kind"] or "-", one["not_after"], of, one["source"]


def _hcl(hcl: Mapping[str, Any]) -> str:
    rows = [(name, hcl[name]["status"], hcl[name]["reason"]) for name in ("binding", "quote")]
    text = "runtime data\n" + text_table(("", "", ""), rows).partition("\n")[2]
    if hcl["nonce"] is not None:
        text += f"nonce of the quote: {hcl['nonce'] or 'none'}\n"
    return text

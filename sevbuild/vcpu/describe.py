"""A VMSA in words, for people and for JSON."""

from __future__ import annotations

from hashlib import sha256, sha384
from typing import Any

from sevbuild.vcpu.models import models_of
from sevbuild.vcpu.save_area import FIELDS, SEV_FEATURE_BITS, VMSA_SIZE, parse_vmsa, reserved_bytes_set

__all__ = ["describe_vmsa", "feature_names", "looks_like_vmsa"]

_EFER_SVME = 0x1000
_RFLAGS_ONE = 0x2


def looks_like_vmsa(data: bytes) -> bool:
    """Tell whether the bytes are a VMSA: one page, EFER.SVME and the bit of RFLAGS that is always one.

    A host cannot start a vCPU without either (APM vol. 2 sections 15.4 and 3.1.3).
    """
    if len(data) != VMSA_SIZE:
        return False
    fields = parse_vmsa(data)
    efer, rflags = fields["efer"], fields["rflags"]
    if not isinstance(efer, int) or not isinstance(rflags, int):
        return False
    return bool(efer & _EFER_SVME) and bool(rflags & _RFLAGS_ONE) and efer < 1 << 32 and rflags < 1 << 22


def feature_names(features: int) -> list[str]:
    """Return the names of the SEV_FEATURES bits set, lowest first; a bit without a name by number."""
    names = {bit: name for name, bit in SEV_FEATURE_BITS.items()}
    return [names.get(bit, f"bit-{bit}") for bit in range(64) if features >> bit & 1]


def describe_vmsa(page: bytes) -> dict[str, Any]:
    """Return a JSON-able description of a 4096-byte VMSA; raises SevbuildError for another size.

    Numbers are hex strings. `cpu_models` are those whose vCPU signature RDX is, which is how QEMU starts a
    vCPU; `reserved` are runs of bytes that no field has and that are not zero.
    """
    fields = parse_vmsa(page)
    features, rdx = fields["sev_features"], fields["rdx"]
    return {
        "kind": "vmsa",
        "size": len(page),
        "sha256": sha256(page).hexdigest(),
        "sha384": sha384(page).hexdigest(),
        "sev_features": feature_names(features) if isinstance(features, int) else [],
        "cpu_models": models_of(rdx) if isinstance(rdx, int) else [],
        "reserved": [
            {"offset": hex(offset), "length": length} for offset, length in reserved_bytes_set(page)
        ],
        "fields": [
            {"name": field.name, "offset": hex(field.offset), "value": _shown(fields[field.name])}
            for field in FIELDS
        ],
    }


def _shown(value: int | bytes | dict[str, int]) -> Any:
    if isinstance(value, dict):
        return {part: hex(number) for part, number in value.items()}
    return value.hex() if isinstance(value, bytes) else hex(value)

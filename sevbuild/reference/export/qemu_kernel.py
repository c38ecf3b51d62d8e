"""Whether a target is what two foreign verifiers recompute: QEMU with a measured kernel, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.reference.export.ingredients import ingredients_of

__all__ = ["unlike_qemu_kernel"]


def unlike_qemu_kernel(document: Mapping[str, Any], value: Mapping[str, Any]) -> str | None:
    """Return why a target cannot be recomputed from seed, kernel hashes and vCPU model, else None."""
    if not value["kernel_hashes"]:
        return "no kernel is measured"
    if value["profile"] != "qemu":
        return f"verifiers recompute launches of profile qemu, not of {value['profile']}"
    if value["order"] != "profile":
        return f"verifiers recompute in QEMU's order, not in {value['order']} order"
    entry = ingredients_of(document, value)
    known = value["cmdline"] is not None and value["guest_features"] is not None
    if entry is None or not known or entry["seed"] is None or entry.get("kernel") is None:
        return "the document has no ingredients of it"
    if entry["reset"] is None or entry["hash_table"] is None or "sections" not in entry:
        return "the firmware has no AP reset address, hash table or SEV metadata"
    return None

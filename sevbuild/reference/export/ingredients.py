"""Look up what a target was made of, in a reference-values document."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

__all__ = ["append_digest", "ingredients_of", "inputs_of"]


def ingredients_of(document: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entry of `ingredients` that a value names, None where there is none."""
    name = value.get("ingredients")
    if name is None:
        return None
    return next((entry for entry in document.get("ingredients", ()) if entry["name"] == name), None)


def inputs_of(document: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return the inputs of a target by role; None where several have a role and nothing says which it is."""
    entries = list(document["inputs"])
    entry = ingredients_of(document, value)
    if entry is not None:
        wanted = entry["inputs"]
        entries = [one for one in entries if wanted.get(one["role"]) in (one.get("sha256"), one.get("seed"))]
    found = {one["role"]: one for one in entries}
    return found if len(found) == len(entries) else None


def append_digest(entry: Mapping[str, Any], value: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 (hex) of a target's command line and its NUL; None for a line that is not UTF-8."""
    kernel = entry["kernel"]
    if kernel.get("cmdline_sha256") is not None:
        return str(kernel["cmdline_sha256"])
    if kernel.get("cmdline") is None:
        return None
    return sha256(value["cmdline"].encode() + b"\0").hexdigest()

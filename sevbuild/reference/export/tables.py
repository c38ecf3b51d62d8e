"""The two tables of release notes: inputs, and launch digests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.reference.export.interface import Document

__all__ = ["INPUT_HEADER", "VALUE_HEADER", "input_rows", "value_rows"]

INPUT_HEADER = ("input", "file", "size", "digest")
VALUE_HEADER = ("target", "policy", "guest features", "launch digest")


def input_rows(document: Document) -> list[tuple[str, str, str, str]]:
    """Return a row for each input: role, basename, bytes, digest with its algorithm."""
    rows = []
    for entry in document["inputs"]:
        algorithm = "seed" if "seed" in entry else "sha256"
        size = str(entry["size"]) if "size" in entry else "-"
        rows.append((entry["role"], entry["name"] or "-", size, f"{algorithm}:{entry[algorithm]}"))
    return rows


def value_rows(document: Document) -> list[tuple[str, str, str, str]]:
    """Return a row for each target: label, policy, features, launch digest."""
    return [
        (_target(value), value["policy"], value["guest_features"] or "none", value["digest"])
        for value in document["values"]
    ]


def _target(value: Mapping[str, Any]) -> str:
    """Return a label, with its releases in a document of several."""
    spans = [
        span["first"] if span["first"] == span["last"] else f"{span['first']} to {span['last']}"
        for span in value.get("releases", ())
    ]
    return f"{value['label']} ({', '.join(spans)})" if spans else str(value["label"])

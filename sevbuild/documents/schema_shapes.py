"""Shapes that recur in JSON Schemas of documents that people write."""

from __future__ import annotations

from typing import Any

__all__ = ["one_or_list", "table"]


def table(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of a table that has these keys and no others."""
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **more,
    }


def one_or_list(description: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one value or a list of several."""
    return {"description": description, "anyOf": [item, {"type": "array", "minItems": 1, "items": item}]}

"""Shapes that recur in JSON Schemas of what people write; one with a description begins with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["filled_table", "hex_digits", "integer", "one_or_list", "table", "text", "word"]


def table(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of a table that has these keys and no others."""
    shape = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return _described(description, shape)


def filled_table(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a table that has one of these keys or more, and no others."""
    return {
        "type": "object",
        "minProperties": 1,
        "properties": properties,
        "additionalProperties": False,
    }


def one_or_list(description: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one value or a list of several."""
    return {"description": description, "anyOf": [item, {"type": "array", "minItems": 1, "items": item}]}


def integer(low: int, high: int, description: str = "", **more: Any) -> dict[str, Any]:
    """Return the schema of an integer within `low..high`."""
    return _described(description, {"type": "integer", "minimum": low, "maximum": high, **more})


def word(words: Iterable[str], description: str = "") -> dict[str, Any]:
    """Return the schema of a string that is one of these words."""
    return _described(description, {"type": "string", "enum": list(words)})


def text(description: str = "", **more: Any) -> dict[str, Any]:
    """Return the schema of a string; `pattern` and other keywords narrow it."""
    return _described(description, {"type": "string", **more})


def hex_digits(size: int) -> dict[str, Any]:
    """Return the schema of `size` bytes in hexadecimal digits, with or without `0x` before them."""
    return text(pattern=f"^(0[xX])?[0-9a-fA-F]{{{2 * size}}}$")


def _described(description: str, shape: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, **shape} if description else shape

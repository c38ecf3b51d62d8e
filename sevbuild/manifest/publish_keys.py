"""Decode the `[publish]` table of a manifest: formats, and what each needs."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import Document, Table, check_hex, check_integer, check_type, check_word
from sevbuild.manifest.formats import FORMATS, FormatKey
from sevbuild.manifest.model import Publish

__all__ = ["decode_format_values", "decode_publish"]


def decode_publish(top: Table) -> Publish:
    """Return what the manifest says of publishing, collecting faults."""
    table = top.table("publish")
    if table is None:
        return Publish(None, {})
    document = table.document
    formats = table.items("formats", lambda path, value: check_word(document, path, value, FORMATS))
    if formats is not None and len(set(formats)) != len(formats):
        table.fault("formats", "lists the same one twice")
    values: dict[str, dict[str, Any]] = {}
    for name in FORMATS:
        entry = table.table(name)
        if entry is not None:
            values[name] = decode_format_values(name, entry)
    table.finish()
    return Publish(None if formats is None else tuple(formats), values)


def decode_format_values(name: str, table: Table) -> dict[str, Any]:
    """Return the values of one format's table by key, collecting faults."""
    found: dict[str, Any] = {}
    for key in FORMATS[name]:
        value = table.any(key.name)
        if not table.has(key.name):
            continue
        decoded = _value(table.document, table.at(key.name), key, value)
        if decoded is not None:
            found[key.name] = decoded
    table.finish()
    return found


def _value(document: Document, path: str, key: FormatKey, value: Any) -> Any:
    if key.kind == "integer":
        return check_integer(document, path, value, 0, key.high)
    if key.kind == "boolean":
        return check_type(document, path, value, bool)
    if key.kind == "hex":
        return check_hex(document, path, value, key.size)
    if key.kind == "hex-list":
        entries = value if isinstance(value, list) else [value]
        decoded = [
            check_hex(document, f"{path}[{index}]", entry, key.size) for index, entry in enumerate(entries)
        ]
        return tuple(entry for entry in decoded if entry is not None)
    text = check_type(document, path, value, str)
    if text == "":
        document.fault(path, "must not be empty")
    return text

"""Bytes in the JSON of evidence: encoded in a string, or as a list of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sevbuild.documents.binary_text import base64_bytes, hex_bytes
from sevbuild.documents.document import Document
from sevbuild.documents.json_reader import Reader

__all__ = ["base64_at", "hex_at", "listed", "listed_at"]


def hex_at(table: Reader, key: str) -> bytes:
    """Return the bytes of hexadecimal digits; none, with a fault, for anything else."""
    return _decoded(table, key, hex_bytes, "hexadecimal digits")


def base64_at(table: Reader, key: str) -> bytes:
    """Return the bytes of base64 in either alphabet; none, with a fault, for anything else."""
    return _decoded(table, key, base64_bytes, "base64")


def listed_at(table: Reader, key: str, size: int | None = None) -> bytes:
    """Return the bytes of a list of numbers, as many as `size` where it is given; none, with a fault."""
    return listed(table.document, table.at(key), table.any(key), size)


def listed(document: Document, path: str, value: Any, size: int | None = None) -> bytes:
    """Return the same of a value at decoded `path`; what is bytes already stays so."""
    if isinstance(value, bytes) and size in (None, len(value)):
        return value
    whole = isinstance(value, list) and all(type(entry) is int and 0 <= entry <= 0xFF for entry in value)
    if not whole or (size is not None and len(value) != size):
        what = "a list of numbers" if size is None else f"{size} numbers"
        document.fault(path, f"must be {what} from 0 to 255")
        return b""
    return bytes(value)


def _decoded(table: Reader, key: str, decode: Callable[[str], bytes | None], what: str) -> bytes:
    text = table.string(key)
    data = decode(text)
    if data is None:
        # A value of another type has its fault already.
        if isinstance(table.any(key), str):
            table.fault(key, f"must be {what}")
        return b""
    return data

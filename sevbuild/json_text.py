"""The one form in which JSON documents are printed, published and bundled."""

from __future__ import annotations

from typing import Any

__all__ = ["json_bytes", "json_text"]


def json_text(document: Any) -> str:
    """Return a document with sorted keys, two spaces of indent and a newline at its end."""
    import json

    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def json_bytes(document: Any) -> bytes:
    """Return the same as UTF-8; what no encoding knows is escaped."""
    return json_text(document).encode("utf-8", "backslashreplace")

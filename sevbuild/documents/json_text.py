"""The one form in which JSON documents are printed, published and bundled."""

from __future__ import annotations

from typing import Any

from sevbuild.text import visible_json

__all__ = ["hex_text", "json_bytes", "json_text", "json_word"]


def json_text(document: Any) -> str:
    r"""Return a document with sorted keys, two spaces of indent and a newline at its end.

    What would act on a terminal stands as JSON's own escape (`\u202e`), bytes that no encoding knows too.
    """
    import json

    return visible_json(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)) + "\n"


def json_word(value: object) -> str:
    """Return a value of a document as it is written on a command line."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def hex_text(number: int | None) -> str | None:
    """Return a number of 32 or 64 bits as documents have it, in lower-case hex; None stays null."""
    return None if number is None else hex(number)


def json_bytes(document: Any) -> bytes:
    """Return the same as UTF-8."""
    return json_text(document).encode()

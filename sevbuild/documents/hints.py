"""Hints for documents of any kind: another kind of text, a quote too many or too few."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["digits_hint", "json_hint", "toml_hint", "type_hint"]

_LONGEST_QUOTED = 256
"""Bits of a number that is shown in a hint."""

_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)")


def type_hint(value: Any, kind: type) -> str | None:
    """Return what to write for a value of another type, where quotes are all that is wrong."""
    if isinstance(value, str) and kind is int and _NUMBER.fullmatch(value):
        return f"a number is written without quotes: {value}"
    if isinstance(value, str) and kind is bool and value in ("true", "false"):
        return f"a boolean is written without quotes: {value}"
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        # A float may have been written with more digits than it has, and Python refuses to print thousands.
        short = isinstance(value, int) and value.bit_length() <= _LONGEST_QUOTED
        return f'put it in quotes: "{value}"' if short else "put it in quotes"
    return None


def digits_hint(text: str) -> str | None:
    """Return what is to be left out of a string that should be hexadecimal digits alone."""
    prefix = re.match("(sha(256|384|512))[:-]", text.lower())
    return None if prefix is None else f"give only the hexadecimal digits, without {prefix[0]!r}"


def toml_hint(text: str) -> str | None:
    """Return what a text may be that is not TOML, as a manifest is."""
    start = text.lstrip()[:2]
    if start[:1] == "{":
        return "it looks like JSON; `verify`, `diff`, `export` and `publish` read reference values"
    if start[:1] == "<" or start == "#!":
        return "`sevbuild import` turns a libvirt domain or a script into a manifest"
    return None


def json_hint(text: str) -> str | None:
    """Return what a text may be that is not JSON, as a document of ours is."""
    if text.startswith("\ufeff"):
        return "save it as UTF-8 without a byte-order mark"
    if any(line.startswith(("[guest]", "[launch]", "schema =")) for line in text.splitlines()):
        return (
            "it looks like a manifest: `sevbuild measure -f json` turns one into reference values, "
            "`sevbuild verify FILE --against MANIFEST` checks published ones against it"
        )
    return None

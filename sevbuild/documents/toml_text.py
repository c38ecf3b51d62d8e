"""The one form in which TOML is written: a tool's writer would drop comments and hexadecimal numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sevbuild.text import visible_toml

__all__ = ["toml_key", "toml_line", "toml_string"]

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def toml_line(key: str, value: Any, hex_keys: Collection[str] = ()) -> str:
    """Return `key = value`, with the numbers under any of `hex_keys`, at whatever depth, in hexadecimal."""
    return f"{toml_key(key)} = {_value(value, hex_keys, as_hex=key in hex_keys)}"


def toml_key(name: str, *, numbered: bool = False) -> str:
    """Return a key as it may stand before `=` or in a header; `numbered` is of `toml_string`."""
    return name if name and set(name) <= _BARE else toml_string(name, numbered=numbered)


def toml_string(text: str, *, numbered: bool = False) -> str:
    r"""Return a basic string of TOML, with control characters as JSON escapes them.

    `numbered` has each of them by its number (`\u000A`), as locks write them.
    """
    if not numbered:
        import json

        return visible_toml(json.dumps(text, ensure_ascii=False))
    escaped = (
        f"\\u{ord(char):04X}" if char < " " or char == "\x7f" else f"\\{char}" if char in '"\\' else char
        for char in text
    )
    return visible_toml(f'"{"".join(escaped)}"')


def _value(value: Any, hex_keys: Collection[str], *, as_hex: bool) -> str:
    if isinstance(value, Mapping):
        entries = (
            f"{toml_key(key)} = {_value(entry, hex_keys, as_hex=as_hex or key in hex_keys)}"
            for key, entry in value.items()
        )
        return "{ " + ", ".join(entries) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry, hex_keys, as_hex=as_hex) for entry in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return hex(value) if as_hex else str(value)
    return toml_string(value)

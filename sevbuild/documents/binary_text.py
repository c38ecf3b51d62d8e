"""Bytes that somebody has written as text: hexadecimal digits, base64, or numbers with dots between them."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error

__all__ = ["base64_bytes", "dotted_bytes", "hex_bytes"]

_DIGITS = frozenset("0123456789abcdef")
_URL_SAFE = str.maketrans("-_", "+/")


def hex_bytes(text: str) -> bytes | None:
    """Return the bytes of hexadecimal digits, None for any other text.

    Before them may stand `0x`, and within them line ends and blanks.
    """
    digits = "".join(text.split()).lower().removeprefix("0x")
    if not digits or len(digits) % 2 or not set(digits) <= _DIGITS:
        return None
    return bytes.fromhex(digits)


def base64_bytes(text: str) -> bytes | None:
    """Return the bytes of base64, which may have line ends in it; None for any other text.

    It is of either alphabet (RFC 4648, 4 and 5), and may lack the padding at its end.
    """
    letters = "".join(text.split())
    if set("+/") & set(letters) and set("-_") & set(letters):
        return None
    letters = letters.translate(_URL_SAFE)
    try:
        return b64decode(
            letters if letters.endswith("=") else letters + "=" * (-len(letters) % 4), validate=True
        )
    except (Error, ValueError):
        return None


def dotted_bytes(text: str) -> bytes | None:
    """Return the bytes of a version such as `1.55.21`, a number each; None for any other text."""
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        return None
    numbers = [int(part) for part in parts]
    return bytes(numbers) if max(numbers) <= 0xFF else None

"""Text of others: inside, every byte is kept; where a person reads it, nothing in it acts on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "ancestors",
    "as_utf8",
    "counted",
    "decode_text",
    "encode_text",
    "time_text",
    "utf8_text",
    "visible",
    "visible_json",
    "visible_lines",
    "visible_toml",
]

# An explicit table, since what `str.isprintable` says depends on the Unicode version of the interpreter.
# Unicode 16 UnicodeData.txt: control characters, those that format without being seen (soft hyphen, zero
# widths, joiners, tags), marks of direction, line and paragraph separators; and surrogates, which stand for
# bytes that are no UTF-8.
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)

_RUNNER = "##["
"""What begins a command to GitHub's runner wherever it stands in a line."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 target` and `2 targets`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def time_text(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    from datetime import timezone

    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def decode_text(data: bytes) -> str:
    """Return the text of bytes that should be UTF-8; what is not comes back from `encode_text` alike."""
    return data.decode("utf-8", "surrogateescape")


def encode_text(text: str) -> bytes:
    """Return the bytes of text, those of `decode_text` unchanged, whatever the locale."""
    return text.encode("utf-8", "surrogateescape")


def utf8_text(data: bytes) -> str | None:
    """Return the text of bytes that are UTF-8, None of others."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def as_utf8(text: str) -> str:
    r"""Return text that a document can hold: bytes that are no UTF-8 stand as `\xff`."""
    return encode_text(text).decode("utf-8", "backslashreplace")


def visible(text: str) -> str:
    r"""Return text on one line in which what would be unseen, or would act, stands as `\x1b` or `\u202e`."""
    if text.isprintable() and _RUNNER not in text:
        return text
    import re

    return re.sub(f"[{_HIDDEN}]", _escape, text.replace(_RUNNER, "##%5B"))


def visible_lines(text: str) -> str:
    """Return the same of lines, in which none is a command to the runner of a CI system either.

    GitHub's runner takes `::name` at the start of a line, after white space, and `##[name]` anywhere
    (actions/runner src/Runner.Common/ActionCommand.cs); logs also pass through it from within containers,
    where nothing tells of it.
    """
    import re

    text = text.replace(_RUNNER, "##%5B")
    if "::" in text:
        text = re.sub(r"(?m)^(\s*)::", r"\1%3A%3A", text)
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return re.sub(f"(?!\n)[{_HIDDEN}]", _escape, text)


def visible_json(text: str) -> str:
    r"""Return a JSON text that says the same without characters that would act on a terminal or in a log.

    Its own escape stands for those that JSON has as they are (`\u009b`, `\u202e`), and for surrogates.
    """
    return _escaped_strings(text, _escape_json)


def visible_toml(text: str) -> str:
    r"""Return the text of a TOML string that says the same, with TOML's escapes where JSON has escapes."""
    return _escaped_strings(text, _escape_toml)


def ancestors(path: str) -> Iterator[str]:
    """Yield a path of keys such as `vcpu.count[2]`, then what it is below, the nearest first."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def _escaped_strings(text: str, escape: Callable[[object], str]) -> str:
    # Only within a string can this stand, so that it may be written otherwise.
    text = text.replace(_RUNNER, r"#\u0023[")
    if text.isascii() and "\x7f" not in text:
        return text
    import re

    return re.sub(f"(?!\n)[{_HIDDEN}]", escape, text)


def _escape_toml(match: object) -> str:
    code = ord(match[0])  # type: ignore[index]
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json(match: object) -> str:
    code = ord(match[0])  # type: ignore[index]
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _escape(match: object) -> str:
    return ascii(match[0])[1:-1]  # type: ignore[index]

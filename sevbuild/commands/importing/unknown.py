"""Parts of a text that stand for what cannot be known without running it."""

from __future__ import annotations

import re

from sevbuild.text import decode_text, encode_text

__all__ = ["is_known", "quoted_marks", "reasons", "spelled", "unknown"]

# No argument holds a NUL, so a mark is never mistaken for text; in hexadecimal, nothing in it looks like
# QEMU's or the shell's own signs while the text around it is taken apart.
_BARE = re.compile("([:,\\[]\\s*)(\0[0-9a-f]*\0)(\\s*[],}])")
_MARK = re.compile("\0([0-9a-f]*)\0")


def unknown(source: str, reason: str) -> str:
    """Return a mark for what `source` stands for; `reason` says why it is not known, as `is not ...`."""
    held = encode_text(f"{source}\n{reason}").hex()
    return f"\0{held}\0"


def is_known(text: str) -> bool:
    """Tell whether nothing in a text is marked as unknown."""
    return "\0" not in text


def spelled(text: str) -> str:
    """Return a text with what is not known as its source writes it."""
    return _MARK.sub(lambda mark: _parts(mark)[0], text)


def quoted_marks(text: str) -> str:
    """Return a JSON object in which each mark that stands for a whole value is a string."""
    return _BARE.sub(r'\1"\2"\3', text) if text.startswith("{") else text


def reasons(text: str) -> str:
    """Return why a text is not known: each mark in it once, with its reason."""
    found = [" ".join(_parts(mark)) for mark in _MARK.finditer(text)]
    return "; ".join(dict.fromkeys(found))


def _parts(mark: re.Match[str]) -> list[str]:
    source, _, reason = decode_text(bytes.fromhex(mark[1])).rpartition("\n")
    return [source, reason]

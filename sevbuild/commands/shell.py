"""POSIX shell words: any byte but NUL, quoted so that the shell gives it back."""

from __future__ import annotations

from collections.abc import Iterable

from sevbuild.commands.qemu import HostValue, Option

__all__ = ["option_line", "quote"]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-")


def quote(text: str) -> str:
    """Return one shell word that stands for `text`, newlines and quotes included."""
    if text and set(text) <= _PLAIN:
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def option_line(option: Option) -> str:
    """Return an option and its value as shell words, with the host's values as variables."""
    name, pieces = option
    words = [quote(name)] if name else []
    if pieces:
        words.append("".join(_joined(pieces)))
    return " ".join(words)


def _joined(pieces: Iterable[str | HostValue]) -> Iterable[str]:
    for piece in pieces:
        yield quote(piece) if isinstance(piece, str) else f'"${{{piece.name}:-{piece.default}}}"'

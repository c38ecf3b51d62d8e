"""Read what a shell would expand: where it ends, and whether it is a plain variable."""

from __future__ import annotations

import re
from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["DEEPEST", "NAME", "Expansion", "balanced", "fault", "find", "quoted_end", "read_expansion"]

NAME = "[A-Za-z_][A-Za-z0-9_]*"
DEEPEST = 50
"""No brackets, and no commands, are nested deeper."""

_VARIABLE = re.compile(NAME)
_IN_BRACES = re.compile(f"({NAME})(:?[-=].*)?", re.DOTALL)
_RUN = "is what the shell works out when it runs"
_ENDS = {quote: re.compile(rf"(?:[^\\{quote}]|\\.)*{quote}", re.DOTALL) for quote in "'\"`"}


class Expansion(NamedTuple):
    """One expansion as the text writes it.

    `name` is the variable of a plain `$NAME` or `${NAME:-default}`, "@" for the arguments of the script;
    None for all that takes a shell to work out, for which `reason` speaks. `assigns` is what it assigns to.
    """

    source: str
    name: str | None = None
    default: str | None = None
    assigns: str | None = None
    reason: str = _RUN


def read_expansion(text: str, at: int) -> Expansion | None:
    """Return the expansion that begins with the `$` or backquote at `at`; None where the `$` is just that."""
    if text[at] == "`":
        return Expansion(text[at : quoted_end(text, at + 1, "`")])
    following = text[at + 1 : at + 2]
    if following == "{":
        return _in_braces(text[at : balanced(text, at + 2, "}")])
    if following == "(":
        return Expansion(text[at : balanced(text, at + 2, ")")])
    if following in tuple("@*"):
        return Expansion(text[at : at + 2], "@")
    match = _VARIABLE.match(text, at + 1)
    if match is not None:
        # A line that goes on within a name is left to a shell.
        whole = not text.startswith("\\\n", match.end())
        return Expansion(text[at : match.end()], match[0] if whole else None)
    return Expansion(text[at : at + 2]) if following in tuple("0123456789?#$!-") else None


def _in_braces(source: str) -> Expansion:
    inner = source[2:-1]
    if inner in ("@", "*"):
        return Expansion(source, "@")
    match = _IN_BRACES.fullmatch(inner)
    if match is None:
        return Expansion(source)
    name, rest = match[1], match[2] or ""
    if "=" in rest[:2]:
        return Expansion(source, assigns=name)
    default = rest[2:] if rest.startswith(":-") else None
    plain = not rest or (default is not None and not set(default) & set("$`\"'\\{}*?[~"))
    return Expansion(source, name, default) if plain else Expansion(source)


def quoted_end(text: str, at: int, quote: str) -> int:
    """Return the index after the quote that ends what begins at `at`; a backslash hides one."""
    match = _ENDS[quote].match(text, at)
    if match is None:
        raise fault(text, at - 1, f"a {quote} that does not end")
    return match.end()


def find(text: str, at: int, end: str) -> int:
    """Return the index after the next `end`."""
    found = text.find(end, at)
    if found < 0:
        raise fault(text, at - 1, f"a {end} that does not end" if end == "'" else f"there is no {end}")
    return found + len(end)


def balanced(text: str, at: int, close: str) -> int:
    """Return the index after the bracket that closes what begins at `at`, over quotes and brackets within."""
    start, expected = at, [close]
    while expected:
        char = text[at : at + 1]
        if not char or len(expected) > DEEPEST:
            raise fault(text, start - 1, f"a bracket that does not end with {close}")
        at += 1
        if char == "\\":
            at += 1
        elif char == "'":
            at = find(text, at, "'")
        elif char in '"`':
            at = quoted_end(text, at, char)
        elif char == expected[-1]:
            expected.pop()
        elif char == "(" or (char == "{" and text[at - 2] == "$"):
            expected.append(")" if char == "(" else "}")
    return at


def fault(text: str, at: int, message: str) -> SevbuildError:
    """Return the error of a text that no shell would take, with its line."""
    line = text.count("\n", 0, at) + 1
    return SevbuildError(f"line {line}: {message}")

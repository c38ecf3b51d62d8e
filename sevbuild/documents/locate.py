"""Where each value of a TOML text stands: the parser gives values without positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from sevbuild.text import ancestors

__all__ = ["comments", "locate", "nearest"]

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_DEEPEST = 100


def locate(text: str) -> dict[str, int]:
    """Return the 1-based line of every key, list entry and table of a TOML text, by dotted path.

    List entries are `a[0]`, entries of arrays of tables `matrix[1].launch.mode`; keys that are not bare are
    quoted. Text that is not TOML gives what was found before it ceased to be.
    """
    scanner = _Scanner(text)
    with suppress(_Lost):
        scanner.document()
    return scanner.found


def comments(text: str) -> list[tuple[str, int, str]]:
    """Return the table, line and text of every comment; where text is no longer TOML, of those before."""
    scanner = _Scanner(text)
    with suppress(_Lost):
        scanner.document()
    return scanner.comments


def nearest(lines: Mapping[str, int], path: str) -> int | None:
    """Return the line of `path`, or of its longest known ancestor; None if there is none."""
    return next((lines[at] for at in ancestors(path) if at in lines), None)


class _Lost(Exception):  # noqa: N818 - a way out, never seen outside
    """The text is not TOML from here on."""


class _Scanner:
    """One walk over a TOML text that notes lines; strings are skipped, not decoded, but in keys."""

    def __init__(self, text: str) -> None:
        self.found: dict[str, int] = {}
        self.comments: list[tuple[str, int, str]] = []
        self._table = ""
        self._text = text
        self._at = 0
        self._line = 1
        self._counts: dict[str, int] = {}

    def document(self) -> None:
        while self._skip(newlines=True):
            if self._peek() == "[":
                self._table = self._header()
            else:
                self._pair(self._table)
            self._skip(newlines=False)
            if self._peek() not in ("", "\n"):
                raise _Lost

    def _header(self) -> str:
        line = self._line
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        path = ""
        keys = self._keys()
        for index, key in enumerate(keys):
            path = _join(path, key)
            last = index == len(keys) - 1
            if several and last:
                self._counts[path] = self._counts.get(path, -1) + 1
                self.found.setdefault(path, line)
            if path in self._counts:
                path = f"{path}[{self._counts[path]}]"
            self.found.setdefault(path, line)
        self._expect("]]" if several else "]")
        return path

    def _pair(self, prefix: str, depth: int = 0) -> None:
        path, line = prefix, self._line
        for key in self._keys():
            path = _join(path, key)
            self.found.setdefault(path, line)
        self._expect("=")
        self._skip(newlines=False)
        self._value(path, depth)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(newlines=False)
            keys.append(self._key())
            self._skip(newlines=False)
            if self._peek() != ".":
                return keys
            if len(keys) > _DEEPEST:
                raise _Lost
            self._at += 1

    def _key(self) -> str:
        quote = self._peek()
        start = self._at
        if quote and quote in "\"'":
            self._string()
            inner = self._text[start + 1 : self._at - 1]
            return inner if inner and set(inner) <= _BARE else f'"{inner}"'
        while self._peek() and self._peek() in _BARE:
            self._at += 1
        if self._at == start:
            raise _Lost
        return self._text[start : self._at]

    def _value(self, path: str, depth: int) -> None:
        char = self._peek()
        if not char or depth > _DEEPEST:
            raise _Lost
        if char in "\"'":
            self._string()
        elif char == "[":
            self._list(path, depth)
        elif char == "{":
            self._inline_table(path, depth)
        else:
            while self._peek() and self._peek() not in ",]}#\n":
                self._at += 1

    def _list(self, path: str, depth: int) -> None:
        for index in self._members("]"):
            entry = f"{path}[{index}]"
            self.found.setdefault(entry, self._line)
            self._value(entry, depth + 1)

    def _inline_table(self, path: str, depth: int) -> None:
        for _ in self._members("}"):
            self._pair(path, depth + 1)

    def _members(self, close: str) -> Iterator[int]:
        """Yield the index of each member up to a bracket; who is given it passes over the member."""
        self._at += 1
        index = 0
        while self._skip(newlines=True) and self._peek() != close:
            yield index
            index += 1
            self._skip(newlines=True)
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != close:
                raise _Lost
        self._expect(close)

    def _string(self) -> None:
        quote = self._peek()
        end = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        at = self._at + len(end)
        text = self._text
        while not text.startswith(end, at):
            if at >= len(text) or (text[at] == "\n" and len(end) == 1):
                raise _Lost
            self._line += text[at] == "\n"
            # An escape hides one character, were it a quote or the newline of a continued line.
            if text[at] == "\\" and quote == '"' and at + 1 < len(text):
                at += 1
                self._line += text[at] == "\n"
            at += 1
        at += len(end)
        # Up to two quotes may stand before the three that end a string.
        while len(end) == 3 and text.startswith(quote, at):
            at += 1
        self._at = at

    def _skip(self, *, newlines: bool) -> bool:
        """Pass white space and comments, over line ends if told; return whether text is left."""
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "#":
                end = text.find("\n", self._at)
                end = len(text) if end < 0 else end
                self.comments.append((self._table, self._line, text[self._at : end]))
                self._at = end
            elif char in " \t\r":
                self._at += 1
            elif char == "\n" and newlines:
                self._line += 1
                self._at += 1
            else:
                break
        return self._at < len(text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _expect(self, word: str) -> None:
        self._skip(newlines=False)
        if not self._text.startswith(word, self._at):
            raise _Lost
        self._at += len(word)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key

"""Read the words of shell commands without running them."""

from __future__ import annotations

from sevbuild.errors import SevbuildError

__all__ = ["shell_commands"]

_ENDS = frozenset("\n;&|()")
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def shell_commands(text: str) -> tuple[list[list[str]], list[str]]:
    """Return the simple commands of a POSIX shell text, word by word, and the expansions left as written.

    Quotes are taken away, `${NAME:-default}` stands for its default, `"$@"` for nothing. Every other
    expansion stays as it is written and is returned beside. Raises SevbuildError for a quote that does not end.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._word: list[str] | None = None
        self._words: list[str] = []
        self._commands: list[list[str]] = []
        self._unknown: list[str] = []

    def read(self) -> tuple[list[list[str]], list[str]]:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "\\":
                self._escape()
            elif char == "'":
                self._add(self._until("'"))
            elif char == '"':
                self._double()
            elif char == "$":
                self._add(self._expansion())
            elif char in _ENDS:
                self._at += 1
                self._end_command()
            elif char in " \t\r":
                self._at += 1
                self._end_word()
            elif char == "#" and self._word is None:
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            else:
                self._at += 1
                self._add(char)
        self._end_command()
        return self._commands, self._unknown

    def _add(self, text: str | None) -> None:
        if text is not None:
            if self._word is None:
                self._word = []
            self._word.append(text)

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append("".join(self._word))
        self._word = None

    def _end_command(self) -> None:
        self._end_word()
        if self._words:
            self._commands.append(self._words)
        self._words = []

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            line = self._text.count("\n", 0, self._at) + 1
            raise SevbuildError(f"line {line}: a {quote} that does not end")
        found = self._text[self._at + 1 : end]
        self._at = end + 1
        return found

    def _escape(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if following != "\n":
            self._add(following)

    def _double(self) -> None:
        start = self._at
        self._at += 1
        pieces: list[str] = []
        dropped = False
        while True:
            char = self._text[self._at : self._at + 1]
            if not char:
                self._at = start
                self._until('"\0')
            if char == '"':
                break
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in tuple('$`"\\\n'):
                following = self._text[self._at + 1]
                pieces.append("" if following == "\n" else following)
                self._at += 2
            elif char == "$":
                found = self._expansion()
                dropped = dropped or found is None
                pieces.append(found or "")
            else:
                pieces.append(char)
                self._at += 1
        self._at += 1
        if pieces != [""] or not dropped:
            self._add("".join(pieces))

    def _expansion(self) -> str | None:
        """Return what the expansion at hand stands for, None for `$@` and `$*`."""
        text, start = self._text, self._at
        following = text[start + 1 : start + 2]
        if following in ("@", "*"):
            self._at += 2
            return None
        if following == "{":
            end = text.find("}", start)
            if end > 0:
                self._at = end + 1
                name, dash, default = text[start + 2 : end].partition(":-")
                if dash and set(name) <= _NAME and "$" not in default:
                    return default
                return self._left(text[start : end + 1])
        end = start + 1
        if following == "(":
            depth = 0
            while end < len(text):
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
                if not depth:
                    break
        else:
            while end < len(text) and text[end] in _NAME:
                end += 1
        self._at = max(end, start + 1)
        return self._left(text[start : self._at]) if self._at > start + 1 else "$"

    def _left(self, expansion: str) -> str:
        self._unknown.append(expansion)
        return expansion

"""Read the commands of a shell text without running them."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from sevbuild.commands.importing import expansions
from sevbuild.commands.importing.expansions import DEEPEST, NAME, Expansion

__all__ = ["Command", "Piece", "ShellText", "Word", "read_shell"]

_ASSIGNED = re.compile(rf"({NAME})(\[[^]]*\])?(\+?=)")
_PLAIN = re.compile(r"""[^\s\\'"$`~<>&;|()]+""")
_IN_QUOTES = re.compile(r'[^"$`\\]+')
_OPENS = {"if": "if", "while": "loop", "until": "loop", "for": "loop", "select": "loop", "{": "{"}
_CLOSES = {"fi": "if", "done": "loop", "}": "{", "esac": "case:body"}
_GOES_ON = frozenset(["then", "else", "elif", "do", "!", "time", "coproc"])
_REDIRECTION = re.compile(r"&>>?|<<<|<<-?|<[&>]?|>[>&|]?")
_NO_ARGUMENTS = re.compile(r"[ \t]*\)")
_NAME_LIMIT = 256
_HOME = "is the home folder of whoever runs it"


class Piece(NamedTuple):
    """A part of a word, and whether quotes keep it whole."""

    value: str | Expansion
    quoted: bool


Word = tuple[Piece, ...]


class Command(NamedTuple):
    """A simple command.

    `assignments` stand before its first word: name, operator, value (None of an array). `nested` is within a
    loop, a condition, a function or a subshell; `certain` is what every run passes, in the shell itself.
    """

    assignments: tuple[tuple[str, str, Word | None], ...]
    words: tuple[Word, ...]
    line: int
    nested: bool
    certain: bool


class ShellText(NamedTuple):
    """The commands of a text, and names that expansions and arithmetic may assign to, with their lines."""

    commands: tuple[Command, ...]
    changed: tuple[tuple[str, int], ...]


def read_shell(text: str) -> ShellText:
    """Return the simple commands of a POSIX or bash text, in its order; documents within it are passed over.

    Raises SevbuildError for a quote or a bracket that does not end.
    """
    reader = _Reader(text)
    reader.read()
    return ShellText(tuple(reader.commands), tuple(reader.changed))


class _Reader:
    def __init__(self, text: str) -> None:
        self.commands: list[Command] = []
        self.changed: list[tuple[str, int]] = []
        self._text = text
        self._at = 0
        self._lines = [match.start() for match in re.finditer("\n", text)]
        self._word: list[Piece] | None = None
        self._words: list[Word] = []
        self._assigned: list[tuple[str, str, Word | None]] = []
        self._before = ";"
        self._begun = 0
        self._stack: list[str] = []
        self._function = False
        self._redirection = ""
        self._documents: list[tuple[str, bool]] = []

    def read(self) -> None:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char in " \t\r":
                self._at += 1
                self._end_word()
            elif text.startswith("\\\n", self._at):
                self._at += 2
            elif char == "\n":
                self._end_command(";")
                self._at += 1
                self._skip_documents()
            elif char == "#" and self._word is None:
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif text.startswith(("<(", ">("), self._at):
                self._add(
                    Expansion(text[self._at : expansions.balanced(text, self._at + 2, ")")]), quoted=False
                )
            elif char in "<>" or text.startswith("&>", self._at):
                self._redirect()
            elif char in ";&|":
                self._operator(char)
            elif char in "()":
                self._parenthesis(char)
            else:
                self._piece(char)
        self._end_command(";")

    # What separates commands

    @property
    def _top(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _push(self, kind: str) -> None:
        if len(self._stack) >= DEEPEST:
            raise expansions.fault(self._text, self._at, f"commands are nested deeper than {DEEPEST}")
        self._stack.append(kind)

    def _operator(self, char: str) -> None:
        double = self._text[self._at : self._at + 2]
        self._at += 2 if double in (";;", ";&", "&&", "||", "|&") else 1
        self._end_command(double if double in ("&&", "||") else char)
        if double in (";;", ";&") and self._top == "case:body":
            self._stack[-1] = "case:pattern"

    def _parenthesis(self, char: str) -> None:
        if char == "(" and self._array():
            return
        self._end_word()
        self._at += 1
        if char == ")":
            self._end_command(";")
            if self._top == "case:pattern":
                self._stack[-1] = "case:body"
            elif self._top == "(":
                self._stack.pop()
        elif self._top == "case:pattern":
            pass
        elif len(self._words) == 1 and (empty := _NO_ARGUMENTS.match(self._text, self._at)):
            # A function: its body follows as a compound command.
            self._at = empty.end()
            self._words = []
        elif self._text.startswith("(", self._at):
            end = expansions.balanced(self._text, self._at, ")")
            line = self._line()
            self.changed += [(name, line) for name in re.findall(NAME, self._text[self._at : end])]
            self._at = end
            self._words = []
        else:
            self._end_command(";")
            self._push("(")

    def _array(self) -> bool:
        """Pass over the value of `NAME=(...)`, which is no plain one."""
        if self._word is None or len(self._word) > 1 or self._words:
            return False
        match = _ASSIGNED.fullmatch(_literal(self._word[0]))
        if match is None:
            return False
        self._at = expansions.balanced(self._text, self._at + 1, ")")
        self._assigned.append((match[1], match[3], None))
        self._word = None
        return True

    def _redirect(self) -> None:
        if self._word is not None and len(self._word) == 1 and _literal(self._word[0]).isdigit():
            self._word = None
        self._end_word()
        match = _REDIRECTION.match(self._text, self._at)
        self._redirection = match[0] if match else ">"
        self._at += len(self._redirection)

    def _skip_documents(self) -> None:
        for end, strip in self._documents:
            while self._at < len(self._text):
                stop = self._text.find("\n", self._at)
                stop = len(self._text) if stop < 0 else stop
                line = self._text[self._at : stop]
                self._at = stop + 1
                if (line.lstrip("\t") if strip else line) == end:
                    break
        self._documents = []

    def _end_command(self, operator: str) -> None:
        self._end_word()
        self._redirection = ""
        if self._top in ("case:head", "case:pattern"):
            return
        if self._words or self._assigned:
            certain = not self._stack and self._before == ";" and operator not in ("|", "&")
            line, nested = bisect_right(self._lines, self._begun) + 1, bool(self._stack)
            self.commands.append(Command(tuple(self._assigned), tuple(self._words), line, nested, certain))
            self._before = ";"
        if operator in ("&&", "||", "|"):
            self._before = operator
        self._words, self._assigned = [], []

    # Words

    def _end_word(self) -> None:
        word, self._word = self._word, None
        if word is None:
            return
        plain = _literal(word[0]) if len(word) == 1 else ""
        redirection, self._redirection = self._redirection, ""
        if redirection in ("<<", "<<-"):
            end = "".join(p.value if isinstance(p.value, str) else p.value.source for p in word)
            self._documents.append((end, redirection == "<<-"))
        elif redirection:
            pass
        elif self._top == "case:pattern":
            if plain == "esac":
                self._stack.pop()
        elif self._top == "case:head" and plain == "in":
            self._stack[-1] = "case:pattern"
            self._words = []
        elif self._words or not (self._function or self._reserved(plain) or self._assignment(word)):
            self._words.append(tuple(word))
        else:
            self._function = plain == "function" and not self._function

    def _assignment(self, word: list[Piece]) -> bool:
        match = _ASSIGNED.match(_literal(word[0]))
        if match is None:
            return False
        rest = _literal(word[0])[match.end() :]
        value = (*([Piece(rest, quoted=False)] if rest else []), *word[1:])
        self._assigned.append((match[1], match[3], None if match[2] else value))
        return True

    def _reserved(self, word: str) -> bool:
        """Take a word that is the shell's own where a command would begin."""
        if self._assigned:
            return False
        if word == "[[":
            self._at = expansions.find(self._text, self._at, "]]")
        elif word == "case":
            self._push("case:head")
        elif word in _OPENS:
            self._push(_OPENS[word])
            # `for NAME in` assigns: it is kept as a command that does.
            return word not in ("for", "select")
        elif word in _CLOSES:
            if self._top == _CLOSES[word]:
                self._stack.pop()
        else:
            return word in _GOES_ON or word == "function"
        return True

    def _add(self, value: str | Expansion, *, quoted: bool) -> None:
        """Put a piece to the word at hand; an expansion is passed over in the text."""
        if self._word is None:
            self._word = []
            if not self._words and not self._assigned:
                self._begun = self._at - 1
        last = _literal(self._word[-1]) if self._word else ""
        if isinstance(value, str) and not quoted and 0 < len(last) < _NAME_LIMIT:
            # A line that goes on within a name, or before its sign.
            self._word[-1] = Piece(last + value, quoted=False)
        else:
            self._word.append(Piece(value, quoted))
        if isinstance(value, Expansion):
            self._at += len(value.source)
            if value.assigns is not None:
                self.changed.append((value.assigns, self._line()))

    def _piece(self, char: str) -> None:
        text, at = self._text, self._at
        if char == "\\":
            self._add(text[at + 1 : at + 2], quoted=True)
            self._at += 2
        elif char == "'":
            self._at = expansions.find(text, at + 1, "'")
            self._add(text[at + 1 : self._at - 1], quoted=True)
        elif char == '"':
            self._double()
        elif text.startswith(("$'", '$"'), at):
            self._add(Expansion(text[at : expansions.quoted_end(text, at + 2, text[at + 1])]), quoted=True)
        elif char in "$`":
            self._expand(quoted=False)
        elif char == "~" and self._begins_path():
            match = re.compile(r"~[\w+.-]*").match(text, at)
            self._add(Expansion(match[0] if match else char, reason=_HOME), quoted=True)
        else:
            match = _PLAIN.match(text, at)
            run = match[0] if match else char
            self._at += len(run)
            self._add(run, quoted=False)

    def _begins_path(self) -> bool:
        if not self._word:
            return self._word is None
        return len(self._word) == 1 and bool(_ASSIGNED.fullmatch(_literal(self._word[0])))

    def _double(self) -> None:
        text, start = self._text, self._at
        self._at += 1
        before = len(self._word or ())
        while (char := text[self._at : self._at + 1]) != '"':
            match = _IN_QUOTES.match(text, self._at)
            if not char:
                raise expansions.fault(text, start, 'a " that does not end')
            if match is not None:
                self._at = match.end()
                self._add(match[0], quoted=True)
            elif char == "\\":
                following = text[self._at + 1 : self._at + 2]
                hidden = following and following in '$`"\\\n'
                self._add(following.replace("\n", "") if hidden else char, quoted=True)
                self._at += 2 if hidden else 1
            else:
                self._expand(quoted=True)
        self._at += 1
        if len(self._word or ()) == before:
            # Nothing between quotes is a word all the same.
            self._add("", quoted=True)

    def _expand(self, *, quoted: bool) -> None:
        found = expansions.read_expansion(self._text, self._at)
        if found is None:
            self._at += 1
        self._add("$" if found is None else found, quoted=quoted)

    def _line(self) -> int:
        return bisect_right(self._lines, self._at - 1) + 1


def _literal(piece: Piece) -> str:
    """Return the text of a piece that is neither quoted nor expanded, "" of any other."""
    return piece.value if isinstance(piece.value, str) and not piece.quoted else ""

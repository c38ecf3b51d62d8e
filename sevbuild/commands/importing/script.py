"""The commands of a shell text, with what its plain assignments give their variables."""

from __future__ import annotations

import re
from typing import NamedTuple

from sevbuild.commands.importing.expansions import NAME, Expansion
from sevbuild.commands.importing.unknown import is_known, unknown
from sevbuild.commands.importing.words import Command, Piece, ShellText, Word, read_shell

__all__ = ["Run", "runs"]

_PATTERN = re.compile(r"[*?]|\[[^]]+\]|\{[^{}]*(?:,|\.\.)[^{}]*\}")
_SPACE = " \t\n"
_SPECIAL = frozenset([":", ".", "eval", "export", "readonly", "set", "trap", "unset"])
_DECLARES = ("export", "readonly")
_CHANGES = frozenset(
    ["declare", "for", "getopts", "let", "local", "mapfile", "printf", "read", "readarray", "select", "typeset", "unset"]
)  # fmt: skip
_SOURCES = (".", "eval", "source")
_BUILTINS = _SPECIAL | _CHANGES | {*_DECLARES, *_SOURCES}


class Run(NamedTuple):
    """The words of one command; `notes` is what should be known of how they came about."""

    words: list[str]
    line: int
    notes: tuple[str, ...]


def runs(text: str) -> list[Run]:
    """Return the simple commands of a shell text in its order, each with the words it would run with.

    Only assignments that every run passes count; a variable that is also assigned elsewhere, and every
    expansion that is more than a variable, is marked as unknown. Raises SevbuildError for text that no
    shell takes.
    """
    shell = read_shell(text)
    values = _Variables(shell)
    found = []
    for index, command in enumerate(shell.commands):
        values.pass_by(command)
        # Words can come to nothing: an expansion without quotes that is empty.
        if command.words and (run := values.run(index, command)).words:
            found.append(run)
    return found


class _Variables:
    """What is known of the variables at a place in the text."""

    def __init__(self, shell: ShellText) -> None:
        self._values: dict[str, str] = {}
        self._because: dict[str, dict[str, None]] = {}
        self._last: dict[str, int] = {}
        self._sourced: int | None = None
        self._moved: int | None = None
        self._own_arguments = True
        self._notes: dict[str, None] = {}
        self._doubtful: dict[str, int] = {}
        for name, line in shell.changed:
            self._doubtful.setdefault(name, line)
        for index, command in enumerate(shell.commands):
            for name, operator, value in _assigned(command):
                self._last[name] = index
                if not command.certain or operator != "=" or value is None:
                    self._doubtful.setdefault(name, command.line)
            for name in _changed(command):
                self._doubtful.setdefault(name, command.line)
        self._splits = "IFS" not in self._last and "IFS" not in self._doubtful

    def pass_by(self, command: Command) -> None:
        """Take the assignments of a command that is none but them, and notice what changes all the rest."""
        first = _literal(command.words[0]) if command.words else ""
        if first is None:
            # A builtin by way of a variable is nothing to follow.
            fields = self._fields(command.words[0], len(self._last), command)
            first = "eval" if fields and fields[0] in _BUILTINS else ""
        elif any(_literal(word) is None and not _name(word) for word in _named(command)):
            # So is a name that is worked out.
            first = "eval"
        found = [
            (name, value)
            for name, _, value in _assigned(command)
            if value is not None and name not in self._doubtful
        ]
        if not command.words:
            for entry in found:
                self._assign([entry], command)
        elif first in _DECLARES:
            # All its words are expanded before it assigns.
            self._assign(found, command)
        elif first in _SOURCES:
            self._sourced = command.line
            self._values.clear()
        elif first in ("cd", "pushd"):
            self._moved = command.line
        elif first == "set":
            given = [_beginning(word) for word in command.words[1:]]
            if any(word == "--" or not word.startswith(("-", "+")) for word in given):
                self._own_arguments = False

    def _assign(self, found: list[tuple[str, Word]], command: Command) -> None:
        """Give variables their values, with what should be known of how those came about."""
        worked_out = []
        for name, value in found:
            self._notes = {}
            worked_out.append((name, self._whole(value, command), self._notes))
        for name, text, notes in worked_out:
            self._values[name], self._because[name] = text, notes

    def run(self, index: int, command: Command) -> Run:
        """Return the words that a command runs with."""
        self._notes = {}
        if self._moved is not None:
            self._notes[f"the text changes its folder on line {self._moved}: relative paths start there"] = (
                None
            )
        words = [field for word in command.words for field in self._fields(word, index, command)]
        return Run(words, command.line, tuple(self._notes))

    def _whole(self, word: Word, command: Command) -> str:
        """Return the value of an assignment, which is never split."""
        return "".join(
            piece.value if isinstance(piece.value, str) else self._value(piece.value, None, command) or ""
            for piece in word
        )

    def _fields(self, word: Word, index: int, command: Command) -> list[str]:
        """Return the fields that a word becomes: an unquoted expansion is split at white space."""
        parts: list[tuple[str, bool]] = []
        unquoted: list[str] = []
        for piece in word:
            if isinstance(piece.value, str):
                parts.append((piece.value, False))
            elif (text := self._value(piece.value, index, command)) is not None:
                split = not piece.quoted
                if split and text and not self._splits and is_known(text):
                    text = unknown(piece.value.source, "is split where an IFS of the text's own says")
                parts.append((text, split))
            if parts and not piece.quoted:
                unquoted.append(parts[-1][0])
        fields, bare = _joined(parts), "".join(unquoted)
        if _PATTERN.search(bare) and is_known(bare):
            return [unknown(" ".join(fields), "holds a pattern of file names")]
        return fields

    def _value(self, expansion: Expansion, index: int | None, command: Command) -> str | None:
        """Return what an expansion stands for, marked where that is not known; None for no word at all."""
        source, name = expansion.source, expansion.name or ""
        if name == "@":
            if not self._own_arguments or command.nested:
                return unknown(source, "is not the arguments of the script alone")
            self._notes["what the script is given as arguments goes to the command too"] = None
            return None
        why = self._doubt(expansion, index, command)
        if why is not None:
            return unknown(source, why)
        value = self._values.get(name)
        self._notes.update(self._because.get(name, {}))
        if value or (value is not None and expansion.default is None):
            return value
        if value is None:
            self._notes[f"the default of {source} is used"] = None
        return expansion.default

    def _doubt(self, expansion: Expansion, index: int | None, command: Command) -> str | None:
        """Return why it is not known what an expansion stands for, None where it is."""
        name = expansion.name
        if name is None:
            return expansion.reason
        if name in self._doubtful:
            return f"is assigned on line {self._doubtful[name]} in a way that depends on the run"
        if command.nested and index is not None and self._last.get(name, -1) > index:
            return "is assigned again before the command may run"
        if name in self._values:
            return None
        if self._sourced is not None:
            return f"may come from what is read on line {self._sourced}"
        return "is not assigned in the text" if expansion.default is None else None


def _joined(parts: list[tuple[str, bool]]) -> list[str]:
    """Return the fields of a word from its parts, of which some are split at white space."""
    fields: list[list[str]] = []
    begun = False
    for text, split in parts:
        if split and text[:1] in tuple(_SPACE):
            begun = False
        for index, part in enumerate(re.findall(f"[^{_SPACE}]+", text) if split else [text]):
            if index or not begun:
                fields.append([])
            fields[-1].append(part)
            begun = True
        if split and text[-1:] in tuple(_SPACE):
            begun = False
    return ["".join(field) for field in fields]


def _assigned(command: Command) -> list[tuple[str, str, Word | None]]:
    """Return name, operator and value of what a command may assign for good; no value where none is sure."""
    if not command.words:
        return list(command.assignments)
    first = _literal(command.words[0])
    # In some shells an assignment stays before a builtin of these, and before what comes to no word it does.
    # An array is none of a command's own.
    stays = first is None or first in _SPECIAL
    found: list[tuple[str, str, Word | None]] = [
        (name, "", None) for name, _, value in command.assignments if stays or value is None
    ]
    for word in command.words[1:] if first in _DECLARES else ():
        match = re.match(f"({NAME})=", _literal(word[:1]) or "")
        if match is not None and all(piece.quoted or isinstance(piece.value, str) for piece in word):
            rest = Piece(str(word[0].value)[match.end() :], quoted=False)
            found.append((match[1], "=", (rest, *word[1:])))
        elif "=" in _beginning(word) and (name := _name(word)):
            found.append((name, "", None))
    return found


def _changed(command: Command) -> list[str]:
    """Return the names that a command may change in a way that takes a shell to follow."""
    first = _literal(command.words[0]) if command.words else ""
    words = command.words[1:] if first is None else _named(command) if first in _CHANGES else ()
    return [name for word in words if (name := _name(word))]


def _named(command: Command) -> tuple[Word, ...]:
    """Return the words of a builtin that may be names to assign to."""
    first = _literal(command.words[0]) if command.words else ""
    if first in ("for", "select"):
        return command.words[1:2]
    plain = first == "printf" and _beginning(command.words[1] if command.words[1:] else ()) != "-v"
    return command.words[1:] if first in (*_CHANGES, *_DECLARES) and not plain else ()


def _name(word: Word) -> str:
    """Return the name that a word is, or begins with before a sign; "" where it is worked out, or none."""
    text = _beginning(word)
    match = re.match(rf"({NAME})(?:\Z|[=[]|\+=)", text)
    whole = match is not None and (match.end() > len(match[1]) or _literal(word) is not None)
    return match[1] if match is not None and whole else ""


def _literal(word: Word) -> str | None:
    """Return the text of a word that has no expansion."""
    return _beginning(word) if all(isinstance(piece.value, str) for piece in word) else None


def _beginning(word: Word) -> str:
    """Return the text of a word up to its first expansion."""
    found = ""
    for piece in word:
        if not isinstance(piece.value, str):
            break
        found += piece.value
    return found

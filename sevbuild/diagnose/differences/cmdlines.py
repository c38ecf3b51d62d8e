"""Two command lines word by word, with the white space that a person does not see."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from sevbuild.diagnose.differences.model import Detail
from sevbuild.text import counted

__all__ = ["LineChange", "compare_lines", "shown_line"]

# lib/cmdline.c of Linux (next_arg): words end at white space that is in no quotes. A NUL ends the line.
_SPACE = r"[ \t\n\v\f\r\0]+"
_WORD = r"(?:[^ \t\n\v\f\r\0\"]|\"[^\"]*\"?)+"
_MOST_ALIGNED = 1 << 16
"""The most pairs of words that are compared to find which of them moved: the work grows with it."""
_MOST_DETAILS = 200


class LineChange(NamedTuple):
    """What differs between two command lines, in a phrase and word by word."""

    title: str
    details: tuple[Detail, ...]


class _Line(NamedTuple):
    """A command line taken apart: its words, and the white space before each of them and after the last."""

    words: list[str]
    spaces: list[str]


def compare_lines(old: str, new: str) -> LineChange:
    """Return what differs between two command lines that are not the same."""
    first, second = _taken_apart(old), _taken_apart(new)
    details = list(_details(first, second))
    if len(details) > _MOST_DETAILS:
        details[_MOST_DETAILS:] = [Detail(f"and {len(details) - _MOST_DETAILS} more", None, None)]
    return LineChange(_title(first, second), tuple(details))


def shown_line(line: str | None) -> str | None:
    """Return a command line with the white space shown that is not one space between two words."""
    if line is None:
        return None

    def shown(match: re.Match[str]) -> str:
        within = match.start() > 0 and match.end() < len(line)
        return " " if within and match[0] == " " else _shown_space(match[0])

    return re.sub(_SPACE, shown, line)


def _taken_apart(line: str) -> _Line:
    words: list[str] = []
    spaces = [""]
    for match in re.finditer(f"({_SPACE})|({_WORD})", line):
        if match[1] is not None:
            spaces[-1] = match[1]
        else:
            words.append(match[2])
            spaces.append("")
    return _Line(words, spaces)


def _title(old: _Line, new: _Line) -> str:
    if old.words == new.words:
        differ = [
            index for index, pair in enumerate(zip(old.spaces, new.spaces, strict=True)) if pair[0] != pair[1]
        ]
        if differ == [len(old.words)]:
            before, after = old.spaces[-1], new.spaces[-1]
            longer = after if len(after) > len(before) else before
            what = _named_space(longer)
            if before and after:
                return "other white space at the end"
            return f"{what} at the end {'added' if longer is after else 'removed'}"
        where = f", before {_short(old.words[differ[0]])}" if len(differ) == 1 else ""
        return f"white space alone{where}"
    if Counter(old.words) == Counter(new.words):
        return "the same words in another order"
    gone, come = Counter(old.words) - Counter(new.words), Counter(new.words) - Counter(old.words)
    keys = [Counter(map(_key, side.elements())) for side in (gone, come)]
    both = sum((keys[0] & keys[1]).values())
    parts = [(both, "changed"), (come.total() - both, "added"), (gone.total() - both, "removed")]
    return ", ".join(f"{counted(number, 'word')} {what}" for number, what in parts if number)


def _details(old: _Line, new: _Line) -> Iterator[Detail]:
    pairs = list(_matched(old.words, new.words))
    partner = dict(pairs)
    matched = set(partner.values())
    gone = [index for index in range(len(old.words)) if index not in partner]
    come = [index for index in range(len(new.words)) if index not in matched]
    yield from _word_details(old.words, new.words, gone, come)
    for index, other in pairs:
        follows = index == other == 0 or partner.get(index - 1, -2) == other - 1
        if follows and old.spaces[index] != new.spaces[other]:
            yield _space_detail(f"before {_short(old.words[index])}", old.spaces[index], new.spaces[other])
    if old.spaces[-1] != new.spaces[-1]:
        yield _space_detail("at the end", old.spaces[-1], new.spaces[-1])


def _word_details(
    old: Sequence[str], new: Sequence[str], gone: Sequence[int], come: Sequence[int]
) -> Iterator[Detail]:
    """Yield what became of the words that have no partner: moved, changed by their key, removed or added."""
    moved: dict[str, deque[int]] = {}
    by_key: dict[str, deque[int]] = {}
    for index in come:
        moved.setdefault(new[index], deque()).append(index)
    taken: set[int] = set()
    left = []
    for index in gone:
        places = moved.get(old[index])
        if places:
            other = places.popleft()
            taken.add(other)
            yield Detail(f"word {_short(old[index])}", f"place {index + 1}", f"place {other + 1}", "moved")
        else:
            left.append(index)
    for index in come:
        if index not in taken:
            by_key.setdefault(_key(new[index]), deque()).append(index)
    for index in left:
        others = by_key.get(_key(old[index]))
        if others:
            other = others.popleft()
            taken.add(other)
            yield Detail(f"word {index + 1}", old[index], new[other])
        else:
            yield Detail(f"word {index + 1}", old[index], None)
    for index in come:
        if index not in taken:
            yield Detail(f"word {index + 1}", None, new[index])


def _matched(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield which words of the one are which of the other, in the order of both."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        yield start, start
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    inner = old[start : len(old) - end], new[start : len(new) - end]
    if len(inner[0]) * len(inner[1]) <= _MOST_ALIGNED:
        for block in SequenceMatcher(None, *inner, autojunk=False).get_matching_blocks():
            yield from ((start + block.a + at, start + block.b + at) for at in range(block.size))
    yield from ((len(old) - at, len(new) - at) for at in range(end, 0, -1))


def _key(word: str) -> str:
    return word.partition("=")[0]


def _short(word: str) -> str:
    return word if len(word) <= 60 else f"{word[:57]}..."


def _space_detail(where: str, old: str, new: str) -> Detail:
    return Detail(f"white space {where}", _shown_space(old) or "none", _shown_space(new) or "none")


def _shown_space(space: str) -> str:
    names = {" ": "␣", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r", "\0": "\\0"}
    return "".join(names[letter] for letter in space)


def _named_space(space: str) -> str:
    names = {
        "\n": "a newline",
        "\r\n": "a carriage return and newline",
        " ": "a space",
        "\t": "a tab",
        "\0": "a NUL",
    }
    return names.get(space, "white space")

"""The mutants of a module: which changes are made, and how one is named so that moved lines do not matter.

The operators are cosmic-ray's. Those chosen are mistakes that somebody makes: a bound off by one, a condition
the wrong way round, `or` for `and`, a number that is not the specification's, an error that is not caught.
Left out, by rule:

- what stands outside of functions: tables and constants are the numbers of a specification, which vectors,
  peers and goldens hold, and each of their mutants would need an interpreter of its own;
- texts for people: no string is changed, nor anything inside of an f-string or of a `raise` statement;
- annotations, which are not evaluated;
- decorators: without `property` nothing runs, without a cache everything does, more slowly;
- comparisons of an order other than the one that moves the bound by one, and the negation;
- an order where equality is asked for, but of numbers: texts and kinds have none that means something.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("launch", "vcpu", "image", "measure", "igvm", "guest")

_COMPARISONS = {
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Eq": ("LtE", "GtE", "NotEq"),
    "NotEq": ("Lt", "Gt", "Eq"),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
_ARITHMETIC = {
    "Add": "Sub",
    "Sub": "Add",
    "Mul": "FloorDiv",
    "FloorDiv": "Mul",
    "Mod": "FloorDiv",
    "LShift": "RShift",
    "RShift": "LShift",
    "BitAnd": "BitOr",
    "BitOr": "BitAnd",
    "BitXor": "BitOr",
}
OPERATORS = (
    *(f"ReplaceComparisonOperator_{old}_{new}" for old, others in _COMPARISONS.items() for new in others),
    *(f"ReplaceBinaryOperator_{old}_{new}" for old, new in _ARITHMETIC.items()),
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_USub",
    "AddNot",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
    "ExceptionReplacer",
    "NumberReplacer",
)


_OF_NUMBERS = tuple(
    f"ReplaceComparisonOperator_{name}" for name in ("Eq_LtE", "Eq_GtE", "NotEq_Lt", "NotEq_Gt")
)


class Key(NamedTuple):
    """The name of a mutant: its module below sevbuild/, its function, and the text before and after.

    `number` tells apart equal changes of one function, in order.
    """

    module: str
    function: str
    before: str
    after: str
    number: int = 1

    def __str__(self) -> str:
        nth = "" if self.number == 1 else f", number {self.number}"
        return f"{self.module}: {self.function}{nth}\n    - {self.before}\n    + {self.after}"


class Mutant(NamedTuple):
    """A module with one change in a function, and the lines of its statement."""

    key: Key
    code: str
    lines: range


def modules(what: str) -> list[str]:
    """Return the modules below sevbuild/ that `what` names: a folder, a module, or all where it is empty."""
    base = ROOT / "sevbuild"
    names = [what.removeprefix("sevbuild/").rstrip("/")] if what else list(FOLDERS)
    found = []
    for name in names:
        path = base / name
        if name.split("/")[0] not in FOLDERS or not path.exists():
            raise SystemExit(f"no such folder or module: {name} (folders: {', '.join(FOLDERS)})")
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        found += [str(file.relative_to(base)) for file in files]
    return found


def mutants(module: str) -> list[Mutant]:
    """Return every mutant of one module, in order of its lines."""
    source = (ROOT / "sevbuild" / module).read_text()
    tree = get_ast(source)
    found = []
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        for occurrence, (node, position) in enumerate(_places(tree, operator)):
            function = _function(node)
            if function is None or _left_out(name, node, position):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is None or code == source:
                continue
            before, after = _changed(source, code)
            key = Key(module, function, before, after)
            found.append((position, name, occurrence, Mutant(key, code, _statement(node, position))))
    found.sort(key=lambda entry: entry[:3])
    seen: Counter[Key] = Counter()
    numbered, known = [], set()
    for *_, mutant in found:
        if mutant.code in known:
            continue
        known.add(mutant.code)
        seen[mutant.key] += 1
        numbered.append(mutant._replace(key=mutant.key._replace(number=seen[mutant.key])))
    return numbered


def _places(tree: Any, operator: Any) -> list[tuple[Any, tuple[int, int]]]:
    """Return the nodes that an operator changes and the starts of its changes, in cosmic-ray's order."""
    places, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        places += [(node, start) for start, _ in operator.mutation_positions(node)]
        waiting += reversed(getattr(node, "children", ()))
    return places


def _ancestors(node: Any) -> list[Any]:
    line = [node]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    return line


def _left_out(operator: str, node: Any, position: tuple[int, int]) -> bool:
    line = _ancestors(node)
    for child, parent in pairwise(line):
        if parent.type in ("fstring", "raise_stmt", "decorator", "tfpdef"):
            return True
        if parent.type == "annassign" and child is parent.children[1]:
            return True
        if parent.type == "funcdef" and child is parent.annotation:
            return True
    if operator.startswith(_OF_NUMBERS) and not any(child.type == "number" for child in node.children):
        return True
    return bool(line[0].type == "annassign" and position < line[0].children[1].end_pos)


def _function(node: Any) -> str | None:
    """Return the outermost function, after its classes; None for code of a module or class."""
    names: list[str] = []
    inside = False
    for child, parent in pairwise(_ancestors(node)):
        if parent.type == "funcdef":
            inside = child is parent.children[-1]  # defaults are evaluated outside
            names = [parent.name.value] if inside else []
        elif parent.type == "classdef" and names:
            names.insert(0, parent.name.value)
    return ".".join(names) if names else None


def _statement(node: Any, position: tuple[int, int]) -> range:
    """Return the lines of the statement, or of the head of the compound statement, around a change."""
    line = _ancestors(node)
    for child, parent in pairwise(line):
        if parent.type in ("suite", "file_input"):
            end = child.end_pos[0]
            for part in getattr(child, "children", ()):
                if part.type == "suite" and part.start_pos > position:
                    end = part.start_pos[0]
                    break
            return range(child.start_pos[0], max(end, position[0]) + 1)
    return range(position[0], position[0] + 1)


def _changed(source: str, code: str) -> tuple[str, str]:
    old, new = source.splitlines(), code.splitlines()
    first = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    return _tidy(old[first : len(old) - last]), _tidy(new[first : len(new) - last])


def _tidy(lines: list[str]) -> str:
    text = re.sub(r"\s+", " ", " ".join(lines)).strip()
    return re.sub(r"(?<=[(\[{~])\s|(?<=[(\[{=]-)\s", "", text)

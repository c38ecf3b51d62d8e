"""The list of mutants that nobody could notice, which `make mutants` compares with what survives."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from tests.support.house import PACKAGE

LIST = Path(__file__).parent / "data" / "mutants-equivalent.toml"


def _squeezed(text: str) -> str:
    return "".join(text.split())


@cache
def _functions(module: str) -> dict[str, str]:
    """Return the text of each function of a module, without white space, by its dotted name."""
    source = (PACKAGE / module).read_text()
    lines = source.splitlines(keepends=True)
    found: dict[str, str] = {}

    def walk(node: ast.AST, before: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                walk(child, f"{before}{child.name}.")
            elif isinstance(child, ast.FunctionDef):
                text = "".join(lines[child.lineno - 1 : child.end_lineno])
                found[before + child.name] = found.get(before + child.name, "") + _squeezed(text)

    walk(ast.parse(source), "")
    return found


def _entries() -> list[dict[str, Any]]:
    return list(tomli.loads(LIST.read_text())["mutant"])


def test_each_listed_mutant_is_of_a_line_that_is_there() -> None:
    gone = [
        entry
        for entry in _entries()
        if _squeezed(entry["before"]) not in _functions(entry["module"]).get(entry["function"], "")
    ]
    assert gone == []


def test_each_mutant_is_listed_once_with_a_reason() -> None:
    listed: Counter[tuple[Any, ...]] = Counter()
    for entry in _entries():
        assert entry["why"].strip(), entry
        assert entry.keys() <= {"module", "function", "before", "after", "number", "why"}, entry
        for after in entry["after"] if isinstance(entry["after"], list) else [entry["after"]]:
            assert _squeezed(after) != _squeezed(entry["before"]), entry
            listed[entry["module"], entry["function"], entry["before"], after, entry.get("number", 1)] += 1
    assert [mutant for mutant, times in listed.items() if times > 1] == []

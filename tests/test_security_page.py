"""The security page names a test for every clause of the review, and each of them exists."""

from __future__ import annotations

import ast
import re

from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "security.md"
CLAUSES = {f"A{number}" for number in range(19)} | {f"B{number}" for number in range(1, 7)}
_ROW = re.compile(r"^\| (?P<clause>[AB]\d+) \| (?P<what>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)


def _functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_clause_has_a_test_that_exists() -> None:
    rows = list(_ROW.finditer(PAGE.read_text(encoding="utf-8")))
    assert {row["clause"] for row in rows} == CLAUSES
    for row in rows:
        named = re.findall(r"`([\w/.]+)::(test_\w+)`", row["tests"])
        assert named, row["clause"]
        for file, name in named:
            assert file.startswith("tests/gates/")
            assert name in _functions(file), f"{row['clause']}: {file} has no {name}"


def test_every_test_of_a_gate_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests" / "gates").glob("test_*.py")):
        file = str(path.relative_to(ROOT))
        for name in _functions(file):
            if name.startswith("test_"):
                assert f"`{file}::{name}`" in text, f"{file}::{name} stands nowhere"

"""Tables within a given width, from within."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.cli.tables import text_table

WORD = st.text("abcxyz/:_0", min_size=1, max_size=12)
CELL = st.lists(WORD, max_size=6).map(" ".join) | st.just("ab" * 48) | st.just("a\x1b[31m\nb")
TABLES = st.integers(1, 5).flatmap(
    lambda columns: st.lists(st.lists(CELL, min_size=columns, max_size=columns), min_size=1, max_size=5)
)


def _on(columns: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    patch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))


@given(TABLES, st.integers(60, 130), st.sampled_from([0, 2]))
def test_a_table_fits_and_holds_all_of_it(rows: list[list[str]], columns: int, indent: int) -> None:
    header = [f"h{index}" for index in range(len(rows[0]))]
    natural = text_table(header, rows, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        _on(columns, patch)
        fitted = text_table(header, rows, indent=indent)
    assert max(map(len, fitted.splitlines())) <= columns
    assert sorted("".join(fitted.split())) == sorted("".join(natural.split()))
    assert all(line.startswith(" " * indent) for line in fitted.splitlines() if line)
    if max(map(len, natural.splitlines())) <= columns:
        assert fitted == natural


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    _on(30, monkeypatch)
    rows = [["a/b", "one two three four five six seven", "x"], ["c", "-", "ab" * 10]]
    assert text_table(("label", "what it is", "digest"), rows) == (
        "label  what it is       digest\n"
        "a/b    one two three    x\n"
        "       four five six\n"
        "       seven\n"
        "c      -\n"
        "    abababababababababab\n"
    )
    assert text_table(("label", "what it is", "digest"), [rows[1], rows[1]]) == (
        "label  what it is\n    digest\n" + "c      -\n    abababababababababab\n" * 2
    )
    assert text_table(("label", "what it is", "n"), [["a/b", "one two three four five six", "1"]]) == (
        "label  what it is            n\na/b    one two three four    1\n       five six\n"
    )

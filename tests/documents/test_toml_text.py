"""TOML that is written says what it was given, and acts on no terminal."""

from __future__ import annotations

from typing import Any

import tomli
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.documents.toml_text import toml_key, toml_line, toml_string

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.booleans() | st.integers(-(1 << 62), 1 << 62) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(texts, values)
def test_a_line_reads_as_it_was_given(key: str, value: Any) -> None:
    line = toml_line(key, value)
    assert tomli.loads(line) == {key: value}
    assert all(char >= " " and char not in "\x7f\x9b\u202e" for char in line)


@given(texts)
def test_a_numbered_string_reads_as_it_was_given(text: str) -> None:
    assert tomli.loads(f"{toml_key(text, numbered=True)} = {toml_string(text, numbered=True)}") == {
        text: text
    }


def test_how_values_are_spelled() -> None:
    assert toml_line("a-b_1", [True, 10, "x\n\x1b"]) == 'a-b_1 = [true, 10, "x\\n\\u001b"]'
    assert toml_line("a b", {"": False}) == '"a b" = { "" = false }'
    assert toml_string('"\\\n\x7f', numbered=True) == '"\\"\\\\\\u000A\\u007F"'


def test_numbers_under_some_keys_are_hexadecimal_at_any_depth() -> None:
    sections = [{"gpa": 4096, "kind": 16}]
    assert toml_line("sections", sections, ("gpa",)) == "sections = [{ gpa = 0x1000, kind = 16 }]"
    assert (
        toml_line("policy", {"snp": 16, "debug": True}, ("policy",))
        == "policy = { snp = 0x10, debug = true }"
    )
    assert toml_line("count", [16, 17], ("policy",)) == "count = [16, 17]"

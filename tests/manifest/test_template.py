"""Placeholders in command lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.manifest.template import parse_template


@pytest.mark.parametrize(
    ("text", "filled", "names"),
    [
        ("", "", set()),
        ("quiet  ro", "quiet  ro", set()),
        ("maxcpus={vcpus}", "maxcpus=4", {"vcpus"}),
        ("{a}{b}{a}", "121", {"a", "b"}),
        ("{{literal}} {a}", "{literal} 1", {"a"}),
        ("json={{{a}}}", "json={1}", {"a"}),
    ],
)
def test_placeholders_are_filled_and_named(text: str, filled: str, names: set[str]) -> None:
    template = parse_template(text)
    assert template.names == names
    assert template.fill({"a": "1", "b": "2", "vcpus": "4"}) == filled


@pytest.mark.parametrize("text", ["{", "}", "a}b", "{a", "{}", "{a b}", "{1}", "{{}", "x{a}}"])
def test_a_stray_brace_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(SevbuildError, match="is a stray brace") as caught:
        parse_template(text)
    assert caught.value.hint is not None


@given(st.text())
def test_escaped_text_is_itself(text: str) -> None:
    assert parse_template(text.replace("{", "{{").replace("}", "}}")).fill({}) == text


@given(st.text())
def test_values_are_not_read_again(value: str) -> None:
    assert parse_template("a{x}b").fill({"x": value}) == f"a{value}b"

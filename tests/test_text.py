"""Text of others: kept byte for byte, and harmless where it is shown."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime, timedelta, timezone

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.documents.json_text import json_bytes
from sevbuild.text import (
    decode_text,
    encode_text,
    time_text,
    visible,
    visible_json,
    visible_lines,
    visible_toml,
)

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TEXT = st.text(st.characters() | st.sampled_from("\0\n\r\t\x1b\x7f\x9b\u2028\ufeff\udc80:#[" + BIDI))


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert encode_text(decode_text(data)) == data


@given(TEXT)
def test_nothing_that_acts_is_shown(text: str) -> None:
    shown = visible(text)
    assert not [
        char for char in shown if char in BIDI or unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs")
    ]
    # What is seen stays as it is, and showing it again changes nothing.
    assert visible(shown) == shown
    kept = [char for char in text if char.isprintable()]
    assert kept == [char for char in shown if char in kept][: len(kept)] or "\\" in shown


@given(TEXT)
def test_lines_stay_lines(text: str) -> None:
    shown = visible_lines(text)
    assert shown.count("\n") == text.count("\n")
    assert not [line for line in shown.split("\n") if line.lstrip().startswith("::") or "##[" in line]
    assert not [
        char for char in shown.replace("\n", "") if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs")
    ]


@given(st.dictionaries(TEXT, TEXT))
def test_a_json_document_says_the_same(document: dict[str, str]) -> None:
    data = json_bytes(document)
    assert json.loads(data) == document
    text = data.decode().replace("\n", "")
    assert not [char for char in text if char in BIDI or unicodedata.category(char) == "Cc"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größe €漢", "plain, größe €漢"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31m\x9b2J\x7f", r"\x1b[31m\x9b2J\x7f"),
        ("gpj\u202eexe", r"gpj\u202eexe"),
        ("\udcff\U000e0041\ufeff", r"\udcff\U000e0041\ufeff"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_acts_on_a_terminal_is_escaped_in_json() -> None:
    assert visible_json('"\x9b\u202e\U000e0041\udc80"') == r'"\u009b\u202e\udb40\udc41\udc80"'
    assert json.loads(visible_json('"\U000e0041"')) == "\U000e0041"


@given(TEXT)
def test_a_toml_string_says_the_same(text: str) -> None:
    text = "".join(char for char in text if not "\ud800" <= char <= "\udfff")
    written = visible_toml(json.dumps(text, ensure_ascii=False))
    assert tomli.loads(f"x = {written}")["x"] == text
    assert not [char for char in written if char in BIDI or unicodedata.category(char) == "Cc"]
    assert "##[" not in written


def test_a_time_is_in_utc_to_the_second() -> None:
    at = datetime(2026, 6, 1, 12, 30, 15, 999_999, tzinfo=timezone.utc)
    assert time_text(at) == "2026-06-01T12:30:15Z"
    assert time_text(at.astimezone(timezone(timedelta(hours=5)))) == "2026-06-01T12:30:15Z"

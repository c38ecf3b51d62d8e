"""Bytes written as text: either alphabet of base64, padded or not, digits with or without a prefix."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.documents.binary_text import base64_bytes, dotted_bytes, hex_bytes


@given(st.binary(min_size=1))
def test_what_was_written_is_read(data: bytes) -> None:
    for text in (data.hex(), "0x" + data.hex().upper(), "\n".join((data.hex()[:3], data.hex()[3:], ""))):
        assert hex_bytes(text) == data
    for encoded in (b64encode(data), urlsafe_b64encode(data)):
        text = encoded.decode()
        assert base64_bytes(text) == base64_bytes(text.rstrip("=")) == data
        assert base64_bytes(text[:2] + "\r\n" + text[2:]) == data


@pytest.mark.parametrize("text", ["", "0x", "abc", "0g", "00 0", "é1"])
def test_other_text_is_no_hexadecimal(text: str) -> None:
    assert hex_bytes(text) is None


@pytest.mark.parametrize("text", ["A", "AB=C", "AB==C", "A===", "A.BC", "éA==", "AAAAA", "A+-A"])
def test_other_text_is_no_base64(text: str) -> None:
    assert base64_bytes(text) is None


def test_a_version_is_a_byte_for_each_number() -> None:
    assert dotted_bytes("1.55.21") == bytes([1, 55, 21])
    assert dotted_bytes("7") == b"\x07"
    assert dotted_bytes("0.255") == b"\0\xff"
    for text in ("", ".", "1.", "1..2", "1.256", "1.0001", "1.x", "1.\u0661", " 1.2", "-1.2"):
        assert dotted_bytes(text) is None

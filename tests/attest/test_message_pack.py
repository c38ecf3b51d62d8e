"""MessagePack as dstack writes it: what is written is read, and nothing else is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.message_pack import decode_message_pack
from sevbuild.errors import SevbuildError
from tests.support.evidence import message_pack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=300) | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


@given(VALUES)
def test_what_was_written_is_read(value: Any) -> None:
    assert decode_message_pack(message_pack(value), "value") == value


@pytest.mark.parametrize("bits", [5, 7, 8, 15, 16, 31, 32, 63])
def test_each_whole_number_has_its_form(bits: int) -> None:
    for value in (1 << bits, (1 << bits) - 1, -(1 << bits), -(1 << bits) + 1, -1, 0):
        assert decode_message_pack(message_pack([value, -1]), "value") == [value, -1]


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_each_size_has_its_form(size: int) -> None:
    for value in (b"b" * size, "t" * size, [1] * size, {str(at): at for at in range(size)}):
        assert decode_message_pack(message_pack(value), "value") == value


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "v: it ends early, at offset 0"),
        (b"\xcc", "v: it ends early, at offset 1"),
        (b"\xa2a", "v: it ends early, at offset 1"),
        (b"\x92\x01", "v: it ends early, at offset 1"),
        (b"\xdd\xff\xff\xff\xff", "v: it ends early, at offset 5"),
        (b"\xdf\xff\xff\xff\xff", "v: it ends early, at offset 5"),
        (b"\x01\x01", "v: more follows than there should be, at offset 1"),
        (b"\xa1\xff", "v: a text is not UTF-8, at offset 2"),
        (b"\x81\x01\x01", "v: a key of a map is no text, or stands there twice, at offset 2"),
        (b"\x82\xa1a\x01\xa1a\x02", "v: a key of a map is no text, or stands there twice, at offset 6"),
        (b"\x81\x90\x01", "v: it is nested too deeply, at offset 2"),
        (b"\xc1", "v: 0xc1 begins no value of evidence, at offset 1"),
        (b"\xca\0\0\0\0", "v: 0xca begins no value of evidence, at offset 1"),
        (b"\xd4\0\0", "v: 0xd4 begins no value of evidence, at offset 1"),
        (b"\xdf\0\0\0\x02" + b"\xa1a\x01"[:3], "v: it ends early, at offset 5"),
        (b"\x81\xa1a" * 100_000, "v: it is nested too deeply, at offset 97"),
        (b"\x91" * 100_000, "v: it is nested too deeply, at offset 33"),
    ],
)
def test_what_is_none_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        decode_message_pack(data, "v")
    assert str(caught.value) == error


def test_values_are_nested_32_deep_and_no_deeper() -> None:
    for one in (b"\x91", b"\x81\xa1a"):
        value = decode_message_pack(one * 32 + b"\1", "v")
        for _ in range(32):
            (value,) = value if isinstance(value, list) else value.values()
        assert value == 1
        with pytest.raises(SevbuildError, match="nested too deeply"):
            decode_message_pack(one * 33 + b"\1", "v")


@given(st.binary())
def test_any_bytes_are_a_value_or_one_clear_error(data: bytes) -> None:
    with suppress(SevbuildError):
        decode_message_pack(data, "value")

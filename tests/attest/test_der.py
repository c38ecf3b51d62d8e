"""DER: each value in its one encoding, and no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.der import SEQUENCE, Reader
from sevbuild.errors import SevbuildError

READS: dict[str, Callable[[Reader], Any]] = {
    "integer": Reader.integer,
    "boolean": Reader.boolean,
    "oid": Reader.oid,
    "bits": Reader.bits,
    "named_bits": Reader.named_bits,
    "text": Reader.text,
    "time": Reader.time,
    "element": Reader.element,
}


def read(what: str, text: str) -> Any:
    reader = Reader(bytes.fromhex(text), "it")
    found = READS[what](reader)
    reader.finish()
    return found


@pytest.mark.parametrize(
    ("what", "text", "value"),
    [
        ("integer", "020100", 0),
        ("integer", "02017f", 127),
        ("integer", "02020080", 128),
        ("integer", "0201ff", -1),
        ("integer", "020200d9", 0xD9),
        ("boolean", "0101ff", True),
        ("boolean", "010100", False),
        ("oid", "06092b060104019c780101", "1.3.6.1.4.1.3704.1.1"),
        ("oid", "0603550403", "2.5.4.3"),
        ("oid", "0603883703", "2.999.3"),
        ("oid", "060127", "0.39"),
        ("bits", "03020041", b"A"),
        ("bits", "030100", b""),
        ("named_bits", "03020106", {5, 6}),
        ("named_bits", "030100", set()),
        ("named_bits", "0303070080", {8}),
        ("text", "1302434e", "CN"),
        ("text", "0c02c3a9", "é"),
        ("text", "1600", ""),
        ("time", "170d3235303731373137303434365a", datetime(2025, 7, 17, 17, 4, 46, tzinfo=timezone.utc)),
        ("time", "170d3530303130313030303030305a", datetime(1950, 1, 1, tzinfo=timezone.utc)),
        ("time", "180f32303530303130313030303030305a", datetime(2050, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_what_is_der_is_read(what: str, text: str, value: Any) -> None:
    assert read(what, text) == value


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("integer", "0200"),
        ("integer", "02020000"),
        ("integer", "0202ffff"),
        ("integer", "0202007f"),
        ("integer", "030100"),
        ("integer", "0202"),
        ("integer", "02"),
        ("integer", ""),
        ("integer", "02010000"),
        ("boolean", "010101"),
        ("boolean", "0100"),
        ("oid", "0600"),
        ("oid", "0602802a"),
        ("oid", "06022a80"),
        ("oid", "060180"),
        ("bits", "0300"),
        ("bits", "03020140"),
        ("bits", "0302ff41"),
        ("named_bits", "0300"),
        ("named_bits", "030101"),
        ("named_bits", "03020006"),
        ("named_bits", "03020206"),
        ("named_bits", "03020880"),
        ("named_bits", "03020000"),
        ("text", "0402434e"),
        ("text", "130180"),
        ("text", "0c01ff"),
        ("text", ""),
        ("time", "170d3235303731373137303434362b"),
        ("time", "170d3235313331373137303434365a"),
        ("time", "170d32353037313731373034343a5a"),
        ("time", "170b323530373137313730345a"),
        ("time", "0202007f"),
        ("time", "18173230323530373137313730343436302e3530303030305a"),
        # Lengths: indefinite, in more bytes than it takes, longer than what is there, of five bytes.
        ("element", "3080"),
        ("element", "30800000"),
        ("element", "308100"),
        ("element", "30817f" + "00" * 127),
        ("element", "30820080" + "00" * 128),
        ("element", "3001"),
        ("element", "3082"),
        ("element", "30850000000001ff"),
    ],
)
def test_any_other_encoding_is_refused(what: str, text: str) -> None:
    with pytest.raises(SevbuildError, match=r"^it: .*, at offset [0-9]+$"):
        read(what, text)


def test_an_element_ends_where_what_holds_it_ends() -> None:
    # An inner length that reaches beyond the outer element, into bytes that are there.
    outer = Reader(bytes.fromhex("3003020201ff"), "it").element()
    with pytest.raises(SevbuildError, match="longer than what holds it"):
        outer.integer()


def test_elements_are_read_in_turn() -> None:
    whole = Reader(bytes.fromhex("3006020105020107"), "it")
    several = whole.element(SEQUENCE)
    assert whole.tag is None
    assert [several.integer(), several.integer(), several.tag] == [5, 7, None]
    with pytest.raises(SevbuildError, match="more follows"):
        Reader(b"\x05\0", "it").finish()


@given(st.binary(max_size=60), st.sampled_from(sorted(READS)))
def test_any_bytes_are_read_or_refused(data: bytes, what: str) -> None:
    reader = Reader(data, "it")
    with suppress(SevbuildError):
        READS[what](reader)
        assert 0 < reader.at <= len(data)


@given(st.integers(min_value=-(1 << 500), max_value=1 << 500))
def test_numbers_of_another_writer_are_read(number: int) -> None:
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    data = number.to_bytes(size, "big", signed=True)
    assert Reader(bytes([2, len(data)]) + data, "it").integer() == number
    with pytest.raises(SevbuildError):
        Reader(bytes([2, len(data) + 1, 0 if number >= 0 else 0xFF]) + data, "it").integer()


@given(st.integers(0, 70000))
def test_lengths_are_read_in_their_shortest_form_alone(size: int) -> None:
    body = bytes(size)
    count = (size.bit_length() + 7) // 8
    short = bytes([size]) if size < 0x80 else bytes([0x80 | count]) + size.to_bytes(count, "big")
    long = bytes([0x80 | count + 1]) + size.to_bytes(count + 1, "big")
    assert Reader(b"\x04" + short + body, "it").contents(4) == body
    with pytest.raises(SevbuildError, match="shortest form"):
        Reader(b"\x04" + long + body, "it").contents(4)

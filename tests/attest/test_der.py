"""DER: each value in its one encoding, and no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import example, given
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
        ("integer", "020180", -128),
        ("integer", "0202ff7f", -129),
        ("integer", "020200d9", 0xD9),
        ("boolean", "0101ff", True),
        ("boolean", "010100", False),
        ("oid", "06092b060104019c780101", "1.3.6.1.4.1.3704.1.1"),
        ("oid", "0603550403", "2.5.4.3"),
        ("oid", "0603883703", "2.999.3"),
        ("oid", "060127", "0.39"),
        ("oid", "060128", "1.0"),
        ("oid", "060150", "2.0"),
        ("oid", "06028100", "2.48"),
        ("oid", "06032a8100", "1.2.128"),
        ("oid", "06022a00", "1.2.0"),
        ("oid", "06022a7f", "1.2.127"),
        ("oid", "06042a818000", "1.2.16384"),
        ("bits", "03020041", b"A"),
        ("bits", "030100", b""),
        ("named_bits", "03020106", {5, 6}),
        ("named_bits", "03020104", {5}),
        ("named_bits", "03020006", {5, 6}),
        ("named_bits", "030100", set()),
        ("named_bits", "0303070080", {8}),
        ("named_bits", "03020001", {7}),
        ("named_bits", "03020780", {0}),
        ("text", "1302434e", "CN"),
        ("text", "0c02c3a9", "é"),
        ("text", "1600", ""),
        ("time", "170d3235303731373137303434365a", datetime(2025, 7, 17, 17, 4, 46, tzinfo=timezone.utc)),
        ("time", "170d3439313233313233353935395a", datetime(2049, 12, 31, 23, 59, 59, tzinfo=timezone.utc)),
        ("time", "170d3530303130313030303030305a", datetime(1950, 1, 1, tzinfo=timezone.utc)),
        ("time", "180f32303530303130313030303030305a", datetime(2050, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_what_is_der_is_read(what: str, text: str, value: Any) -> None:
    assert read(what, text) == value


SHORT = "a number is not in its shortest form, at offset 2"
BITS = "a string of named bits is not in its shortest form, at offset 2"
LENGTH = "the length of an element is none, at offset 0"
LONG = "the length of an element is not in its shortest form, at offset 0"
BEYOND = "an element is longer than what holds it, at offset 0"
OID = "an object identifier is not in its shortest form, at offset 2"
NO_TIME = "a time is none to the second, in UTC, at offset 2"


@pytest.mark.parametrize(
    ("what", "text", "reason"),
    [
        ("integer", "0200", SHORT),
        ("integer", "02020000", SHORT),
        ("integer", "0202ffff", SHORT),
        ("integer", "0202ff80", SHORT),
        ("integer", "0202007f", SHORT),
        ("integer", "030100", "tag 0x03 is where 0x02 is expected, at offset 0"),
        ("integer", "0202", BEYOND),
        ("integer", "020200", BEYOND),
        ("integer", "02", "it ends early, at offset 0"),
        ("integer", "", "it ends early, at offset 0"),
        ("integer", "02010000", "more follows than there should be, at offset 3"),
        ("boolean", "010101", "a truth value is neither 00 nor ff, at offset 2"),
        ("boolean", "0100", "a truth value is neither 00 nor ff, at offset 2"),
        ("boolean", "0102ffff", "a truth value is neither 00 nor ff, at offset 2"),
        ("oid", "0600", "an object identifier ends early, at offset 2"),
        ("oid", "0602802a", OID),
        ("oid", "06032a8001", OID),
        ("oid", "06022a81", "an object identifier ends early, at offset 2"),
        ("oid", "060181", "an object identifier ends early, at offset 2"),
        ("bits", "0300", "a string of bits has unused bits, or none at all, at offset 2"),
        ("bits", "03020140", "a string of bits has unused bits, or none at all, at offset 2"),
        ("bits", "0302ff41", "a string of bits has unused bits, or none at all, at offset 2"),
        ("named_bits", "0300", BITS),
        ("named_bits", "030101", BITS),
        ("named_bits", "03020206", BITS),
        ("named_bits", "03020880", BITS),
        ("named_bits", "03020000", BITS),
        ("named_bits", "0303000100", BITS),
        ("named_bits", "0303080100", BITS),
        ("text", "0402434e", "a text is expected, at offset 0"),
        ("text", "130180", "a text is not ASCII, at offset 2"),
        ("text", "160180", "a text is not ASCII, at offset 2"),
        ("text", "0c01ff", "a text is not UTF-8, at offset 2"),
        ("text", "", "a text is expected, at offset 0"),
        ("time", "170d3235303731373137303434362b", NO_TIME),
        ("time", "170d3235313331373137303434365a", "there is no such time, at offset 2"),
        ("time", "170d32353037313731373034343a5a", NO_TIME),
        ("time", "170b323530373137313730345a", NO_TIME),
        ("time", "170f32303235303731373137303434365a", NO_TIME),
        ("time", "180d3235303731373137303434365a", NO_TIME),
        ("time", "0202007f", "a time is expected, at offset 0"),
        ("time", "18173230323530373137313730343436302e3530303030305a", NO_TIME),
        # Lengths: indefinite, in more bytes than it takes, longer than what is there, of five bytes.
        ("element", "3080", LENGTH),
        ("element", "30800000", LENGTH),
        ("element", "3080" + "00" * 128, LENGTH),
        ("element", "3081", LENGTH),
        ("element", "3082", LENGTH),
        ("element", "308201", LENGTH),
        ("element", "308500000001ff", LENGTH),
        ("element", "30850100000000" + "00" * 10, LENGTH),
        ("element", "308100", LONG),
        ("element", "30817f" + "00" * 127, LONG),
        ("element", "30820080" + "00" * 128, LONG),
        ("element", "3084000001ff" + "00" * 511, LONG),
        ("element", "3001", BEYOND),
        ("element", "308180" + "00" * 127, BEYOND),
        ("element", "308401000000", BEYOND),
    ],
)
def test_any_other_encoding_is_refused(what: str, text: str, reason: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read(what, text)
    assert str(caught.value) == f"it: {reason}"


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


@example(126)
@example(127)
@example(128)
@example(255)
@example(256)
@example(65535)
@example(65536)
@given(st.integers(0, 70000))
def test_lengths_are_read_in_their_shortest_form_alone(size: int) -> None:
    body = bytes(size)
    count = (size.bit_length() + 7) // 8
    short = bytes([size]) if size < 0x80 else bytes([0x80 | count]) + size.to_bytes(count, "big")
    long = bytes([0x80 | count + 1]) + size.to_bytes(count + 1, "big")
    assert Reader(b"\x04" + short + body, "it").contents(4) == body
    with pytest.raises(SevbuildError, match="shortest form"):
        Reader(b"\x04" + long + body, "it").contents(4)

"""The certificate table beside a report: a real one, and every way in which one is none."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.certificate import certificates_in, common_name
from sevbuild.attest.certificate_table import CERTIFICATE_GUIDS, decode_table, table_notes
from sevbuild.errors import SevbuildError
from tests.support.shared import needs_vectors, shared_file

GUIDS = {name: guid for guid, name in CERTIFICATE_GUIDS.items()}
PLATFORM = "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6"


def entry(guid: str, offset: int, size: int) -> bytes:
    return bytes.fromhex(guid.replace("-", "")) + pack("<II", offset, size)


def table(*parts: tuple[str, bytes], end: bytes = bytes(24)) -> bytes:
    """Return a table of entries by GUID, their bytes one behind the other."""
    at, head = 24 * len(parts) + len(end), b""
    for guid, data in parts:
        head += entry(guid, at, len(data))
        at += len(data)
    return head + end + b"".join(data for _guid, data in parts)


@needs_vectors
def test_the_one_real_table_is_read() -> None:
    document = json.loads(shared_file("publish/veraison/sevsnp-tsm-report.json").read_text())
    data = urlsafe_b64decode(document["auxblob"] + "==")
    found = decode_table(data, "auxblob")
    assert [given.source for given in found] == ["auxblob: ARK", "auxblob: ASK", "auxblob: VCEK"]
    names = [common_name(certificates_in(given.data, given.source)[0].subject) for given in found]
    assert names == ["ARK-Genoa", "SEV-Genoa", "SEV-VCEK"]
    assert table_notes(data, "auxblob") == ()


def test_entries_keep_their_order_and_what_is_none_is_noted() -> None:
    unknown = "00112233-4455-6677-8899-aabbccddeeff"
    data = table((GUIDS["VLEK"], b"one"), (PLATFORM, b"more"), (unknown, b"x"), (GUIDS["ARK"], b"two"))
    # A host pads to whole pages.
    found = decode_table(data + bytes(100), "table")
    assert [(given.source, given.data) for given in found] == [
        ("table: VLEK", b"one"),
        ("table: ARK", b"two"),
    ]
    assert table_notes(data, "table") == (
        f"table: entry {PLATFORM}, 4 bytes: more of the platform, not read",
        f"table: entry {unknown}, 1 bytes: of no kind that is known",
    )
    assert decode_table(bytes(24), "table") == ()


def test_64_entries_are_the_most() -> None:
    several = [(f"{at:08x}-0000-0000-0000-000000000001", b"x") for at in range(65)]
    assert len(table_notes(table(*several[:64]), "table")) == 64
    with pytest.raises(SevbuildError, match="more than 64 entries"):
        decode_table(table(*several), "table")


def test_a_guid_in_a_firmwares_order_is_not_known() -> None:
    # Mixed-endian, as some hosts wrote it (google/go-sev-guest#157).
    swapped = "8d75da63-64e6-6445-adc5-f4b93be8accd"
    assert decode_table(table((swapped, b"x")), "table") == ()
    assert "of no kind that is known" in table_notes(table((swapped, b"x")), "table")[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "has no end"),
        (bytes(23), "has no end"),
        (entry(GUIDS["ARK"], 24, 1) + b"x", "has no end"),
        (table((GUIDS["ARK"], b"x"), end=bytes(16) + b"\x01" + bytes(7)), "that ends the certificate table"),
        (table((GUIDS["ARK"], b"x"), (GUIDS["ARK"], b"y")), "two entries are c0b406a4"),
        (table((PLATFORM, b"x"), (PLATFORM, b"y")), "two entries are ecae0c0f"),
        (table((GUIDS["ARK"], b"")), r"\(ARK\) is 0 bytes at offset 48"),
        (entry(GUIDS["ARK"], 47, 1) + bytes(24), "is 1 bytes at offset 47"),
        (entry(GUIDS["ARK"], 0, 24) + bytes(24), "is 24 bytes at offset 0"),
        (entry(GUIDS["ARK"], 48, 2) + bytes(25), "where 49 bytes are there and the entries end at 48"),
        (entry(GUIDS["ARK"], 0xFFFFFFFF, 0xFFFFFFFF) + bytes(24), "is 4294967295 bytes"),
        (b"".join(entry(f"{at:08x}-0000-0000-0000-000000000001", 9, 9) for at in range(70)), "more than 64"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, reason: str) -> None:
    for read in (decode_table, table_notes):
        with pytest.raises(SevbuildError, match=reason):
            read(data, "table")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(data: bytes) -> None:
    with suppress(SevbuildError):
        assert all(given.data in data for given in decode_table(data, "table"))


@given(st.permutations(sorted(GUIDS)), st.lists(st.binary(min_size=1, max_size=40), min_size=4, max_size=4))
def test_a_table_gives_back_what_it_was_made_of(names: list[str], parts: list[bytes]) -> None:
    data = table(*((GUIDS[name], part) for name, part in zip(names, parts, strict=True)))
    assert [(found.source, found.data) for found in decode_table(data, "table")] == [
        (f"table: {name}", part) for name, part in zip(names, parts, strict=True)
    ]

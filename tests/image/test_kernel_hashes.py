"""The kernel-hashes table, byte for byte."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.image.kernel_hashes import (
    EMPTY_INITRD_DIGEST,
    KernelHashes,
    cmdline_digest,
    hash_page,
    hash_table,
    read_hash_table,
)

HASHES = KernelHashes(kernel=b"k" * 32, initrd=b"i" * 32, cmdline=b"c" * 32)


def test_the_table_has_three_entries_in_qemus_order() -> None:
    table = hash_table(HASHES)
    assert len(table) == 176
    assert table[:16] == UUID("9438d606-4f22-4cc9-b479-a793d411fd21").bytes_le
    assert int.from_bytes(table[16:18], "little") == 168
    for index, (guid, digest) in enumerate(
        [
            ("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", b"c" * 32),
            ("44baf731-3a2f-4bd7-9af1-41e29169781d", b"i" * 32),
            ("4de79437-abd2-427f-b835-d5b172d2045b", b"k" * 32),
        ]
    ):
        entry = table[18 + 50 * index : 68 + 50 * index]
        assert entry == UUID(guid).bytes_le + b"\x32\0" + digest
    assert table[168:] == bytes(8)


@pytest.mark.parametrize("gpa", [0x810000, 0x810C00, 0x810000 + 4096 - 176])
def test_the_page_has_the_table_at_its_offset(gpa: int) -> None:
    page = hash_page(HASHES, gpa)
    offset = gpa & 0xFFF
    assert len(page) == 4096
    assert page[offset : offset + 176] == hash_table(HASHES)
    assert not any(page[:offset] + page[offset + 176 :])


@pytest.mark.parametrize("gpa", [0x810000, 0x810C00, 0x810000 + 4096 - 176])
def test_a_table_is_found_where_it_lies(gpa: int) -> None:
    page = hash_page(HASHES, gpa)
    assert read_hash_table(page) == HASHES
    assert read_hash_table(hash_table(HASHES)) == HASHES
    offset = gpa & 0xFFF
    # Nothing of a table that is cut, or has another entry in the place of one.
    assert read_hash_table(page[: offset + 167]) is None
    assert read_hash_table(bytes(4096)) is None
    for place in (0, 18, 68, 118):
        bent = bytearray(page)
        bent[offset + place] ^= 1
        assert read_hash_table(bytes(bent)) is None


def test_the_table_does_not_cross_its_page() -> None:
    with pytest.raises(SevbuildError, match="cross the end of its page"):
        hash_page(HASHES, 0x810000 + 4096 - 175)


def test_a_command_line_is_hashed_with_its_nul() -> None:
    assert cmdline_digest(b"") == sha256(b"\0").digest()
    assert cmdline_digest(b"quiet ") == sha256(b"quiet \0").digest()
    assert sha256().digest() == EMPTY_INITRD_DIGEST


def test_a_table_may_end_with_its_page() -> None:
    hashes = KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32)
    assert hash_page(hashes, 0x810F50) == bytes(0xF50) + hash_table(hashes)
    with pytest.raises(SevbuildError, match="cross the end of its page"):
        hash_page(hashes, 0x810F51)

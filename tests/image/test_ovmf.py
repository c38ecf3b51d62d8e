"""The firmware parser: right on what is valid, an error on what is not, never anything else."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.image.guid import GUID_NAMES, format_guid, parse_guid
from sevbuild.image.ovmf import (
    Area,
    FooterEntry,
    Metadata,
    Section,
    check_sections,
    parse_firmware,
    section_kind_name,
)
from tests.support.firmware import (
    FOOTER,
    HASHES,
    METADATA,
    RESET,
    SVSM,
    TABLE_END,
    footer_table,
    make_firmware,
    section_tables,
    sev_metadata,
    table_entry,
    words,
)
from tests.support.shared import shared_file

SECTIONS = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]


def _with_table(table: bytes, size: int = 0x2000) -> bytes:
    return bytes(size - TABLE_END - len(table)) + table + bytes(TABLE_END)


def test_everything_a_launch_needs_is_read() -> None:
    image = make_firmware(
        sections=SECTIONS,
        reset=0x80B004,
        hash_table=(0x810C00, 0x400),
        secret=(0x810800, 0x400),
        svsm_entry=0x40,
    )
    firmware = parse_firmware(image)
    assert firmware.gpa == 0xFFFF0000
    assert firmware.metadata == Metadata(
        sections=tuple(Section(*section) for section in SECTIONS),
        reset=0x80B004,
        hash_table=Area(0x810C00, 0x400),
        secret=Area(0x810800, 0x400),
        svsm_entry=0x40,
    )
    # From the footer downward, so the last written comes first.
    assert firmware.entries[0].guid == METADATA
    for entry in firmware.entries:
        assert image[entry.offset : entry.offset + len(entry.data)] == entry.data


@settings(max_examples=100, deadline=None)
@given(
    sections=section_tables(),
    reset=st.none() | st.integers(0, 0xFFFFFFFF),
    area=st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 2),
)
def test_what_was_written_is_read(
    sections: list[tuple[int, int, int]], reset: int | None, area: tuple[int, int]
) -> None:
    firmware = parse_firmware(make_firmware(sections=sections, reset=reset, hash_table=area))
    assert firmware.metadata == Metadata(tuple(Section(*entry) for entry in sections), reset, Area(*area))
    assert check_sections(firmware.metadata.sections or ()) is None


@pytest.mark.parametrize("size", [0, 1, 4095, 4097])
def test_a_firmware_is_whole_pages(size: int) -> None:
    with pytest.raises(SevbuildError, match="not a positive multiple of 4096"):
        parse_firmware(bytes(size))


def test_a_disk_image_is_no_firmware() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 1 << 30

    with pytest.raises(SevbuildError, match="the limit is"):
        parse_firmware(Huge())


def test_an_image_without_a_table_has_nothing_to_say() -> None:
    firmware = parse_firmware(bytes(4096))
    assert (firmware.metadata, firmware.entries) == (Metadata(None, None, None), ())


def test_a_lone_reset_block_is_found_where_the_footer_would_be() -> None:
    firmware = parse_firmware(_with_table(table_entry(RESET, words(0x80B004))))
    assert firmware.metadata == Metadata(None, 0x80B004, None)
    with pytest.raises(SevbuildError, match="the lone SEV-ES reset block has 26 bytes"):
        parse_firmware(_with_table(table_entry(RESET, bytes(8))))


def test_of_two_entries_the_one_nearer_the_footer_counts() -> None:
    firmware = parse_firmware(make_firmware(reset=0x2000, extra_entries=[(RESET, words(0x1000))]))
    assert firmware.metadata.reset == 0x2000
    assert [entry.data for entry in firmware.entries] == [words(0x2000), words(0x1000)]


def _footer(size: int) -> bytes:
    return size.to_bytes(2, "little") + parse_guid(FOOTER)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (_with_table(_footer(17)), "says it has 17 bytes"),
        (_with_table(_footer(0)), "says it has 0 bytes"),
        (_with_table(_footer(0xFFFF)), "says it has 65535 bytes"),
        (_with_table(bytes(5) + _footer(23)), "5 bytes left over"),
        (
            _with_table(
                table_entry(RESET, words(1))[:-18]
                + (99).to_bytes(2, "little")
                + parse_guid(RESET)
                + _footer(40)
            ),
            "says it has 99 bytes",
        ),
        (
            _with_table(bytes(4) + (3).to_bytes(2, "little") + parse_guid(RESET) + _footer(40)),
            "says it has 3 bytes",
        ),
        (_with_table(footer_table([(RESET, b"\1")])), "has 1 bytes of data, not 4"),
        (_with_table(footer_table([(METADATA, words(0x3000))])), "outside of the image"),
        (_with_table(footer_table([(METADATA, words(8))])), "outside of the image"),
        (_with_table(footer_table([(METADATA, words(0x1000))])), "no SEV metadata at offset 0x1000"),
    ],
)
def test_lengths_that_cannot_be(image: bytes, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        parse_firmware(image)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"ASEV" + words(28, 2, 1), "version 2"),
        (b"ASEV" + words(28, 0, 1), "version 0"),
        (b"ASEV" + words(27, 1, 1), "1 sections in 27 bytes"),
        (b"ASEV" + words(28, 1, 0xFFFFFFFF), "4294967295 sections in 28 bytes"),
        (b"ASEV" + words(28, 1, 2), "2 sections in 28 bytes"),
        (b"ASEV" + words(0xFFFFFFFF, 1, 0x1000), "4096 sections"),
        (b"VESA" + words(28, 1, 1), "signature b'VESA'"),
    ],
)
def test_metadata_that_cannot_be(header: bytes, message: str) -> None:
    table = footer_table([(METADATA, words(0x1000))])
    image = bytearray(_with_table(table))
    image[0x1000 : 0x1000 + len(header)] = header
    with pytest.raises(SevbuildError, match=message):
        parse_firmware(bytes(image))


@settings(max_examples=400, deadline=None)
@given(tail=st.binary(max_size=200), size=st.integers(0, 3))
def test_random_bytes_give_a_firmware_or_an_error(tail: bytes, size: int) -> None:
    image = (bytes(0x1000 * size) + tail)[-0x1000 * size :] if size else tail
    for candidate in (image, _with_table(tail + _footer(len(tail) + 18)), _with_table(_footer(len(tail)))):
        with suppress(SevbuildError):
            assert parse_firmware(candidate).data == candidate


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_gives_a_firmware_or_an_error(data: st.DataObject) -> None:
    image = bytearray(make_firmware(size=0x2000, sections=SECTIONS, hash_table=(0x810C00, 0x400)))
    tail = len(image) - 1400
    for _ in range(data.draw(st.integers(1, 6))):
        image[data.draw(st.integers(tail, len(image) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0x1000]))
    with suppress(SevbuildError):
        assert len(parse_firmware(bytes(image[cut:])).data) == len(image) - cut


def test_a_large_firmware_is_parsed_at_once() -> None:
    image = make_firmware(size=8 << 20, sections=SECTIONS)
    start = time.process_time()
    parse_firmware(image)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ([], None),
        ([(0, 0x1000, 1), (0x1000, 0x1000, 2)], None),
        ([(0x1000, 0x1000, 1), (0, 0x1000, 2)], None),
        ([(0xFFFFF000, 0x1000, 1)], None),
        ([(0x10, 0x1000, 1)], "section 0 .* not made of whole pages"),
        ([(0, 0x1000, 1), (0x2000, 0x10, 1)], "section 1 .* not made of whole pages"),
        ([(0, 0, 1)], "section 0 at 0x0 is empty"),
        ([(0xFFFFF000, 0x2000, 1)], "beyond 4 GiB"),
        ([(0x2000, 0x1000, 1), (0, 0x3000, 2)], "sections 0 and 1 overlap at 0x2000"),
    ],
)
def test_sections_that_no_host_can_launch(sections: list[tuple[int, int, int]], reason: str | None) -> None:
    found = check_sections([Section(*section) for section in sections])
    if reason is None:
        assert found is None
    else:
        with pytest.raises(SevbuildError, match=reason):
            raise SevbuildError(found or "")


def test_every_kind_of_section_has_a_name() -> None:
    assert [section_kind_name(kind) for kind in (1, 2, 3, 4, 0x10, 5)] == [
        "snp-sec-mem",
        "snp-secrets",
        "cpuid",
        "svsm-caa",
        "kernel-hashes",
        "0x5",
    ]


@given(st.binary(min_size=16, max_size=16))
def test_guids_round_trip(raw: bytes) -> None:
    assert parse_guid(format_guid(raw)) == raw


def test_guids_are_mixed_endian() -> None:
    assert parse_guid(SVSM).hex() == "12a689a79705" + "4b4c" + "a49f" + "cbb1fe9d1ddd"
    assert all(format_guid(parse_guid(guid)) == guid for guid in GUID_NAMES)
    for text in ("", "zz", "a789a612-0597-4c4b-a49f-cbb1fe9d1dd", "g789a612-0597-4c4b-a49f-cbb1fe9d1ddd"):
        with pytest.raises(SevbuildError, match="not a GUID"):
            parse_guid(text)


LAYOUTS: dict[str, dict[str, Any]] = {
    "AmdSev_suffix.bin": {"reset": 0x80B004, "hash_table": Area(0x810C00, 0x400), "count": 7},
    "OvmfX64_suffix.bin": {"reset": 0x80B004, "hash_table": None, "count": 6},
    "AmdSev_suffix_2024.bin": {"reset": 0x80B004, "hash_table": Area(0x80FC00, 0x400), "count": 6},
}
"""Read with other tools from virtee/sev-snp-measure's fixtures."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_tables_of_real_firmware_are_read(name: str) -> None:
    metadata = parse_firmware(shared_file(f"firmware/{name}").read_bytes()).metadata
    layout = LAYOUTS[name]
    assert metadata.reset == layout["reset"]
    area = metadata.hash_table
    assert area == layout["hash_table"] or (
        layout["hash_table"] is None and area is not None and area.base == 0
    )
    assert len(metadata.sections or ()) == layout["count"]
    assert check_sections(metadata.sections or ()) is None


def test_entries_are_plain_tuples() -> None:
    (entry,) = parse_firmware(make_firmware()).entries
    assert entry == FooterEntry(RESET, entry.offset, words(0x80B004))
    assert sev_metadata([])[:4] == b"ASEV"


def test_a_firmware_may_be_as_large_as_the_limit() -> None:
    assert parse_firmware(bytes(256 << 20)).metadata == Metadata(None, None, None)
    with pytest.raises(SevbuildError, match="the limit is 268435456 bytes"):
        parse_firmware(bytes((256 << 20) + 4096))


UNKNOWN = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("image", "sizes"),
    [
        (_with_table(_footer(18)), []),
        (_with_table(footer_table([(UNKNOWN, b"")])), [0]),
        (_with_table(footer_table([(UNKNOWN, b""), (UNKNOWN, b"x")])), [1, 0]),
        # The table fills the image up to its first byte.
        (_with_table(footer_table([(UNKNOWN, bytes(0x1000 - TABLE_END - 36))]), 0x1000), [0x1000 - TABLE_END - 36]),
    ],
)  # fmt: skip
def test_tables_as_short_and_as_long_as_can_be(image: bytes, sizes: list[int]) -> None:
    assert [len(entry.data) for entry in parse_firmware(image).entries] == sizes


@pytest.mark.parametrize("size", [0, 4, 7])
def test_an_area_is_two_numbers(size: int) -> None:
    with pytest.raises(SevbuildError, match=f"has {size} bytes of data, not 8"):
        parse_firmware(_with_table(footer_table([(HASHES, bytes(size))])))
    assert parse_firmware(_with_table(footer_table([(HASHES, words(1, 2, 3))]))).metadata.hash_table == (1, 2)


def _with_metadata(metadata: bytes, offset: int, size: int = 0x2000) -> bytes:
    """Return an image with SEV metadata `offset` bytes before its end, which it says."""
    image = bytearray(_with_table(footer_table([(METADATA, words(offset))]), size))
    image[size - offset : size - offset + len(metadata)] = metadata
    return bytes(image)


@pytest.mark.parametrize(
    ("offset", "count"),
    [(16, 0), (28, 1), (0x2000, 1), (0x1000, 100)],
)
def test_metadata_from_the_first_byte_to_the_last(offset: int, count: int) -> None:
    sections = [(index << 12, 0x1000, 1) for index in range(count)]
    found = parse_firmware(_with_metadata(sev_metadata(sections), offset)).metadata.sections
    assert found == tuple(Section(*section) for section in sections)


def test_metadata_has_a_number_of_sections_that_is_bounded() -> None:
    sections = [(index << 12, 0x1000, 1) for index in range(4097)]
    image = _with_metadata(sev_metadata(sections[:4096]), 0xFF00, 0x10000)
    assert len(parse_firmware(image).metadata.sections or ()) == 4096
    with pytest.raises(SevbuildError, match="says it has 4097 sections in 49180 bytes"):
        parse_firmware(_with_metadata(sev_metadata(sections), 0xFF00, 0x10000))


def test_metadata_ends_within_the_image() -> None:
    header = b"ASEV" + words(0xFFFF, 1, 1)
    assert len(parse_firmware(_with_metadata(header, 28)).metadata.sections or ()) == 1
    with pytest.raises(SevbuildError, match="says it has 1 sections in 65535 bytes"):
        parse_firmware(_with_metadata(header, 27))


def test_a_hint_says_what_an_image_of_another_kind_is() -> None:
    for data, hint in ((b"\x7fELF" + bytes(100), "it is "), (bytes(100), "in pages of 4096 bytes")):
        with pytest.raises(SevbuildError) as caught:
            parse_firmware(data)
        assert hint in (caught.value.hint or "")


def test_a_lone_reset_block_lies_where_its_entry_says() -> None:
    image = _with_table(table_entry(RESET, words(0x80B004)))
    (entry,) = parse_firmware(image).entries
    assert (entry.guid, entry.data) == (RESET, words(0x80B004))
    assert image[entry.offset : entry.offset + 4] == entry.data


def test_a_table_or_metadata_that_begins_a_byte_before_the_image() -> None:
    for size in (0x2000 - TABLE_END + 1, 0x2000):
        with pytest.raises(SevbuildError, match=f"says it has {size} bytes"):
            parse_firmware(_with_table(_footer(size)))
    with pytest.raises(SevbuildError, match="outside of the image"):
        parse_firmware(_with_table(footer_table([(METADATA, words(0x2001))])))

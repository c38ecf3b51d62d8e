"""Unified kernel images, read through LIEF and never trusted."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.image.uki import HEAD_SIZE, UkiParts, cmdline_of, read_uki
from tests.support.pe import make_uki

LINUX, INITRD, CMDLINE = b"MZ kernel" * 200, b"initrd" * 5000, b"console=ttyS0 quiet"
SECTIONS = [
    (".osrel", b"ID=x"),
    (".cmdline", CMDLINE),
    (".uname", b"6.1"),
    (".initrd", INITRD),
    (".linux", LINUX),
]


def read(sections: list[tuple[str, bytes]], **more: int) -> UkiParts:
    """Return the parts of an image, given no more of it than its head."""
    image = make_uki(sections, **more)
    return read_uki(image[:HEAD_SIZE], len(image))


def test_parts_are_found_at_their_true_length() -> None:
    image = make_uki(SECTIONS)
    parts = read_uki(image[:HEAD_SIZE], len(image))
    for part, data in ((parts.linux, LINUX), (parts.initrd, INITRD), (parts.cmdline, CMDLINE)):
        assert part is not None
        assert image[part.offset : part.offset + part.size] == data
    assert parts.others == (".osrel", ".uname")


def test_contents_need_not_be_in_the_head() -> None:
    image = make_uki([*SECTIONS[:3], (".initrd", bytes(1 << 20)), SECTIONS[4]])
    parts = read_uki(image[:1024], len(image))
    assert image[parts.linux.offset : parts.linux.offset + parts.linux.size] == LINUX


def test_a_kernel_alone_will_do() -> None:
    parts = read([(".linux", LINUX)])
    assert (parts.initrd, parts.cmdline, parts.others) == (None, None, ())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([(".text", b"x")], "without a .linux section is not a UKI"),
        ([(".linux", b"")], "the .linux section of the UKI is empty"),
        ([*SECTIONS, (".linux", b"x")], "has 2 .linux sections"),
        ([*SECTIONS, (".cmdline", b"x")], "has 2 .cmdline sections"),
        ([*SECTIONS, (".profile", b"x")], "has .profile sections"),
        ([(".linux", b"x"), (".cmdline", bytes((1 << 20) + 1))], "the limit is 1048576 bytes"),
    ],
)
def test_images_that_are_no_uki(sections: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(SevbuildError, match=message) as caught:
        read(sections)
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"MZ", b"\x7fELF" + bytes(100), bytes(4096), b"MZ" + bytes(4096)])
def test_files_that_are_no_pe(data: bytes) -> None:
    with pytest.raises(SevbuildError, match="not a PE image"):
        read_uki(data, len(data))


def _patched(field: int, value: int) -> bytes:
    """Return an image whose .linux section header has a 32-bit field changed."""
    image = bytearray(make_uki([(".linux", LINUX)]))
    at = image.index(b".linux\0\0") + field
    image[at : at + 4] = value.to_bytes(4, "little")
    return bytes(image)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (8, 0x10000, "of which 2048 are stored"),
        (8, 0, "declares none"),
        (20, 0, "no place in the file"),
        (20, 0x10000, "past the end of the file"),
    ],
)
def test_sections_that_cannot_be(field: int, value: int, message: str) -> None:
    image = _patched(field, value)
    with pytest.raises(SevbuildError, match=message):
        read_uki(image, len(image))


def test_a_head_that_ends_in_the_section_table() -> None:
    image = make_uki([(f".s{index}", b"x") for index in range(30)])
    with pytest.raises(SevbuildError):
        read_uki(image[:800], len(image))


def test_a_command_line_ends_before_its_padding() -> None:
    assert cmdline_of(b"quiet \n\0\0\0") == b"quiet \n"
    assert cmdline_of(b"") == b""
    with pytest.raises(SevbuildError, match="contains a NUL"):
        cmdline_of(b"a\0b\0")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_escapes(data: st.DataObject) -> None:
    image = bytearray(make_uki(SECTIONS)[:2048])
    for _ in range(data.draw(st.integers(1, 10))):
        image[data.draw(st.integers(0, 700))] = data.draw(st.integers(0, 255))
    with suppress(SevbuildError):
        assert read_uki(bytes(image[: data.draw(st.integers(0, 2048))]), 1 << 20).linux.size > 0


def test_a_section_may_be_full_and_the_file_end_with_it() -> None:
    image = _patched(8, 2048)
    part = read_uki(image, len(image)).linux
    assert part.size == 2048
    assert read_uki(image, part.offset + part.size).linux == part
    with pytest.raises(SevbuildError, match="past the end of the file"):
        read_uki(image, part.offset + part.size - 1)
    with pytest.raises(SevbuildError, match="of which 2048 are stored"):
        read_uki(_patched(8, 2049), len(image))


def test_parts_may_be_as_small_and_as_large_as_can_be() -> None:
    parts = read([(".linux", b"x"), (".initrd", b""), (".cmdline", bytes(1 << 20))])
    assert (parts.linux.size, parts.cmdline and parts.cmdline.size) == (1, 1 << 20)
    assert parts.initrd is not None
    assert parts.initrd.size == 0

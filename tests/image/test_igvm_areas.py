"""The table of areas for an IGVM loader's parameters."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.image.igvm_areas import IGVM_GUID, IgvmArea, read_igvm_areas
from sevbuild.image.lint import describe_firmware, lint_firmware
from sevbuild.image.ovmf import Firmware, parse_firmware
from tests.support.cli import run
from tests.support.firmware import make_firmware, words
from tests.support.real import newest_file

AREAS = [(0x812000, 0x1000, 0x100), (0, 0xC0, 0x101), (0xC0, 0x10, 0x102), (0x813000, 0x1000, 0x200)]
"""What edk2-stable202608 lists for AmdSev."""


def _firmware(table: bytes, *, offset: bytes = words(0x1000)) -> Firmware:
    image = make_firmware(size=0x2000, extra_entries=[(IGVM_GUID, offset)])
    return parse_firmware(image[:0x1000] + table + image[0x1000 + len(table) :])


def _table(*areas: tuple[int, int, int], version: int = 1, length: int | None = None) -> bytes:
    size = 16 + 12 * len(areas) if length is None else length
    return b"IGVM" + words(size, version, len(areas)) + b"".join(words(*area) for area in areas)


def test_the_areas_are_read_and_shown() -> None:
    firmware = _firmware(_table(*AREAS, (1, 2, 3)))
    assert read_igvm_areas(firmware) == tuple(IgvmArea(*area) for area in (*AREAS, (1, 2, 3)))
    shown = describe_firmware(firmware)["igvm_areas"]
    assert shown[0] == {"kind": "parameters", "base": "0x812000", "size": "0x1000"}
    assert [area["kind"] for area in shown] == ["parameters", "memory-map", "vp-count", "hobs", "0x3"]


def test_a_firmware_without_them_has_none() -> None:
    assert read_igvm_areas(parse_firmware(make_firmware())) == ()


@pytest.mark.parametrize(
    ("table", "offset", "message"),
    [
        (b"", words(0x3000), "0x3000 bytes before the end"),
        (b"", words(4), "0x4 bytes before the end"),
        (b"", b"\1\0", "0x1 bytes before the end"),
        (b"TDVF", words(0x1000), "no IGVM metadata of version 1 at offset 0x1000"),
        (b"", words(0x2001), "0x2001 bytes before the end"),
        (_table(*AREAS), words(0x01001000), "0x1001000 bytes before the end"),
        (_table(*AREAS), b"\0\x10\0", "0x1000 bytes before the end"),
        (_table(*AREAS, version=2), words(0x1000), "no IGVM metadata of version 1"),
        (_table(*AREAS, version=0), words(0x1000), "no IGVM metadata of version 1"),
        (_table(*AREAS, length=63), words(0x1000), "says it has 4 areas in 63 bytes"),
        (_table(*[(0, 1, 1)] * 257), words(0x1000), "says it has 257 areas in 3100 bytes"),
        (_table(*AREAS, length=20), words(0x1000), "says it has 4 areas in 20 bytes"),
        (b"IGVM" + words(0xFFFFFFFF, 1, 0xFFFFFFFF), words(0x1000), "says it has 4294967295 areas"),
        (b"IGVM" + words(0xFFFF, 1, 256), words(16), "no IGVM metadata"),
    ],
)
def test_what_does_not_add_up_is_said(table: bytes, offset: bytes, message: str) -> None:
    firmware = _firmware(table, offset=offset)
    with pytest.raises(SevbuildError, match=message):
        read_igvm_areas(firmware)
    assert [f.level for f in lint_firmware(firmware, verifier=None) if f.topic == "igvm"] == ["warning"]
    assert describe_firmware(firmware)["igvm_areas"] == []


@given(st.binary(max_size=200), st.integers(0, 0xFFFFFFFF))
def test_any_bytes_give_areas_or_an_error(table: bytes, offset: int) -> None:
    with suppress(SevbuildError):
        assert isinstance(read_igvm_areas(_firmware(table, offset=words(offset))), tuple)


def test_debians_amdsev_build_lists_them() -> None:
    path = newest_file("usr/share/ovmf/OVMF.amdsev.fd")
    assert [area["base"] for area in json.loads(run("inspect", path, "-f", "json").out)["igvm_areas"]] == [
        "0x812000",
        "0x0",
        "0xc0",
        "0x813000",
    ]
    assert "IGVM areas" in run("inspect", path).out


def _placed(table: bytes, offset: int) -> Firmware:
    """Return a firmware with the table `offset` bytes before its end, which it says in five bytes."""
    image = bytearray(make_firmware(size=0x2000, extra_entries=[(IGVM_GUID, words(offset) + b"x")]))
    image[0x2000 - offset : 0x2000 - offset + len(table)] = table
    return parse_firmware(bytes(image))


@pytest.mark.parametrize(("offset", "count"), [(16, 0), (28, 1), (0x2000, 1), (0x1000, 256)])
def test_the_table_may_lie_anywhere(offset: int, count: int) -> None:
    areas = [(index, 1, 0x100) for index in range(count)]
    assert read_igvm_areas(_placed(_table(*areas), offset)) == tuple(IgvmArea(*area) for area in areas)


def test_the_table_ends_within_the_image() -> None:
    header = b"IGVM" + words(0xFFFF, 1, 1)
    assert len(read_igvm_areas(_placed(header, 28))) == 1
    with pytest.raises(SevbuildError, match="1 areas in 65535 bytes"):
        read_igvm_areas(_placed(header, 27))

"""An SVSM's place and entry."""

from __future__ import annotations

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.image.svsm import place_svsm
from tests.support.firmware import make_firmware

SECTIONS = [(0x0, 0x9E000, 1), (0x9E000, 0x1000, 2), (0x9F000, 0x1000, 3)]
IMAGE = make_firmware(size=0x3000, sections=SECTIONS, reset=None, svsm_entry=0x40)


def test_it_ends_below_the_variable_store() -> None:
    svsm = place_svsm(IMAGE, firmware_gpa=0xFFC84000, vars_size=0x84000)
    assert svsm.gpa == 0xFFC84000 - 0x84000 - 0x3000
    assert svsm.entry == svsm.gpa + 0x40
    assert [tuple(section) for section in svsm.sections] == SECTIONS
    assert svsm.data == IMAGE


@pytest.mark.parametrize(
    ("image", "vars_size", "message"),
    [
        (make_firmware(size=0x3000, sections=SECTIONS, reset=None), 0, "no entry point"),
        (make_firmware(size=0x3000, reset=None, svsm_entry=0x40), 0, "no entry point or no SEV metadata"),
        (make_firmware(size=0x3000, sections=SECTIONS, svsm_entry=0x3000), 0, "outside of it"),
        (IMAGE, 0x123, "cannot be placed 0x123 bytes below"),
        (IMAGE, 0xFFFFF000, "cannot be placed"),
        (b"", 0, "not a firmware image"),
    ],
)
def test_what_cannot_be_placed(image: bytes, vars_size: int, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        place_svsm(image, firmware_gpa=0xFFC84000, vars_size=vars_size)


def test_it_may_lie_at_the_bottom_and_start_at_its_last_byte() -> None:
    assert place_svsm(IMAGE, firmware_gpa=0x4000, vars_size=0x1000).gpa == 0
    last = make_firmware(size=0x3000, sections=SECTIONS, svsm_entry=0x2FFF)
    assert place_svsm(last, firmware_gpa=0x4000, vars_size=0).entry == 0x3FFF
    for gpa in (0x2FFF, 0x2000):
        with pytest.raises(SevbuildError, match="cannot be placed"):
            place_svsm(IMAGE, firmware_gpa=gpa, vars_size=0)

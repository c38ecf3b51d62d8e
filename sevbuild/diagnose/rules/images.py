"""Rules of the firmware's image and of where an SVSM lies below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.rules.applying import on_laid_out
from sevbuild.diagnose.rules.weights import FIRMWARE, SVSM
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.errors import SevbuildError
from sevbuild.image.guid import format_guid
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Firmware, parse_firmware

__all__ = ["code_of", "image_changes", "with_firmware"]

_PAGE = 4096
_CODE = "github.com/virtee/sev-snp-measure issue 37: OVMF_CODE.fd is launched where OVMF.fd was measured"
_NVRAM = "fff12b8d-7696-4c8b-a985-2747075b4f50"
"""The file system of the volume that holds variables (UEFI PI vol. 3; edk2 MdeModulePkg)."""

_STORES = (
    (0x84000, "the variable store of a 4 MiB OVMF"),
    (0x20000, "the variable store of a 2 MiB OVMF"),
    (0, "no variable store"),
)
_STORE = "virtee/sev-snp-measure v0.0.8 guest.py: the SVSM ends where OVMF_VARS.fd begins"


def code_of(data: bytes) -> bytes | None:
    """Return what of a whole flash image is code: all but the volume of variables at its start.

    None for what does not begin with one (UEFI PI vol. 3, 3.2.1: EFI_FIRMWARE_VOLUME_HEADER).
    """
    if data[0x28:0x2C] != b"_FVH" or format_guid(data[16:32]) != _NVRAM:
        return None
    size = int.from_bytes(data[0x20:0x28], "little")
    if size % _PAGE or not 0 < size < len(data):
        return None
    return data[size:]


def image_changes(start: Start) -> Iterator[Change]:
    """Yield the change to the code of a whole flash image, and those of the place of an SVSM."""
    setup = start.setup
    if not isinstance(setup, LaidOut):
        return
    firmware, svsm, _ = setup.inputs
    code = code_of(firmware.data) if isinstance(firmware, Firmware) else None
    if code is not None:
        try:
            image = parse_firmware(code)
        except SevbuildError:
            image = None
        if image is not None:
            says = "the code of the firmware alone, without its variables (OVMF_CODE.fd)"
            yield Change("firmware", "code", "both", partial(with_firmware, image), says, _CODE, FIRMWARE)
    if svsm is not None and svsm.data is not None and isinstance(firmware, Firmware):
        own = firmware.gpa - svsm.gpa - len(svsm.data)
        for rank, (size, name) in enumerate(_STORES):
            if size != own:
                says = f"{size:#x} bytes between SVSM and firmware ({name})"
                edits = (Edit("svsm.vars-path", None), Edit("svsm.vars-size", f"{size:#x}"))
                yield Change(
                    "svsm", f"{size:#x} below", "both", _svsm(own - size), says, _STORE, SVSM + rank, edits
                )


def with_firmware(firmware: Firmware | FirmwareSeed, setup: Setup) -> Setup:
    """Return a setup with another firmware; an SVSM is loaded as far below it as below the guest's own.

    Raises SevbuildError where there is no place for it.
    """
    if not isinstance(setup, LaidOut):
        return setup
    if setup.inputs.svsm is not None:
        before = setup.inputs.firmware
        if not isinstance(firmware, Firmware) or not isinstance(before, Firmware):
            raise SevbuildError("an SVSM requires the firmware file: it is placed below it")
        setup = _moved(setup, firmware.gpa - before.gpa)
    return setup._replace(inputs=setup.inputs._replace(firmware=firmware))


def _svsm(distance: int) -> Callable[[Setup], Setup]:
    return on_laid_out(lambda setup: _moved(setup, distance))


def _moved(setup: LaidOut, distance: int) -> LaidOut:
    svsm = setup.inputs.svsm
    if svsm is None:
        return setup
    if svsm.gpa + distance < 0:
        raise SevbuildError("there is no place for the SVSM below the firmware")
    svsm = svsm._replace(gpa=svsm.gpa + distance, entry=svsm.entry + distance)
    return setup._replace(inputs=setup.inputs._replace(svsm=svsm))

"""What `check`, `build` and `measure --lint` say of the files that a guest is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sevbuild.errors import FaultsError, MismatchError, Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.look import Look, look_at_guest
from sevbuild.image.lint import lint_firmware
from sevbuild.image.ovmf import Firmware
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.manifest.model import Variant

__all__ = ["check_guest", "lint_guest"]


def check_guest(guest: Guest, hold: Callable[[], None]) -> None:
    """Read every input, lay out every target, and look at what each file is.

    `guest.notices` then has all there is to say. `hold` is called once all was read, and may raise. Raises
    FaultsError with every file that is missing, MismatchError for an input that is not the pinned one, and
    FaultsError with every file that is another thing than the manifest takes it for.
    """
    try:
        guest.check_inputs()
    except (FaultsError, MismatchError):
        raise
    except SevbuildError:
        # That a file is a kernel says more than what its bytes lack of a firmware.
        _refuse_strangers(guest, look_at_guest(guest))
        raise
    hold()
    looks = look_at_guest(guest)
    _refuse_strangers(guest, looks)
    guest.notices.extend(_findings(guest, looks))


def _refuse_strangers(guest: Guest, looks: Sequence[Look]) -> None:
    for look in looks:
        if look.level == "error":
            look.variant.document.fault(look.key, look.message, look.hint)
    for variant in guest.manifest.variants:
        variant.document.raise_faults()


def lint_guest(guest: Guest) -> list[Notice]:
    """Return the findings on each input that matter to the targets it is launched for, all as warnings.

    Decompresses the firmware to look for the kernel-hashes verifier, which takes about 0.2 s.
    """
    return _findings(guest, look_at_guest(guest))


def _findings(guest: Guest, looks: Sequence[Look]) -> list[Notice]:
    notices: dict[Notice, None] = {}
    for look in looks:
        where = look.variant.document.where(look.key)
        notices[Notice("warning", where, look.message, look.hint)] = None
    for variant in guest.manifest.variants:
        for notice in _firmware_findings(guest, variant):
            notices[notice] = None
    return [notice for notice in notices if notice not in guest.notices]


def _firmware_findings(guest: Guest, variant: Variant) -> Iterator[Notice]:
    declared = variant.declared(FIRMWARE)
    if declared is None:
        return
    firmware = guest.firmware(variant)
    if not isinstance(firmware, Firmware):
        return
    targets = guest.targets_of(variant)
    topics = {"image"}
    if any(target.mode == "snp" for target in targets):
        topics |= {"snp", "sections"}
    if any(target.mode != "sev" and target.vcpus > 1 for target in targets):
        topics.add("smp")
    if variant.kernel is not None and variant.kernel.hashes:
        topics.add("kernel-hashes")
    for finding in lint_firmware(firmware, verifier=kernel_hash_verifier(firmware.data)):
        if finding.topic in topics and finding.level in ("error", "warning"):
            yield Notice("warning", declared.name, finding.message, finding.hint)

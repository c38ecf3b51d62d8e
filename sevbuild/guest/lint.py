"""What `check` and `measure --lint` say of the firmware that a guest is launched with."""

from __future__ import annotations

from sevbuild.errors import Notice
from sevbuild.guest.guest import Guest
from sevbuild.image.lint import lint_firmware
from sevbuild.image.ovmf import Firmware
from sevbuild.image.verifier import kernel_hash_verifier

__all__ = ["lint_guest"]


def lint_guest(guest: Guest) -> list[Notice]:
    """Return the findings on each firmware that matter to the targets it is launched for.

    Decompresses the firmware to look for the kernel-hashes verifier, which takes about 0.2 s.
    """
    notices: dict[Notice, None] = {}
    for variant in guest.manifest.variants:
        if variant.ready_igvm is not None:
            continue
        firmware = guest.firmware(variant)
        if not isinstance(firmware, Firmware):
            continue
        targets = [target for target in guest.targets if target.variant is variant]
        topics = {"image"}
        if any(target.mode == "snp" for target in targets):
            topics |= {"snp", "sections"}
        if any(target.mode != "sev" and target.vcpus > 1 for target in targets):
            topics.add("smp")
        if variant.kernel is not None and variant.kernel.hashes:
            topics.add("kernel-hashes")
        for finding in lint_firmware(firmware, verifier=kernel_hash_verifier(firmware.data)):
            if finding.topic in topics and finding.level in ("error", "warning"):
                notice = Notice("warning", variant.firmware.path or "", finding.message, finding.hint)
                notices[notice] = None
    return [notice for notice in notices if notice not in guest.notices]

"""The VMSAs of targets as files, under the names that virt-qemu-sev-validate and sevctl take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sevbuild.errors import SevbuildError
from sevbuild.guest.measured import Measured
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import chunks

__all__ = ["vmsa_files"]


def vmsa_files(directory: str, measured: Sequence[Measured[Any]]) -> dict[str, bytes]:
    """Return the contents of vmsa0.bin (boot processor) and vmsa1.bin (every other vCPU) by path.

    Several targets get a folder each, named by label with `/` as `_`. Mode sev has no VMSA.
    """
    pages = {}
    for item in measured:
        folder = item.label.replace("/", "_") if len(measured) > 1 else ""
        vmsas = [update for update in item.plan.updates if update.page_type == PageType.VMSA]
        for vcpu, update in enumerate(vmsas[:2]):
            if update.data is not None:
                pages[os.path.join(directory, folder, f"vmsa{vcpu}.bin")] = b"".join(chunks(update.data))
    if not pages:
        raise SevbuildError("no target has a VMSA", hint="mode sev launches none")
    return pages

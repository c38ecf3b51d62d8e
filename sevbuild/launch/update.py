"""One launch update: a region a hypervisor passes to the secure processor in one call."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import Contents

__all__ = ["LaunchUpdate"]


class LaunchUpdate(NamedTuple):
    """One launch update: a region, not a page.

    `gpa` and `length` are bytes, multiples of 4096 for SNP (SEV takes multiples of 16). `data` are
    the `length` bytes of the types whose contents are measured, else None. `origin` names the input that
    put the region there. `vmpl_permissions` are the VMPL1, VMPL2 and VMPL3 masks (SNP ABI 8.17.2); every
    hypervisor known here passes zeros.
    """

    gpa: int
    page_type: PageType
    length: int
    data: Contents | None
    origin: str
    vmpl_permissions: tuple[int, int, int] = (0, 0, 0)

    @property
    def end(self) -> int:
        """Return the first GPA after the region."""
        return self.gpa + self.length

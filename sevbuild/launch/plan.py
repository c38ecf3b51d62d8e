"""The launch plan: the ordered launch updates of one target."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.launch.mode import Mode
from sevbuild.launch.update import LaunchUpdate

__all__ = ["LaunchPlan"]


class LaunchPlan(NamedTuple):
    """What is launched for one target, and in which order: regions, then VMSAs.

    `seed` is the SNP digest (48 bytes) that the launch goes on from where the firmware's pages are known
    by their digest alone.
    """

    mode: Mode
    policy: int
    seed: bytes | None
    regions: tuple[LaunchUpdate, ...]
    vmsas: tuple[LaunchUpdate, ...]

    @property
    def updates(self) -> tuple[LaunchUpdate, ...]:
        """Return every launch update in order."""
        return self.regions + self.vmsas

"""A launch digest that was published, by the name of its target."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.mode import Mode

__all__ = ["NamedTarget"]


class NamedTarget(NamedTuple):
    """One published target: `digest` has 48 bytes in mode snp.

    `version` is None for an IGVM file, and as `policy` for a target that others published without one.
    `refused` says why the appraisal policy does not accept it, empty where it does.
    """

    guest: str
    version: str | None
    label: str
    mode: Mode
    digest: bytes
    policy: int | None
    id_block: ReportedIdBlock | None = None
    refused: str = ""

    @property
    def name(self) -> str:
        """Return how a verdict calls it, such as `acme-guest 1.4.0, snp/qemu/EPYC-Milan/vcpus8`."""
        guest = self.guest if self.version is None else f"{self.guest} {self.version}"
        return f"{guest}, {self.label}"

"""The seed of a firmware: the launch digest after its pages alone."""

from __future__ import annotations

from sevbuild.image.ovmf import parse_firmware
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import Planner
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.measure.tree import LaunchTree

__all__ = ["firmware_seed"]


def firmware_seed(data: bytes) -> bytes:
    """Return the seed (48 bytes) of a firmware file's contents; raises SevbuildError for what is none."""
    update = Planner().firmware_update(parse_firmware(data))
    plan = LaunchPlan("snp", DEFAULT_POLICIES["snp"], None, (update,), ())
    return LaunchTree().digest(plan)

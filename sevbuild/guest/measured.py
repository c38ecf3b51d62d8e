"""What measuring gives: a launch plan under its label, and its launch digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from sevbuild.igvm.doubt import Doubt
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.launch.plan import LaunchPlan
    from sevbuild.manifest.targets import Target

__all__ = ["Measured"]

Launched = TypeVar("Launched", bound="Target | Loaded")


class Measured(Generic[Launched]):
    """A launch plan under its label, its launch digest, and what speaks against a launch.

    `target` is that of a manifest, or what a loader made of an IGVM file of others. `digest` has 48 bytes
    for SNP, else 32.
    """

    __slots__ = ("digest", "doubts", "label", "plan", "target")

    def __init__(
        self, target: Launched, plan: LaunchPlan, digest: bytes, doubts: tuple[Doubt, ...] = ()
    ) -> None:
        self.label = target.label
        self.target = target
        self.plan = plan
        self.digest = digest
        self.doubts = doubts

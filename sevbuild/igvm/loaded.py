"""What a launch adds to an IGVM file, and what a loader made of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sevbuild.igvm.doubt import Doubt
from sevbuild.igvm.headers import SnpIdBlock
from sevbuild.igvm.loaders import Loader
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.launch.label import NO_CPU, target_label
from sevbuild.launch.mode import Mode
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import parse_vmsa

__all__ = ["LoadRequest", "Loaded"]


class LoadRequest(NamedTuple):
    """What a launch adds to a file.

    `mode` picks one of several platforms, None for the strongest that the loader takes. `vcpus` is None for
    as many as the file describes. `reset_state` makes the VMSA of a vCPU that the file does not describe,
    given SEV_FEATURES; None where no CPU model is known. `kernel_hashes` are those of the kernel that the
    loader itself is given.
    """

    mode: Mode | None = None
    vcpus: int | None = None
    reset_state: Callable[[int], bytes] | None = None
    kernel_hashes: KernelHashes | None = None


class Loaded(NamedTuple):
    """What a loader made of a file.

    `contexts` is how many VP contexts it took of its platform, and `vmsas` are the updates of the plan that
    were made of them, or of a reset state, by vCPU. `policy_given` tells that the file has the policy; else
    it is the mode's default. `id_blocks` are the headers of the file's ID blocks.
    """

    loader: Loader
    plan: LaunchPlan
    vcpus: int
    contexts: int
    vmsas: tuple[LaunchUpdate, ...]
    policy_given: bool
    id_blocks: tuple[SnpIdBlock, ...]
    doubts: tuple[Doubt, ...]

    @property
    def label(self) -> str:
        """Return the label of its launch digest; a file has no CPU model."""
        return target_label(self.plan.mode, self.loader.name, NO_CPU, self.vcpus)

    @property
    def takes_signature(self) -> bool:
        """Tell whether a vCPU starts in the reset state of a CPU model, for the file does not describe it."""
        return any(update.origin.startswith("reset state") for update in self.vmsas)

    @property
    def guest_features(self) -> int | None:
        """Return SEV_FEATURES of the first vCPU (u64), None where the launch has no VMSA."""
        if not self.vmsas or self.vmsas[0].data is None:
            return None
        features = parse_vmsa(b"".join(chunks(self.vmsas[0].data)))["sev_features"]
        return features if isinstance(features, int) else None

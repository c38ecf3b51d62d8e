"""An IGVM file as a loader launches it, so that a single setting of the launch can be another."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.overwritten import overwritten
from sevbuild.diagnose.setup import Body, Tail
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.igvm.loaders import loader_named
from sevbuild.launch.region_data import chunks
from sevbuild.manifest.model import Cpu
from sevbuild.vcpu.models import signature_text

if TYPE_CHECKING:
    from sevbuild.diagnose.departures import Departures
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.image.kernel_hashes import KernelHashes
    from sevbuild.launch.mode import Mode
    from sevbuild.launch.plan import LaunchPlan
    from sevbuild.launch.planner import Planner

__all__ = ["FileLaunch"]

_KEPT = 64
"""How many launches are remembered: a large file takes its time to be walked."""


class FileLaunch(NamedTuple):
    """A launch that a loader replays from an IGVM file, and everything that it depends on.

    `signature` is that of the vCPUs which the file does not describe, None where no CPU is known.
    `kernel_hashes` are those of the kernel that the loader itself is given. `departures` are registers that
    VMSAs have instead of their own (departures.py). Files are told apart by identity.
    """

    file: ForeignFile
    loader: str
    mode: Mode
    vcpus: int
    signature: int | None = None
    kernel_hashes: KernelHashes | None = None
    departures: Departures = ()

    @property
    def loaded(self) -> Loaded:
        """Return what the loader makes of the file as it is; raises SevbuildError for what it refuses."""
        return _loaded(self._replace(departures=()))

    @property
    def counted_in_body(self) -> bool:
        """Tell that no loader launches other regions for another number of vCPUs."""
        return False

    @property
    def described(self) -> int:
        """Return how many vCPUs there are if nobody says how many: those that the file describes."""
        return self.with_vcpus(0).loaded.vcpus

    @property
    def takes_more_vcpus(self) -> bool:
        """Tell whether vCPUs that the file does not describe can start, each of which is measured."""
        loader = loader_named(self.loader)
        starts = loader.reset_profile is not None and self.signature is not None
        return loader.vmsas_last and starts and self.mode != "sev"

    def with_vcpus(self, count: int) -> FileLaunch:
        """Return the same with another number of vCPUs."""
        return self._replace(vcpus=count)

    def body(self, planner: Planner) -> Body:
        """Return what is launched before the VMSAs; raises SevbuildError for what no loader launches."""
        plan = self.with_vcpus(0).plan(planner)
        return Body(plan.mode, plan.seed, plan.regions)

    def tail(self, planner: Planner) -> Tail:
        """Return the VMSAs that follow everything else; raises SevbuildError for what no loader launches.

        Where a loader takes VMSAs in their places there are none: how many vCPUs start enters no digest then.
        """
        loader = loader_named(self.loader)
        if not loader.vmsas_last or loader.vmsa_gpa is None:
            return Tail(0, (), None)
        pages = _pages(self.with_vcpus(0).plan(planner))
        further: bytes | None = None
        if self.takes_more_vcpus:
            *before, further = _pages(self.with_vcpus(max(len(pages), 1) + 1).plan(planner))
            if not pages and before != [further]:
                # Registers of the first vCPU alone depart, which the file does not describe.
                pages = (before[0],)
        return Tail(loader.vmsa_gpa, pages, further)

    def plan(self, planner: Planner) -> LaunchPlan:
        """Return the launch plan; raises SevbuildError for what no loader launches.

        The file's own updates are kept beside it, so that the planner has nothing to share here.
        """
        del planner
        plan = self.loaded.plan
        return overwritten(plan, self.departures) if self.departures else plan


def _pages(plan: LaunchPlan) -> tuple[bytes, ...]:
    return tuple(b"".join(chunks(update.data or b"")) for update in plan.vmsas)


@lru_cache(maxsize=_KEPT)
def _loaded(launch: FileLaunch) -> Loaded:
    """Return what the loader makes of a launch; no vCPUs stand for those that the file describes."""
    signature = launch.signature
    cpu = None if signature is None else Cpu(signature_text(signature), signature)
    vcpus = launch.vcpus or None
    asked = ForeignLaunch((launch.loader,), launch.mode, vcpus, cpu, launch.kernel_hashes)
    (loaded,), _ = launch.file.load(asked)
    return loaded

"""One launch as what it is laid out from, so that a single setting of it can be another."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sevbuild.diagnose.departures import Departures, launched
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.profile import LaunchProfile
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import VMSA_SIZE

__all__ = ["Body", "LaidOut", "Setup", "Tail"]


class Body(NamedTuple):
    """What is launched before the VMSAs: the updates in order, after `seed` where the firmware is one."""

    mode: Mode
    seed: bytes | None
    regions: tuple[LaunchUpdate, ...]


class Tail(NamedTuple):
    """The VMSAs of a launch, for any number of vCPUs.

    `pages` (4096 bytes each) are those of the first vCPUs, which are launched however many there are;
    `further` is that of each vCPU after them, None where no more are measured. All lie at `gpa`. A launch in
    mode sev has neither.
    """

    gpa: int
    pages: tuple[bytes, ...]
    further: bytes | None


class Setup(Protocol):
    """One launch as its settings: equal setups launch the same, and are keys."""

    @property
    def mode(self) -> Mode:
        """Return the mode."""

    @property
    def vcpus(self) -> int:
        """Return how many vCPUs are started."""

    @property
    def counted_in_body(self) -> bool:
        """Tell whether the body is another one for another number of vCPUs."""

    def with_vcpus(self, count: int) -> Setup:
        """Return the same with another number of vCPUs."""

    def body(self, planner: Planner) -> Body:
        """Return what is launched before the VMSAs; raises SevbuildError for what no host can launch."""

    def tail(self, planner: Planner) -> Tail:
        """Return the VMSAs; raises SevbuildError for what no host can launch."""

    def plan(self, planner: Planner) -> LaunchPlan:
        """Return the launch plan; raises SevbuildError for what no host can launch."""


class LaidOut(NamedTuple):
    """A launch that a host lays out by a profile: what it is made of, and everything it depends on.

    `departures` are the single values by which the launch departs from its profile, by name; `shape.launch`
    has them already, and `launched` the inputs.
    """

    inputs: GuestInputs
    shape: LaunchShape
    profile: LaunchProfile
    departures: Departures = ()

    @property
    def mode(self) -> Mode:
        """Return the mode."""
        return self.shape.mode

    @property
    def vcpus(self) -> int:
        """Return how many vCPUs are started."""
        return self.shape.vcpus

    @property
    def launched(self) -> GuestInputs:
        """Return the inputs as they are launched: without what the departures leave out."""
        return launched(self.inputs, self.departures) if self.departures else self.inputs

    @property
    def counted_in_body(self) -> bool:
        """Tell that a host lays out the same regions for any number of vCPUs."""
        return False

    def with_vcpus(self, count: int) -> LaidOut:
        """Return the same with another number of vCPUs."""
        return self._replace(shape=self.shape._replace(vcpus=count))

    def body(self, planner: Planner) -> Body:
        """Return what is launched before the VMSAs; raises SevbuildError for what no host can launch."""
        plan = planner.plan(self.launched, self.shape._replace(vcpus=1))
        return Body(plan.mode, plan.seed, plan.regions)

    def tail(self, planner: Planner) -> Tail:
        """Return the VMSAs; raises SevbuildError for what no host can launch.

        Without an address for other vCPUs to start at there is one vCPU, and no `further` page.
        """
        gpa = self.shape.launch.vmsa_gpa
        # A firmware that takes no kernel hashes is refused by what comes before the VMSAs, which have none.
        inputs = self.launched._replace(kernel_hashes=None)
        try:
            vmsas = planner.plan(inputs, self.shape._replace(vcpus=2)).vmsas
        except SevbuildError:
            vmsas = planner.plan(inputs, self.shape._replace(vcpus=1)).vmsas
        pages = [bytes(update.data) for update in vmsas if isinstance(update.data, bytes)]
        if any(len(page) != VMSA_SIZE for page in pages) or len(pages) != len(vmsas):
            raise SevbuildError("a VMSA that is not one page in memory")
        return Tail(gpa, tuple(pages[:1]), pages[1] if len(pages) > 1 else None)

    def plan(self, planner: Planner) -> LaunchPlan:
        """Return the launch plan; raises SevbuildError for what no host can launch."""
        return planner.plan(self.launched, self.shape)

"""A launch with the VMSAs that a kernel log has of it: what the host did is known, and not searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.setup import Body, Setup, Tail
from sevbuild.launch.page_type import PageType
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import VMSA_SIZE

if TYPE_CHECKING:
    from sevbuild.diagnose.change import Change
    from sevbuild.launch.mode import Mode
    from sevbuild.launch.plan import LaunchPlan
    from sevbuild.launch.planner import Planner

__all__ = ["Dumped", "of_bodies"]


class Dumped(NamedTuple):
    """A launch of which each VMSA is as a log has it; `pages` are these, 4096 bytes each."""

    setup: Setup
    pages: tuple[bytes, ...]

    @property
    def mode(self) -> Mode:
        """Return the mode."""
        return self.setup.mode

    @property
    def vcpus(self) -> int:
        """Return how many vCPUs were started."""
        return len(self.pages)

    @property
    def counted_in_body(self) -> bool:
        """Tell that no other number of vCPUs is asked for."""
        return False

    def with_vcpus(self, count: int) -> Dumped:
        """Return the same: how many vCPUs there were is in the log."""
        del count
        return self

    def body(self, planner: Planner) -> Body:
        """Return what is launched before the VMSAs; raises SevbuildError for what no host can launch."""
        return self.setup.body(planner)

    def tail(self, planner: Planner) -> Tail:
        """Return the VMSAs of the log, where the guest has its own."""
        return Tail(self.setup.tail(planner).gpa, self.pages, None)

    def plan(self, planner: Planner) -> LaunchPlan:
        """Return the guest's launch plan with the VMSAs of the log."""
        gpa = self.setup.tail(planner).gpa
        vmsas = tuple(
            LaunchUpdate(gpa, PageType.VMSA, VMSA_SIZE, page, f"vmsa {vcpu}")
            for vcpu, page in enumerate(self.pages)
        )
        return self.setup.plan(planner)._replace(vmsas=vmsas)


def of_bodies(changes: Iterable[Change]) -> list[Change]:
    """Return the changes of what is launched before the VMSAs, for launches with those of a log."""
    return [
        change._replace(touches="body", apply=_below(change.apply))
        for change in changes
        if change.touches != "tail" and change.axis not in ("mode", "loader")
    ]


def _below(apply: Callable[[Setup], Setup]) -> Callable[[Setup], Setup]:
    def applied(setup: Setup) -> Setup:
        return setup._replace(setup=apply(setup.setup)) if isinstance(setup, Dumped) else apply(setup)

    return applied

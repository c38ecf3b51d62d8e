"""Setups planned and replayed through the model of the secure processor, prefixes shared."""

from __future__ import annotations

from sevbuild.diagnose.answer import Run
from sevbuild.diagnose.setup import Setup
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree

__all__ = ["Launches"]


class Launches:
    """Launch digests of setups; what several have in common is planned and hashed once."""

    def __init__(self) -> None:
        self.planner = Planner()
        self._tree = LaunchTree()

    def digest(self, setup: Setup) -> bytes:
        """Return the launch digest of a setup; raises SevbuildError for what cannot be launched."""
        return self._tree.digest(setup.plan(self.planner))

    def run(self, setup: Setup) -> Run:
        """Return the plan of a setup with its running digests; raises SevbuildError as `digest` does."""
        return self.run_of(setup.plan(self.planner))

    def run_of(self, plan: LaunchPlan) -> Run:
        """Return a plan with its running digests."""
        return Run(plan, tuple(digest for _, digest in self._tree.trace(plan)))

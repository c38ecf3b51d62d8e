"""Replay launch plans through the secure processor's model, sharing their common prefixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.snp_guest import SnpGuest
from sevbuild.launch.update import LaunchUpdate

if TYPE_CHECKING:
    from sevbuild.launch.sev_guest import SevGuest

__all__ = ["LaunchTree"]

_NO_OWNER = bytes(16)
_MANY = 4096
"""From here on updates are replayed without a context kept for each: a file can make a million of them."""


class _Node:
    """A guest context after one update, and what was launched from there."""

    __slots__ = ("children", "guest", "update")

    def __init__(self, guest: SnpGuest | SevGuest, update: LaunchUpdate | None) -> None:
        self.guest = guest
        self.update = update
        self.children: dict[int, _Node] = {}


class LaunchTree:
    """The launch digests of many plans; a prefix that two plans share is replayed once.

    Plans share a prefix where their updates are the same objects, as the planner makes them. The policy
    enters no digest, so plans that differ in it share as well; each is still checked. `hasher` hashes page
    contents, each once; None for one of the tree's own.
    """

    def __init__(self, hasher: PageHasher | None = None) -> None:
        self._roots: dict[tuple[bool, bytes | None], _Node] = {}
        self._hasher = PageHasher() if hasher is None else hasher
        self._places: dict[int, tuple[LaunchUpdate, tuple[int, ...]]] = {}

    def announce(self, plans: Sequence[LaunchPlan]) -> None:
        """Note which regions stand at more than one place, so that their bytes are hashed once."""
        for regions in {id(plan.regions): plan.regions for plan in plans if plan.mode == "snp"}.values():
            before: tuple[int, ...] = ()
            for update in regions:
                first = self._places.setdefault(id(update), (update, before))
                if update.data is not None and first[1] != before:
                    self._hasher.remember(update.data)
                before = (*before, id(update))

    def prime(self, plan: LaunchPlan) -> None:
        """Replay a plan that others will begin with, ahead of them."""
        self._replay(plan)

    def digest(self, plan: LaunchPlan) -> bytes:
        """Return the launch digest of a plan: 48 bytes for SNP, 32 for SEV and SEV-ES.

        Raises LaunchError for what the secure processor would refuse.
        """
        guest = self._replay(plan)
        if isinstance(guest, SnpGuest):
            return guest.fork(policy=plan.policy).launch_finish()
        twin = guest.fork(policy=plan.policy)
        # No guest owner's keys enter here; the digest under the measurement does not depend on them.
        twin.launch_measure(_NO_OWNER, _NO_OWNER)
        return twin.launch_finish()

    def trace(self, plan: LaunchPlan) -> Iterator[tuple[LaunchUpdate, bytes]]:
        """Yield each update of a plan with the launch digest as it stands after it."""
        node = self._root(plan)
        if len(plan.updates) > _MANY:
            guest = node.guest.fork(policy=plan.policy)
            for update in plan.updates:
                guest.launch_update(update)
                yield update, guest.launch_digest
            return
        for update in plan.updates:
            node = self._step(node, update, plan.policy)
            yield update, node.guest.launch_digest

    def _replay(self, plan: LaunchPlan) -> SnpGuest | SevGuest:
        node = self._root(plan)
        if len(plan.updates) > _MANY:
            guest = node.guest.fork(policy=plan.policy)
            for update in plan.updates:
                guest.launch_update(update)
            return guest
        for updates in (plan.regions, plan.vmsas):
            for update in updates:
                below = node.children.get(id(update))
                node = self._step(node, update, plan.policy) if below is None else below
        return node.guest

    def _step(self, node: _Node, update: LaunchUpdate, policy: int) -> _Node:
        below = node.children.get(id(update))
        if below is None:
            guest = node.guest.fork(policy=policy)
            guest.launch_update(update)
            below = node.children[id(update)] = _Node(guest, update)
        return below

    def _root(self, plan: LaunchPlan) -> _Node:
        guest: SnpGuest | SevGuest
        if plan.mode == "snp":
            guest = SnpGuest(hasher=self._hasher)
            guest.launch_start(plan.policy, seed=plan.seed)
        else:
            # Most guests are SNP guests, and never need the other model.
            from sevbuild.launch.sev_guest import SevGuest

            guest = SevGuest()
            guest.launch_start(plan.policy)
        return self._roots.setdefault((plan.mode == "snp", plan.seed), _Node(guest, None))

"""A software model of the secure processor's SNP launch commands."""

from __future__ import annotations

from bisect import bisect_right
from enum import IntEnum
from typing import NamedTuple, Protocol

from sevbuild.launch.page_digest import INITIAL_DIGEST, PageHasher, extend
from sevbuild.launch.page_type import MEASURED_CONTENTS, PAGE_SIZE, PageType
from sevbuild.launch.policy import SNP_HIGHEST_BIT, SnpPolicy
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate

__all__ = ["Identity", "SnpGuest", "SnpGuestState", "SnpPlatform"]


class SnpGuestState(IntEnum):
    """The guest states (SNP ABI 4.2)."""

    INIT = 0
    LAUNCH = 1
    RUNNING = 2


class SnpPlatform(NamedTuple):
    """The platform as far as a launch can fail on it.

    `abi` is the firmware's (major, minor), None where any policy's minimum is met. `smt` tells that the
    host runs with SMT. `highest_policy_bit` is the last one the firmware does not reserve (20 on Genoa
    1.55.25, 25 from ABI 1.58).
    """

    initialized: bool = True
    abi: tuple[int, int] | None = None
    smt: bool = False
    highest_policy_bit: int = SNP_HIGHEST_BIT


class Identity(Protocol):
    """An ID block and its authentication, as SNP_LAUNCH_FINISH is given both (`identity/firmware.py`)."""

    @property
    def launch_digest(self) -> bytes:
        """Return the launch digest that the block is for, 48 bytes."""

    @property
    def policy(self) -> int:
        """Return the policy that the block is for."""

    def refusal(self) -> tuple[Status, str] | None:
        """Return the status and the reason with which algorithms, keys or signatures are refused."""


class _Snapshot(NamedTuple):
    """What a fork takes over; `extents` are the launched (start, end), ascending."""

    state: SnpGuestState = SnpGuestState.INIT
    digest: bytes = INITIAL_DIGEST
    policy: int = 0
    extents: tuple[tuple[int, int], ...] = ()


class SnpGuest:
    """One guest context, modelled from SNP_LAUNCH_START to SNP_LAUNCH_FINISH.

    Commands raise `LaunchError` in the firmware's own order of checks, and leave the context unchanged.
    `fork` copies a context, so that targets sharing a prefix share its hashing.
    """

    __slots__ = ("_digest", "_extents", "_hasher", "_platform", "_policy", "_state")

    def __init__(
        self,
        platform: SnpPlatform | None = None,
        hasher: PageHasher | None = None,
        *,
        snapshot: _Snapshot | None = None,
    ) -> None:
        self._platform = SnpPlatform() if platform is None else platform
        self._hasher = PageHasher() if hasher is None else hasher
        start = _Snapshot() if snapshot is None else snapshot
        self._state, self._digest, self._policy = start[:3]
        self._extents = list(start.extents)

    @property
    def state(self) -> SnpGuestState:
        """Return the guest's state."""
        return self._state

    @property
    def launch_digest(self) -> bytes:
        """Return the 48-byte launch digest as it stands."""
        return self._digest

    def fork(self, *, policy: int | None = None) -> SnpGuest:
        """Return an independent copy of the context, or of one launched alike under another policy."""
        kept = self._policy if policy is None else policy
        snapshot = _Snapshot(self._state, self._digest, kept, tuple(self._extents))
        return SnpGuest(self._platform, self._hasher, snapshot=snapshot)

    def launch_start(self, policy: int, *, seed: bytes | None = None) -> None:
        """Start a launch under `policy` (u64).

        `seed` continues from a published digest of the firmware pages instead of 48 zero bytes; a real
        processor has no such command.
        """
        command = "SNP_LAUNCH_START"
        if not self._platform.initialized:
            raise LaunchError(command, Status.INVALID_PLATFORM_STATE, "the platform is not initialised")
        if self._state != SnpGuestState.INIT:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}")
        reason = SnpPolicy(policy).refusal(
            abi=self._platform.abi,
            host_smt=self._platform.smt,
            highest_bit=self._platform.highest_policy_bit,
        )
        if reason is not None:
            raise LaunchError(command, Status.POLICY_FAILURE, reason)
        self._policy = policy
        if seed is not None:
            self._digest = seed
        self._state = SnpGuestState.LAUNCH

    def launch_update(self, update: LaunchUpdate) -> None:
        """Add the pages of `update` to the guest and to the launch digest."""
        command = f"SNP_LAUNCH_UPDATE ({update.origin})"
        if not self._platform.initialized:
            raise LaunchError(command, Status.INVALID_PLATFORM_STATE, "the platform is not initialised")
        at = self._claim(update, command)
        if update.page_type not in PageType.__members__.values():
            raise LaunchError(command, Status.INVALID_PARAM, f"unknown page type {int(update.page_type)}")
        if self._state != SnpGuestState.LAUNCH:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}")
        if update.page_type in MEASURED_CONTENTS:
            size = -1 if update.data is None else len(update.data)
            if size != update.length:
                reason = f"{update.length:#x} bytes announced, {max(size, 0):#x} given"
                raise LaunchError(command, Status.INVALID_PARAM, reason)
        self._digest = extend(self._digest, update, self._hasher)
        self._take(at, update)

    def launch_finish(self, *, identity: Identity | None = None) -> bytes:
        """Finish the launch and return the 48-byte launch digest.

        An ID block is held to digest, policy and signatures, in the firmware's order.
        """
        command = "SNP_LAUNCH_FINISH"
        if self._state != SnpGuestState.LAUNCH:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}")
        if identity is not None:
            if identity.launch_digest != self._digest:
                reason = "the ID block is for another launch digest"
                raise LaunchError(command, Status.BAD_MEASUREMENT, reason)
            if identity.policy != self._policy:
                reason = f"the ID block's policy is {identity.policy:#x}, the guest's {self._policy:#x}"
                raise LaunchError(command, Status.POLICY_FAILURE, reason)
            refusal = identity.refusal()
            if refusal is not None:
                raise LaunchError(command, *refusal)
        self._state = SnpGuestState.RUNNING
        return self._digest

    def _claim(self, update: LaunchUpdate, command: str) -> int:
        """Return where the extent of `update` belongs, as the RMP would let it have its pages."""
        gpa, length = update.gpa, update.length
        if gpa < 0 or gpa % PAGE_SIZE or gpa >= 1 << 52:
            raise LaunchError(command, Status.INVALID_ADDRESS, f"{gpa:#x} is not a page address below 2^52")
        if length <= 0 or length % PAGE_SIZE:
            raise LaunchError(
                command, Status.INVALID_LEN, f"{length:#x} bytes is not a whole number of pages"
            )
        if update.page_type == PageType.VMSA and length != PAGE_SIZE:
            raise LaunchError(command, Status.INVALID_LEN, "a VMSA is one page")
        extents = self._extents
        at = bisect_right(extents, (gpa, gpa))
        # Hypervisors give every VMSA the same synthetic GPA; the host pages behind them differ.
        if update.page_type != PageType.VMSA and (
            (at and extents[at - 1][1] > gpa) or (at < len(extents) and extents[at][0] < update.end)
        ):
            reason = f"pages in {gpa:#x}..{update.end - 1:#x} were launched before"
            raise LaunchError(command, Status.INVALID_PAGE_STATE, reason)
        return at

    def _take(self, at: int, update: LaunchUpdate) -> None:
        """Note the pages of `update`, whose extent belongs at `at`; neighbours become one extent."""
        if update.page_type == PageType.VMSA:
            return
        start, end, last = update.gpa, update.end, at
        if at and self._extents[at - 1][1] == start:
            at -= 1
            start = self._extents[at][0]
        if last < len(self._extents) and self._extents[last][0] == end:
            end = self._extents[last][1]
            last += 1
        self._extents[at:last] = [(start, end)]

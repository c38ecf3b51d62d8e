"""A software model of the secure processor's SEV and SEV-ES launch commands."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.launch.page_type import PAGE_SIZE, PageType
from sevbuild.launch.policy import SevPolicy
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = ["FIRST_BOUND_API", "SevGuest", "SevGuestState", "SevPlatform", "launch_measurement"]

_MEASURE_CONTEXT = b"\x04"
FIRST_BOUND_API = (0, 17)
"""From this API on a measurement says which firmware made it, and a secret is for one measurement alone
(AMDESE/sev-tool src/commands.cpp).
"""


class SevGuestState(IntEnum):
    """The guest states (SEV API 4.2)."""

    UNINIT = 0
    LUPDATE = 1
    LSECRET = 2
    RUNNING = 3


class SevPlatform(NamedTuple):
    """The platform as far as a launch depends on it: API version, build, readiness for ES."""

    initialized: bool = True
    es_enabled: bool = True
    api_major: int = 1
    api_minor: int = 55
    build_id: int = 0


def launch_measurement(tik: bytes, platform: SevPlatform, policy: int, digest: bytes, mnonce: bytes) -> bytes:
    """Return the 32 bytes by which a platform vouches for a launch digest (SEV API 6.5.1).

    It is HMAC-SHA256 under the guest owner's TIK (16 bytes), over what firmware this is, the policy (u32),
    the launch digest (32 bytes) and the nonce (16 bytes).
    """
    api = (platform.api_major, platform.api_minor)
    message = policy.to_bytes(4, "little") + digest + mnonce
    if api >= FIRST_BOUND_API:
        message = _MEASURE_CONTEXT + bytes((*api, platform.build_id)) + message
    return hmac.digest(tik, message, "sha256")


class SevGuest:
    """One guest context, modelled from LAUNCH_START to LAUNCH_FINISH.

    The digest is SHA-256 over the plaintext of every update in call order: neither address nor length nor
    type enters it (SEV API 6.3, 6.4). Commands raise `LaunchError` in the firmware's order of checks.
    """

    __slots__ = ("_hash", "_platform", "_policy", "_state")

    def __init__(
        self,
        platform: SevPlatform | None = None,
        *,
        snapshot: tuple[SevGuestState, int, HASH] | None = None,
    ) -> None:
        self._platform = SevPlatform() if platform is None else platform
        start = (SevGuestState.UNINIT, 0, sha256()) if snapshot is None else snapshot
        self._state, self._policy, self._hash = start

    @property
    def state(self) -> SevGuestState:
        """Return the guest's state."""
        return self._state

    @property
    def launch_digest(self) -> bytes:
        """Return the 32-byte launch digest as it stands."""
        return self._hash.copy().digest()

    def fork(self, *, policy: int | None = None) -> SevGuest:
        """Return an independent copy of the context, or of one launched alike under another policy."""
        kept = self._policy if policy is None else policy
        return SevGuest(self._platform, snapshot=(self._state, kept, self._hash.copy()))

    def launch_start(self, policy: int, *, open_session: Callable[[], object] | None = None) -> None:
        """Start a launch under `policy` (u32).

        `open_session` opens a guest owner's session, and raises LaunchError for one that is not for this
        platform and policy. The firmware compares policy and API version for a session alone; without one
        the launch is measured under a key of zeros and proves nothing.
        """
        command = "LAUNCH_START"
        if not self._platform.initialized:
            raise LaunchError(command, Status.INVALID_PLATFORM_STATE, "the platform is not initialised")
        if self._state != SevGuestState.UNINIT:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}")
        if open_session is not None:
            open_session()
            api = (self._platform.api_major, self._platform.api_minor)
            reason = SevPolicy(policy).refusal(api=api)
            if reason is not None:
                raise LaunchError(command, Status.POLICY_FAILURE, reason)
        if SevPolicy(policy).es and not self._platform.es_enabled:
            raise LaunchError(command, Status.UNSUPPORTED, "the platform is not initialised for SEV-ES")
        self._policy = policy
        self._state = SevGuestState.LUPDATE

    def launch_update(self, update: LaunchUpdate) -> None:
        """Pass `update` to LAUNCH_UPDATE_VMSA or LAUNCH_UPDATE_DATA, by its type."""
        if update.page_type == PageType.VMSA:
            self.launch_update_vmsa(update)
        else:
            self.launch_update_data(update)

    def launch_update_data(self, update: LaunchUpdate) -> None:
        """Add the bytes of `update` to the guest and to the launch digest."""
        command = f"LAUNCH_UPDATE_DATA ({update.origin})"
        self._ready(command)
        self._add(self._checked(update, command))

    def launch_update_vmsa(self, update: LaunchUpdate) -> None:
        """Add one vCPU's initial register page; its length is checked before all else."""
        command = f"LAUNCH_UPDATE_VMSA ({update.origin})"
        if update.length != PAGE_SIZE:
            raise LaunchError(command, Status.INVALID_LEN, "a VMSA is 4096 bytes")
        self._ready(command)
        if not SevPolicy(self._policy).es:
            raise LaunchError(command, Status.UNSUPPORTED, "the policy does not make this an SEV-ES guest")
        self._add(self._checked(update, command))

    def launch_measure(self, tik: bytes, mnonce: bytes) -> bytes:
        """Return the measurement: HMAC-SHA256 over the launch digest, under the guest owner's TIK.

        `tik` and `mnonce` are 16 bytes; the result is 32 (SEV API 6.5.1).
        """
        self._ready("LAUNCH_MEASURE")
        self._state = SevGuestState.LSECRET
        return launch_measurement(tik, self._platform, self._policy, self._hash.digest(), mnonce)

    def launch_finish(self) -> bytes:
        """Finish the launch and return the 32-byte launch digest; LAUNCH_MEASURE must have come first."""
        if self._state != SevGuestState.LSECRET:
            raise LaunchError(
                "LAUNCH_FINISH", Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}"
            )
        self._state = SevGuestState.RUNNING
        return self._hash.digest()

    def _add(self, data: Contents) -> None:
        for chunk in chunks(data):
            self._hash.update(chunk)

    def _ready(self, command: str) -> None:
        if not self._platform.initialized:
            raise LaunchError(command, Status.INVALID_PLATFORM_STATE, "the platform is not initialised")
        if self._state != SevGuestState.LUPDATE:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self._state.name}")

    @staticmethod
    def _checked(update: LaunchUpdate, command: str) -> Contents:
        if update.gpa % 16:
            raise LaunchError(command, Status.INVALID_ADDRESS, f"{update.gpa:#x} is not a multiple of 16")
        if update.length <= 0 or update.length % 16:
            reason = f"{update.length:#x} bytes is not a positive multiple of 16"
            raise LaunchError(command, Status.INVALID_LEN, reason)
        if update.data is None or len(update.data) != update.length:
            raise LaunchError(command, Status.INVALID_PARAM, "the length differs from that of the data")
        return update.data

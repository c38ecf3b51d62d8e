"""A software model of a platform that a guest owner talks to: LAUNCH_START with a session, LAUNCH_SECRET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import KEY_SIZE
from sevbuild.identity.launch_secret import HEADER_SIZE, SecretPacket
from sevbuild.identity.sev_certificate import CERTIFICATE_SIZE, ECDH_SHA256, PDH, curve_key
from sevbuild.identity.sev_session import SESSION_SIZE, Session, TransportKeys, shared_secret
from sevbuild.launch.sev_guest import FIRST_BOUND_API, SevGuest, SevGuestState, SevPlatform
from sevbuild.launch.status import LaunchError, Status

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sevbuild.launch.update import LaunchUpdate

__all__ = ["OwnedGuest"]

_SCRATCH_SIZE = 0x5000
"""The most that the firmware decrypts at once (its scratch buffer)."""
_BLOCK = 16


class OwnedGuest:
    """A guest context whose owner has a session with the platform, from LAUNCH_START to LAUNCH_FINISH.

    Commands raise `LaunchError` in the firmware's order of checks; what they share with a guest without an
    owner is `SevGuest`'s.
    """

    def __init__(self, pdh: EllipticCurvePrivateKey, platform: SevPlatform | None = None) -> None:
        self._pdh = pdh
        self._platform = SevPlatform() if platform is None else platform
        self._guest = SevGuest(self._platform)
        self._keys = TransportKeys(bytes(16), bytes(16))
        self._measure = b""

    @property
    def state(self) -> SevGuestState:
        """Return the guest's state."""
        return self._guest.state

    def launch_start(self, policy: int, dh_cert: bytes, session: bytes) -> None:
        """Start a launch under `policy` (u32) with what its owner gave the host."""
        self._guest.launch_start(policy, open_session=lambda: self._open(policy, dh_cert, session))

    def launch_update(self, update: LaunchUpdate) -> None:
        """Pass `update` to LAUNCH_UPDATE_VMSA or LAUNCH_UPDATE_DATA, by its type."""
        self._guest.launch_update(update)

    def launch_measure(self, mnonce: bytes) -> bytes:
        """Return measurement and nonce, 48 bytes; `mnonce` (16 bytes) is the firmware's own choice."""
        self._measure = self._guest.launch_measure(self._keys.tik, mnonce)
        return self._measure + mnonce

    def launch_secret(self, header: bytes, payload: bytes, *, address: int, length: int) -> bytes:
        """Return what the guest finds at `address`: the decrypted payload of a packet of its owner.

        `length` is that of the guest's memory which the host gives for it.
        """
        command = "LAUNCH_SECRET"
        if not self._platform.initialized:
            raise LaunchError(command, Status.INVALID_PLATFORM_STATE, "the platform is not initialised")
        if address % _BLOCK:
            raise LaunchError(command, Status.INVALID_ADDRESS, f"{address:#x} is not a multiple of 16")
        if len(header) != HEADER_SIZE:
            raise LaunchError(command, Status.INVALID_LEN, f"a header of {len(header)} bytes, not 52")
        if not 0 < length <= _SCRATCH_SIZE or length % _BLOCK or length != len(payload):
            reason = f"{len(payload)} bytes for {length:#x} bytes of the guest"
            raise LaunchError(command, Status.INVALID_LEN, reason)
        if self.state != SevGuestState.LSECRET:
            raise LaunchError(command, Status.INVALID_GUEST_STATE, f"the guest is in {self.state.name}")
        packet = SecretPacket(header, payload)
        if packet.flags & 1:
            raise LaunchError(command, Status.UNSUPPORTED, "compressed secrets are not supported")
        api = (self._platform.api_major, self._platform.api_minor)
        plaintext = packet.open(self._keys, length, self._measure if api >= FIRST_BOUND_API else b"")
        if plaintext is None:
            reason = "the packet is for another session or measurement, or was altered"
            raise LaunchError(command, Status.BAD_MEASUREMENT, reason)
        return plaintext

    def launch_finish(self) -> bytes:
        """Finish the launch and return the 32-byte launch digest; the session's keys are gone."""
        digest = self._guest.launch_finish()
        self._keys = TransportKeys(bytes(16), bytes(16))
        return digest

    def _open(self, policy: int, dh_cert: bytes, session: bytes) -> None:
        """Take the keys out of a session, as LAUNCH_START does before it compares the policy."""
        command = "LAUNCH_START"
        if len(session) != SESSION_SIZE:
            raise LaunchError(command, Status.INVALID_LEN, f"a session of {len(session)} bytes, not 128")
        if len(dh_cert) != CERTIFICATE_SIZE:
            reason = f"a certificate of {len(dh_cert)} bytes, not {CERTIFICATE_SIZE}"
            raise LaunchError(command, Status.INVALID_LEN, reason)
        usage, algorithm = (int.from_bytes(dh_cert[at : at + 4], "little") for at in (8, 12))
        if (usage, algorithm) != (PDH, ECDH_SHA256):
            reason = f"a key of usage {usage:#x} and algorithm {algorithm:#x}, not a PDH's"
            raise LaunchError(command, Status.INVALID_CERTIFICATE, reason)
        opened = Session.decode(session, "the session")
        shared = self._agree(dh_cert)
        if shared is None:
            raise LaunchError(command, Status.INVALID_CERTIFICATE, "the owner's key is none of P-384")
        keys = opened.unwrap(shared)
        if keys is None:
            reason = "the session's keys were wrapped for another platform, or altered"
            raise LaunchError(command, Status.BAD_MEASUREMENT, reason)
        if not opened.is_for(policy, keys.tik):
            reason = f"the session is for another policy than {policy:#x}"
            raise LaunchError(command, Status.BAD_MEASUREMENT, reason)
        self._keys = keys

    def _agree(self, dh_cert: bytes) -> bytes | None:
        """Return the secret shared with who made a certificate, None for one whose key is no point."""
        name = "the owner's certificate"
        try:
            return shared_secret(self._pdh, curve_key(dh_cert[16 : 16 + KEY_SIZE], name), name)
        except SevbuildError:
            return None

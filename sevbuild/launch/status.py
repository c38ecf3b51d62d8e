"""The secure processor's status codes, as the launch commands return them."""

from __future__ import annotations

from enum import IntEnum

from sevbuild.errors import SevbuildError

__all__ = ["LaunchError", "Status"]


class Status(IntEnum):
    """The statuses that the modelled commands can return (SEV API table 5-1, uapi psp-sev.h)."""

    INVALID_PLATFORM_STATE = 0x01
    INVALID_GUEST_STATE = 0x02
    INVALID_LEN = 0x04
    INVALID_CERTIFICATE = 0x06
    POLICY_FAILURE = 0x07
    INVALID_ADDRESS = 0x09
    BAD_SIGNATURE = 0x0A
    BAD_MEASUREMENT = 0x0B
    INVALID_GUEST = 0x10
    UNSUPPORTED = 0x15
    INVALID_PARAM = 0x16
    INVALID_PAGE_STATE = 0x1A


class LaunchError(SevbuildError):
    """A launch command refused, with the status the firmware would return.

    QEMU prints the same number as `fw_error=N`, in decimal.
    """

    def __init__(self, command: str, status: Status, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{command}: {status.name} (fw_error={status.value}): {reason}", hint=hint)
        self.command = command
        self.status = status

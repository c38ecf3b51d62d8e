"""The batching front of 2019: updates in any order from any caller, forwarded in one order.

A kernel-list proposal of that year (spinics.net/lists/kvm/msg184483.html) asks the kernel to collect all
LAUNCH_UPDATE_DATA and LAUNCH_UPDATE_VMSA calls and to forward them when the launch is measured: data by
guest address, then VMSAs by vCPU number. Then the same contents give the same launch digest, whoever
issues the calls.
"""

from __future__ import annotations

from bisect import bisect_right

from sevbuild.launch.page_type import PAGE_SIZE, PageType
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate

__all__ = ["LaunchBatch"]

_COMMAND = "launch batch"


class LaunchBatch:
    """The launch updates of one guest, forwarded in canonical order.

    Refuses what would make the order or the contents ambiguous: overlapping data, a vCPU given twice, a
    missing vCPU, a call after `finish`. Errors carry the firmware's status names.
    """

    __slots__ = ("_data", "_finished", "_starts", "_vmsas")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._data: list[LaunchUpdate] = []
        self._vmsas: dict[int, LaunchUpdate] = {}
        self._finished = False

    def update_data(self, update: LaunchUpdate) -> None:
        """Accept one region of guest memory, anything but a VMSA."""
        self._open(update)
        if update.page_type == PageType.VMSA:
            reason = "a VMSA belongs to a vCPU: use update_vmsa"
            raise LaunchError(self._name(update), Status.INVALID_PARAM, reason)
        if update.length <= 0:
            raise LaunchError(self._name(update), Status.INVALID_LEN, f"{update.length} bytes")
        at = bisect_right(self._starts, update.gpa)
        neighbours = self._data[max(at - 1, 0) : at + 1]
        for other in neighbours:
            if other.gpa < update.end and update.gpa < other.end:
                reason = (
                    f"{update.gpa:#x}..{update.end - 1:#x} overlaps {other.gpa:#x}..{other.end - 1:#x} "
                    f"({other.origin})"
                )
                raise LaunchError(self._name(update), Status.INVALID_PAGE_STATE, reason)
        self._starts.insert(at, update.gpa)
        self._data.insert(at, update)

    def update_vmsa(self, vcpu: int, update: LaunchUpdate) -> None:
        """Accept the initial register page of vCPU number `vcpu`, counted from 0."""
        self._open(update)
        if update.page_type != PageType.VMSA:
            reason = f"a {update.page_type.label} page is not a VMSA: use update_data"
            raise LaunchError(self._name(update), Status.INVALID_PARAM, reason)
        if update.length != PAGE_SIZE:
            raise LaunchError(self._name(update), Status.INVALID_LEN, "a VMSA is 4096 bytes")
        if vcpu < 0:
            raise LaunchError(self._name(update), Status.INVALID_PARAM, f"there is no vCPU {vcpu}")
        if vcpu in self._vmsas:
            raise LaunchError(
                self._name(update), Status.INVALID_PAGE_STATE, f"vCPU {vcpu} already has a VMSA"
            )
        self._vmsas[vcpu] = update

    def finish(self) -> tuple[LaunchUpdate, ...]:
        """Close the batch and return its updates in canonical order."""
        if self._finished:
            raise LaunchError(_COMMAND, Status.INVALID_GUEST_STATE, "the batch is already finished")
        missing = [vcpu for vcpu in range(max(self._vmsas, default=-1)) if vcpu not in self._vmsas]
        if missing:
            reason = f"vCPU {missing[0]} has no VMSA and vCPU {max(self._vmsas)} has one"
            raise LaunchError(_COMMAND, Status.INVALID_PARAM, reason)
        self._finished = True
        return (*self._data, *(self._vmsas[vcpu] for vcpu in range(len(self._vmsas))))

    def _open(self, update: LaunchUpdate) -> None:
        if self._finished:
            reason = "the batch is finished"
            raise LaunchError(self._name(update), Status.INVALID_GUEST_STATE, reason)

    @staticmethod
    def _name(update: LaunchUpdate) -> str:
        return f"{_COMMAND} ({update.origin})"

"""A recorded launch, run by the model of the secure processor: what it takes, and what it makes of that."""

from __future__ import annotations

from typing import NamedTuple, cast

from sevbuild.diagnose.replay.events import (
    Event,
    Finish,
    HostRefusal,
    Launch,
    Measure,
    Start,
    State,
    UnknownCommand,
    Update,
)
from sevbuild.diagnose.replay.planned import PlannedBytes, Unknown
from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.page_type import MEASURED_CONTENTS, PAGE_SIZE, PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.sev_guest import SevGuest, SevGuestState
from sevbuild.launch.snp_guest import SnpGuest
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate

__all__ = ["Ran", "Refused", "Step", "run_launch"]

_NO_OWNER = bytes(16)
_MEASURING = "launch-secret"
"""The state in which QEMU holds a guest once it was measured (qapi/misc-i386.json: SevState)."""

_FIRMWARE_END = 1 << 32
"""Firmware ends where the reset vector is, below 4 GiB."""


class Refused(NamedTuple):
    """A command that the secure processor does not take: where it stands, and the model's error."""

    line: int
    error: LaunchError


class Step(NamedTuple):
    """A launch update as it was launched, and the launch digest after it.

    `update` is what of the trace it is, None for what the plan adds. `contents` says where they are from:
    `trace`, `plan`, `none` where none are measured, `unknown`. The digest is None where it depends on what is
    unknown, and where the command was refused.
    """

    update: Update | None
    launched: LaunchUpdate
    contents: str
    digest: bytes | None = None
    refused: bool = False


class Ran(NamedTuple):
    """What the model made of a launch.

    `finished` tells whether it took LAUNCH_FINISH, and, where the trace shows states, that the host did so.
    `digest` is the launch digest, None where contents are unknown or the launch was not finished. `unheld`
    says what of LAUNCH_FINISH was held to nothing.
    """

    mode: Mode
    steps: tuple[Step, ...]
    refused: tuple[Refused, ...]
    by_host: tuple[HostRefusal, ...]
    finished: bool
    digest: bytes | None
    seeded: tuple[Update, ...] = ()
    unheld: tuple[str, ...] = ()

    @property
    def takes_of_plan(self) -> bool:
        """Tell whether contents or VMSAs are the plan's, for the trace has none."""
        return any(step.contents == "plan" for step in self.steps) or bool(self.seeded)


class _Identity(NamedTuple):
    """An ID block as the model holds a launch to it; without its authentication no signature is checked."""

    launch_digest: bytes
    policy: int
    refused: tuple[Status, str] | None

    def refusal(self) -> tuple[Status, str] | None:
        """Return the status and the reason with which the signatures are refused."""
        return self.refused


def run_launch(launch: Launch, mode: Mode, plan: LaunchPlan | None, hasher: PageHasher) -> Ran:
    """Return what the model makes of a launch; what contents and VMSAs it lacks are those of a plan.

    A command that is refused changes nothing, and the launch goes on with the next one.
    """
    runner = _Runner(launch, mode, plan, hasher)
    for event in launch.events:
        runner.take(event)
    return runner.ran()


class _Runner:
    """One run: the model's guest, and what is known so far."""

    def __init__(self, launch: Launch, mode: Mode, plan: LaunchPlan | None, hasher: PageHasher) -> None:
        self._mode = mode
        self._guest = SnpGuest(hasher=hasher) if mode == "snp" else SevGuest()
        self._bytes = PlannedBytes(() if plan is None else plan.regions)
        updates = () if plan is None else plan.updates
        self._planned_vmsas = [update for update in updates if update.page_type == PageType.VMSA]
        traced = any(update.is_vmsa for update in launch.updates)
        # KVM launches VMSAs by itself, and QEMU traces none: they are then added, if all come last.
        last = plan is not None and list(plan.vmsas) == self._planned_vmsas
        self._vmsas = self._planned_vmsas if last and not traced else []
        self._seen_vmsas = 0
        self._stand_in = 0
        self._has_vmsas = bool(self._vmsas) or traced
        self._seed = None if plan is None else plan.seed
        self._seeded: list[Update] = []
        self._unheld: list[str] = []
        self._known = True
        self._steps: list[Step] = []
        self._refused: list[Refused] = []
        self._by_host: list[HostRefusal] = []
        self._states = any(isinstance(event, State) for event in launch.events)
        self._running = False
        self._finished = False

    def take(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, HostRefusal):
            self._by_host.append(event)
        elif isinstance(event, Update):
            self._update(event)
        elif not isinstance(event, UnknownCommand):
            try:
                self._command(event)
            except LaunchError as error:
                self._refused.append(Refused(event.line, error))

    def ran(self) -> Ran:
        """Return what became of the launch."""
        finished = self._finished and not self._by_host and (self._running or not self._states)
        # An SNP or SEV-ES guest without a VMSA has not been launched as a whole.
        whole = finished and self._known and (self._mode == "sev" or self._has_vmsas)
        digest = self._guest.launch_digest if whole else None
        return Ran(
            self._mode,
            tuple(self._steps),
            tuple(self._refused),
            tuple(self._by_host),
            finished,
            digest,
            tuple(self._seeded),
            tuple(self._unheld),
        )

    def _command(self, event: Start | Measure | Finish | State) -> None:
        guest = self._guest
        if isinstance(event, State):
            self._running |= event.new == "running" and self._finished
            # QEMU changes the state before it says the measurement.
            if event.new == _MEASURING and isinstance(guest, SevGuest) and not self._is_measured():
                self._measure(event.line)
        elif isinstance(event, Start):
            if isinstance(guest, SnpGuest):
                guest.launch_start(event.policy, seed=self._seed)
            else:
                guest.launch_start(event.policy)
        elif isinstance(event, Measure):
            if not (self._states and self._is_measured()):
                self._measure(event.line)
        else:
            self._finish(event)

    def _is_measured(self) -> bool:
        return isinstance(self._guest, SevGuest) and self._guest.state == SevGuestState.LSECRET

    def _measure(self, line: int) -> None:
        if isinstance(self._guest, SevGuest):
            self._add_vmsas(line)
            # No guest owner's keys enter here; the digest under the measurement does not depend on them.
            self._guest.launch_measure(_NO_OWNER, _NO_OWNER)

    def _finish(self, event: Finish) -> None:
        if isinstance(self._guest, SnpGuest):
            self._add_vmsas(event.line)
            self._guest.launch_finish(identity=self._identity(event))
        else:
            self._guest.launch_finish()
        self._finished = True

    def _identity(self, event: Finish) -> _Identity | None:
        """Return the ID block that the launch is held to, None where there is none or it cannot be."""
        if event.id_block is None:
            return None
        from sevbuild.identity.firmware import GivenIdBlock

        try:
            given = GivenIdBlock.of(event.id_block, event.id_auth or b"", author_key=event.author_key)
        except SevbuildError as error:
            self._unheld.append(f"the ID block of line {event.line} is not compared: {error.message}")
            return None
        if not (self._known and self._has_vmsas):
            wanted = given.launch_digest.hex()
            self._unheld.append(f"the ID block of line {event.line} is not compared; it is for {wanted}")
            return None
        if event.id_auth is None:
            self._unheld.append(
                f"no signature of the ID block of line {event.line} is checked: it is not there"
            )
        refused = None if event.id_auth is None else given.refusal()
        return _Identity(given.launch_digest, given.policy, refused)

    def _add_vmsas(self, line: int) -> None:
        added, self._vmsas = self._vmsas, []
        for update in added:
            self._launch(line, None, update, "plan")

    def _update(self, event: Update) -> None:
        if self._is_seeded(event):
            self._seeded.append(event)
            return
        contents, launched = self._resolved(event)
        self._launch(event.line, event, launched, contents)

    def _launch(self, line: int, event: Update | None, launched: LaunchUpdate, contents: str) -> None:
        try:
            self._guest.launch_update(launched)
        except LaunchError as error:
            self._refused.append(Refused(line, error))
            self._steps.append(Step(event, launched, contents, refused=True))
            return
        self._known &= contents != "unknown"
        digest = self._guest.launch_digest if self._known else None
        self._steps.append(Step(event, launched, contents, digest))

    def _resolved(self, event: Update) -> tuple[str, LaunchUpdate]:
        """Return where the contents of an update are from, and the update as it is launched."""
        gpa = self._address(event)
        planned = self._planned_vmsa(event) if event.is_vmsa else None
        origin = f"line {event.line}"
        if planned is not None:
            origin = planned.origin
        elif event.gpa is not None:
            origin = self._bytes.origin(event.gpa) or origin
        # What is no page type is refused by the model.
        kind = cast("PageType", event.page_type)
        permissions = event.vmpl_permissions or (0, 0, 0)
        if event.page_type not in MEASURED_CONTENTS:
            # Without an address nothing of an SNP launch is known.
            known = "none" if event.gpa is not None else "unknown"
            return known, LaunchUpdate(gpa, kind, event.length, None, origin, permissions)
        data, source = event.data, "trace"
        if data is None and planned is not None:
            data, source = planned.data, "plan"
        elif data is None and event.gpa is not None and not event.is_vmsa:
            data, source = self._bytes.at(event.gpa, event.length), "plan"
        if data is None or (self._mode == "snp" and event.gpa is None):
            data, source = Unknown(max(event.length, 0)), "unknown"
        return source, LaunchUpdate(gpa, kind, event.length, data, origin, permissions)

    def _planned_vmsa(self, event: Update) -> LaunchUpdate | None:
        """Return the plan's VMSA of a vCPU, whose number is that of the order where the trace says none."""
        vcpu = self._seen_vmsas if event.vcpu is None else event.vcpu
        self._seen_vmsas += 1
        return self._planned_vmsas[vcpu] if vcpu < len(self._planned_vmsas) else None

    def _address(self, event: Update) -> int:
        """Return where an update goes; where a trace does not say, to one that no other has."""
        if event.gpa is not None:
            return event.gpa
        gpa = self._stand_in
        self._stand_in += max(event.length, 0) + -max(event.length, 0) % PAGE_SIZE
        return gpa

    def _is_seeded(self, event: Update) -> bool:
        """Tell whether an update is of the firmware that a seed stands for: the pages below 4 GiB, first."""
        if self._seed is None or self._steps or event.page_type != PageType.NORMAL or event.gpa is None:
            return False
        return event.gpa + event.length <= _FIRMWARE_END and self._bytes.at(event.gpa, 1) is None

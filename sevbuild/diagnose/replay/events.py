"""What a trace records of a launch: the commands a hypervisor issued, each with the line it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sevbuild.documents.document import U32, U64
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import Contents

__all__ = [
    "Event",
    "Finish",
    "HostRefusal",
    "Launch",
    "Measure",
    "Recorded",
    "Start",
    "State",
    "Trace",
    "UnknownCommand",
    "Update",
]


class Start(NamedTuple):
    """LAUNCH_START; QEMU does not say in which mode an SEV guest is, its policy does."""

    line: int
    mode: Mode
    policy: int

    @property
    def is_possible(self) -> bool:
        """Tell whether the policy has no more bits than the command takes: 64, of SEV 32."""
        return self.policy <= (U64 if self.mode == "snp" else U32)


class Update(NamedTuple):
    """One launch update as it was issued; what a trace does not say is None.

    `lines` are all that it stands in: more than one where it was tried again. `page_type` is the number that
    was passed on, which may be none of PageType. `host` is the address of the contents in the hypervisor, and
    says no more than which regions lie side by side there. `data` are the contents, `digest` is that of them
    (SHA-384 for SNP, else SHA-256).
    """

    lines: tuple[int, ...]
    page_type: int
    length: int
    gpa: int | None = None
    host: int | None = None
    vcpu: int | None = None
    data: Contents | None = None
    digest: bytes | None = None
    vmpl_permissions: tuple[int, int, int] | None = None

    @property
    def line(self) -> int:
        """Return the line that it begins in."""
        return self.lines[0]

    @property
    def is_vmsa(self) -> bool:
        """Tell whether this is the VMSA of a vCPU."""
        return self.page_type == PageType.VMSA


class Measure(NamedTuple):
    """LAUNCH_MEASURE of an SEV launch; `data` are the 48 bytes of measurement and nonce, None without."""

    line: int
    data: bytes | None = None


class Finish(NamedTuple):
    """LAUNCH_FINISH: the ID block it was given, and the launch digest that the hypervisor says it has.

    Of an ID block or authentication that cannot be read there are no bytes; one that is not there is None.
    """

    line: int
    id_block: bytes | None = None
    id_auth: bytes | None = None
    author_key: bool = False
    digest: bytes | None = None


class State(NamedTuple):
    """QEMU's own word for the guest's state, which it changes once a command has succeeded."""

    line: int
    new: str


class HostRefusal(NamedTuple):
    """A command that the host's own firmware, or KVM before it, refused, as QEMU says on standard error."""

    line: int
    command: str
    code: int
    fw_error: int


class UnknownCommand(NamedTuple):
    """An event that by its name is of a launch, and is not known: it may have launched something."""

    line: int
    name: str


Event = Start | Update | Measure | Finish | State | HostRefusal | UnknownCommand


class Recorded(NamedTuple):
    """An event with whose it is: a process, or a guest by name; None where the trace does not say."""

    event: Event
    owner: str | None = None


class Launch(NamedTuple):
    """What was recorded of one guest, in order; the first event is its start where the trace has that."""

    events: tuple[Event, ...]

    @property
    def start(self) -> Start | None:
        """Return the LAUNCH_START, None where the trace has none."""
        return next((event for event in self.events if isinstance(event, Start)), None)

    @property
    def updates(self) -> tuple[Update, ...]:
        """Return the launch updates in the order in which they were issued."""
        return tuple(event for event in self.events if isinstance(event, Update))

    @property
    def finish(self) -> Finish | None:
        """Return the first LAUNCH_FINISH, None where there is none."""
        return next((event for event in self.events if isinstance(event, Finish)), None)

    @property
    def lines(self) -> tuple[int, int]:
        """Return the first and the last line."""
        last = self.events[-1]
        return self.events[0].line, last.lines[-1] if isinstance(last, Update) else last.line


class Trace(NamedTuple):
    """One trace: its launches, and what else stands in it.

    `form` is `trace-events` (of QEMU) or `json-lines` (ours). `others` counts by name the events that are
    known and launch nothing, `unknown` those that are not known; `igvm` are the files that QEMU says it
    loaded.
    """

    source: str
    form: str
    launches: tuple[Launch, ...]
    others: Mapping[str, int]
    unknown: Mapping[str, int]
    igvm: tuple[str, ...] = ()

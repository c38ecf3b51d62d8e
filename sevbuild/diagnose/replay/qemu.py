"""QEMU's trace events of a launch (target/i386/trace-events, backends/trace-events), read from text.

`-trace 'kvm_sev_*'` has it write them. The backends log and syslog write an event as its format string says,
ftrace and SystemTap's log script put more before it than PROCESS@TIME; simpletrace.py and babeltrace write
KEY=VALUE. Forks for SNP from before QEMU 9.1 had other arguments: all forms that were found are here. No time
is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sevbuild.diagnose.replay.events import (
    Event,
    Finish,
    HostRefusal,
    Launch,
    Measure,
    Recorded,
    Start,
    State,
    Trace,
    UnknownCommand,
    Update,
)
from sevbuild.documents.binary_text import base64_bytes
from sevbuild.errors import SevbuildError
from sevbuild.launch.page_type import PageType, page_type_named
from sevbuild.launch.policy import SevPolicy

__all__ = ["QemuTrace", "joined_retries"]

# A log may begin with QEMU's own command line, which names the events that are to be traced.
_NAME = re.compile(
    r"(?:^|(?<=[\s:>\]]))(?<!-trace )(?<!trace:)"
    r"((?:kvm_sev|kvm_memcrypt|igvm)_\w+|sev_handle_reset)(?=[\s:]|$)"
)

# Whose line it is: `1234@1700000000.1234:`, `qemu-system-x86_64[1234]:`, ftrace's `-1234 [003]`, `pid=1234`.
_PROCESS = re.compile(
    r"(?<!\d)(\d{1,10})@\d|\[(\d{1,10})\]:|-(\d{1,10}) {1,8}\[\d{3}\]|\bpid=(\d{1,10})(?!\d)"
)

# What QEMU says on standard error, which often goes to the same place (target/i386/sev.c).
_REFUSED = re.compile(r"\b((?:SNP_)?LAUNCH_[A-Z_]+) ret=(-?\d{1,9}) fw_error=(-?\d{1,9})\b")

_HEX = r"(?:0x)?[0-9a-f]{1,16}"
_POINTER = rf"(?:{_HEX}|\(nil\))"
_TEXT = r"\S+"


class _Kind(NamedTuple):
    """One event: the forms of its text with an argument a group, and what it is a record of.

    `keys` are the arguments that KEY=VALUE must have.
    """

    keys: tuple[str, ...]
    make: Callable[[int, Mapping[str, str]], Event]
    forms: tuple[re.Pattern[str], ...]


def _kind(make: Callable[[int, Mapping[str, str]], Event], keys: str, *forms: str) -> _Kind:
    return _Kind(tuple(keys.split()), make, tuple(re.compile(form) for form in forms))


def _snp_start(line: int, found: Mapping[str, str]) -> Event:
    return Start(line, "snp", _number(found["policy"]))


def _sev_start(line: int, found: Mapping[str, str]) -> Event:
    policy = _number(found["policy"])
    return Start(line, "sev-es" if SevPolicy(policy).es else "sev", policy)


def _snp_update(line: int, found: Mapping[str, str]) -> Event:
    word = found["type"]
    kind = page_type_named(word.lower())
    number = int(word) if kind is None and word.isdecimal() else kind or 0
    gpa, host = found.get("gpa"), found.get("src") or found.get("addr")
    return Update(
        (line,),
        number,
        _number(found["len"]),
        None if gpa is None else _number(gpa),
        None if host is None else _number(host),
    )


def _sev_update(line: int, found: Mapping[str, str]) -> Event:
    return Update((line,), PageType.NORMAL, _number(found["len"]), None, _number(found["addr"]))


def _measure(line: int, found: Mapping[str, str]) -> Event:
    return Measure(line, base64_bytes(found.get("value") or found["data"]))


def _snp_finish(line: int, found: Mapping[str, str]) -> Event:
    return Finish(line, _given(found.get("id_block")), _given(found.get("id_auth")))


def _sev_finish(line: int, _found: Mapping[str, str]) -> Event:
    return Finish(line)


def _state(line: int, found: Mapping[str, str]) -> Event:
    return State(line, found["new"])


_KINDS = {
    "kvm_sev_snp_launch_start": _kind(
        _snp_start, "policy", rf"policy (?P<policy>{_HEX})(?: gosvw {_TEXT}(?: .*)?)?"
    ),
    "kvm_sev_snp_launch_update": _kind(
        _snp_update,
        "gpa len type",
        rf"(?:src|addr) (?P<src>{_POINTER}) gpa (?P<gpa>{_HEX}) len (?P<len>{_HEX}) \((?P<type>\w+) page\)",
        # The forks of 2021 and 2022 had no address of the guest.
        rf"addr (?P<src>{_POINTER}) len (?P<len>{_HEX}) type (?P<type>\d{{1,9}})",
    ),
    "kvm_sev_snp_launch_finish": _kind(
        _snp_finish,
        "id_block id_auth",
        rf"id_block (?P<id_block>{_TEXT}) id_auth (?P<id_auth>{_TEXT}) host_data {_TEXT}",
        "",
    ),
    "kvm_sev_launch_start": _kind(
        _sev_start, "policy", rf"policy (?P<policy>{_HEX}) session {_TEXT} pdh {_TEXT}"
    ),
    "kvm_sev_launch_update_data": _kind(
        _sev_update, "addr len", rf"addr (?P<addr>{_POINTER}) len (?P<len>{_HEX})"
    ),
    "kvm_sev_launch_measurement": _kind(_measure, "value", rf"data (?P<data>{_TEXT})"),
    "kvm_sev_launch_finish": _kind(_sev_finish, "", ""),
    "kvm_sev_change_state": _kind(_state, "new", rf"{_TEXT} -> (?P<new>{_TEXT})"),
}

_OTHERS = frozenset(
    [
        "kvm_sev_init",
        "kvm_memcrypt_register_region",
        "kvm_memcrypt_unregister_region",
        "kvm_sev_launch_secret",
        "kvm_sev_attestation_report",
        "kvm_sev_send_start",
        "kvm_sev_send_update_data",
        "kvm_sev_send_finish",
        "kvm_sev_snp_check_vmsa_sev_features",
        "kvm_sev_snp_ovmf_boot_block_info",
        "sev_handle_reset",
        "igvm_reset_enter",
        "igvm_reset_hold",
        "igvm_reset_exit",
        "igvm_file_loaded",
        "igvm_process_file",
    ]
)
"""Events that launch nothing, as far as they are known."""

_LAUNCHING = "_launch_"
"""What the name of a command of a launch has in it, that of one to come as well."""

_CUT = 512
"""SystemTap's log script prints no more of a string (QEMU scripts/tracetool/format/log_stap.py)."""

_LOADED = re.compile(r"\bfn=(.*?),? +handle=")


class QemuTrace:
    """A trace of QEMU as it is read, line by line."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.recorded: list[Recorded] = []
        self.others: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.igvm: list[str] = []

    def add(self, number: int, line: str) -> None:
        """Take one line, which may be anything; raises SevbuildError for a launch event that is not whole."""
        names = list(_NAME.finditer(line))
        if not names:
            self._add_refusal(number, line)
            return
        kinds = [match[1] for match in names if match[1] in _KINDS]
        if len(kinds) > 1:
            message = f"{self._source}:{number}: {kinds[0]} and {kinds[1]} in one line"
            hint = "two writers got in each other's way: -D FILE gives the trace a file of its own"
            raise SevbuildError(message, hint=hint)
        match = names[0]
        name, rest = match[1], line[match.end() :]
        kind = _KINDS.get(name)
        if kind is not None:
            arguments = _arguments(kind, rest.lstrip(": ").rstrip())
            event = None if arguments is None else kind.make(number, arguments)
            if event is None or (isinstance(event, Start) and not event.is_possible):
                message = f"{self._source}:{number}: {name} with other arguments than QEMU gives it"
                hint = "the line may be cut, or of a version of QEMU that is not known here"
                raise SevbuildError(message, hint=hint)
            self.recorded.append(Recorded(event, _process(line, match.start())))
            return
        count = self.others if name in _OTHERS else self.unknown
        count[name] = count.get(name, 0) + 1
        if count is self.unknown and _LAUNCHING in name:
            self.recorded.append(Recorded(UnknownCommand(number, name), _process(line, match.start())))
        loaded = _LOADED.search(rest) if name == "igvm_file_loaded" else None
        if loaded is not None:
            self.igvm.append(loaded[1].strip("\"'"))

    def trace(self, launches: tuple[Launch, ...]) -> Trace:
        """Return the trace as a whole."""
        return Trace(self._source, "trace-events", launches, self.others, self.unknown, tuple(self.igvm))

    def _add_refusal(self, number: int, line: str) -> None:
        refused = _REFUSED.search(line)
        if refused is not None:
            code, fw_error = int(refused[2]), int(refused[3])
            event = HostRefusal(number, refused[1], code, fw_error)
            self.recorded.append(Recorded(event, _process(line, refused.start())))


def joined_retries(events: list[Event]) -> tuple[Event, ...]:
    """Return the events of one guest in which an update that was tried again is one update.

    QEMU's loop says each attempt before it makes it, and goes on where KVM stopped with -EAGAIN: the rest of
    the range, or the whole range again (target/i386/sev.c: sev_snp_launch_update). The address of the
    contents goes on with it, except for zero pages, whose contents KVM does not look at.
    """
    found: list[Event] = []
    whole: Update | None = None
    tried: Update | None = None
    for event in events:
        if isinstance(event, Update) and whole is not None and tried is not None and _goes_on(tried, event):
            whole = found[-1] = whole._replace(lines=(*whole.lines, *event.lines))
        else:
            found.append(event)
            whole = event if isinstance(event, Update) else None
        tried = event if isinstance(event, Update) else None
    return tuple(found)


def _goes_on(tried: Update, again: Update) -> bool:
    """Tell whether an attempt is for what an earlier one left of its range."""
    if tried.gpa is None or again.gpa is None or tried.page_type != again.page_type:
        return False
    done = again.gpa - tried.gpa
    if done < 0 or again.length <= 0 or again.gpa + again.length != tried.gpa + tried.length:
        return False
    moved = 0 if tried.host is None or again.host is None else again.host - tried.host
    return moved == done or (moved == 0 and again.page_type == PageType.ZERO)


def _arguments(kind: _Kind, text: str) -> dict[str, str] | None:
    text = _AROUND.sub("", text)
    for form in kind.forms:
        match = form.fullmatch(text)
        if match is not None:
            return match.groupdict()
    found = {key: value for key, value in _keyed(text) if key in _ARGUMENTS}
    if not kind.keys or not all(key in found for key in kind.keys):
        return None
    return found if all(_is_number(found[key]) for key in _NUMBERS & found.keys()) else None


_NUMBERS = frozenset(["policy", "src", "addr", "gpa", "len"])
_ARGUMENTS = _NUMBERS | frozenset(["type", "id_block", "id_auth", "value", "new"])
_KEYED = re.compile(r"\b(\w+) ?= ?(?:b?'([^']*)'|\"([^\"]*)\"|([^\s,}]+))")
# simpletrace.py puts the time since the event before and the process first, babeltrace braces around all.
_AROUND = re.compile(r"^\d+\.\d+ pid=\d+ ?|^\{ cpu_id = \d+ \}, \{ ?| ?\}$")


def _keyed(text: str) -> list[tuple[str, str]]:
    """Return what stands in KEY=VALUE, with numbers as hexadecimal digits."""
    found = []
    for match in _KEYED.finditer(text):
        value = match[2] or match[3] or match[4] or ""
        if match[1] in _NUMBERS and value.isascii() and value.isdecimal() and len(value) <= 20:
            value = f"{int(value):#x}"
        found.append((match[1], value))
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(_HEX, text) is not None


def _number(text: str) -> int:
    return 0 if text == "(nil)" else int(text, 16)


def _given(text: str | None) -> bytes | None:
    """Return the bytes of a string argument in base64, None where QEMU has none or SystemTap cut it."""
    if text is None or text in ("", "(null)", "<null>") or len(text) == _CUT:
        return None
    return base64_bytes(text) or b""


def _process(line: str, before: int) -> str | None:
    match = _PROCESS.search(line, 0, before) or _PROCESS.search(line)
    return None if match is None else next(filter(None, match.groups()))

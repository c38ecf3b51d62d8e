"""QEMU's trace events are read in every form in which they are written, and nothing else is."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.replay.events import Finish, HostRefusal, Measure, Start, State, Update
from sevbuild.diagnose.replay.replay import Planned, Replay, replay_launch
from sevbuild.diagnose.replay.trace import chosen_launch, parse_trace
from sevbuild.errors import SevbuildError
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.text import decode_text
from tests.support.guests import guest_of
from tests.support.launches import launching_guest
from tests.support.shared import ROOT
from tests.support.traces import qemu_events, qemu_trace, text_of

START = "kvm_sev_snp_launch_start policy 0x30000 gosvw (null)"
ZERO = "kvm_sev_snp_launch_update src 0x7f00 gpa 0x800000 len 0x2000 (Zero page)"

AMDSEV_195 = """\
kvm_sev_init type SEV-SNP flags 0x0
qemu-system-x86_64: warning: Restricted memory (UPM) enabled, disabling SMM. Memory discard mode: none
kvm_sev_snp_launch_start policy 0x30000 gosvw (null)
kvm_sev_change_state uninit -> launch-update
qemu-system-x86_64: warning: kvm_create_gmemfd: created memfd: 18, size: 400000, flags: 1
kvm_sev_snp_launch_update addr 0x7f1c21800000 gpa 0xffc00000 len 0x400000 (Normal page)
kvm_sev_snp_launch_update addr 0x7f1b9c600000 gpa 0x800000 len 0x9000 (Zero page)
kvm_sev_snp_launch_update addr 0x7f1b9c60a000 gpa 0x80a000 len 0x3000 (Zero page)
kvm_sev_snp_launch_update addr 0x7f1b9c60d000 gpa 0x80d000 len 0x1000 (Secrets page)
kvm_sev_snp_launch_update addr 0x7f1b9c60e000 gpa 0x80e000 len 0x1000 (Cpuid page)
kvm_sev_snp_launch_update addr 0x7f1b9c60f000 gpa 0x80f000 len 0x1000 (Normal page)
kvm_sev_snp_launch_update addr 0x7f1b9c610000 gpa 0x810000 len 0x10000 (Zero page)
"""
"""The launch that a user of AMDESE/AMDSEV#195 shows, with a fork of 2023: up to its last update."""


def launch_events(text: str) -> tuple[object, ...]:
    trace = parse_trace(text, "trace.log", ".")
    return chosen_launch(trace, None).events


def hello_plan(folder: Path, mode: str = "snp") -> LaunchPlan:
    shutil.copy(ROOT / "guests" / "hello" / "hello.fd", folder)
    guest = guest_of(folder, launch={"mode": mode}, firmware={"path": "hello.fd"})
    return guest.plan(guest.targets[0])


def replayed(text: str, plan: LaunchPlan | None = None) -> Replay:
    trace = parse_trace(text, "trace.log", ".")
    return replay_launch(trace, chosen_launch(trace, None), None if plan is None else Planned("it", plan))


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "1234@1700000000.123456:",
        "1234@1700000000.123456: ",
        "1234@1700000000123456789 ",
        "Nov 25 14:13:57 host qemu-system-x86_64[1234]: ",
        " qemu-system-x86-1234    [003] .....  1234.567890: tracing_mark_write: ",
        "2026-11-25 13:13:57.123+0000: 1234@1700000000.123456:",
    ],
)
@pytest.mark.parametrize("mode", ["snp", "sev", "sev-es"])
def test_a_trace_is_read_whatever_stands_before_its_events(prefix: str, mode: str, tmp_path: Path) -> None:
    plan = hello_plan(tmp_path, mode)
    found = replayed(qemu_trace(plan, prefix=prefix), plan)
    assert found.parting is None
    assert len(found.launch.updates) == len(plan.regions)
    # What is the same but for a time is the same.
    plain = replayed(qemu_trace(plan), plan)
    assert found.launch == plain.launch


def test_an_snp_trace_gives_the_digest_of_the_plan(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    found = replayed(qemu_trace(plan), plan)
    assert found.ran.digest == found.planned_digest
    assert found.canonical == found.planned_canonical
    assert found.same_in_canonical_order
    assert {step.contents for step in found.ran.steps} == {"plan", "none"}


@pytest.mark.parametrize("mode", ["sev", "sev-es"])
def test_a_trace_of_an_sev_guest_gives_no_digest(mode: str, tmp_path: Path) -> None:
    plan = hello_plan(tmp_path, mode)
    found = replayed(qemu_trace(plan), plan)
    assert found.parting is None
    assert found.ran.finished
    assert (found.ran.digest, found.canonical.digest, found.same_in_canonical_order) == (None, None, None)


def test_a_measurement_is_none_of_an_snp_guest(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    lines = qemu_events(plan)
    lines[5:5] = [
        "kvm_sev_launch_measurement data AAAA",
        "kvm_sev_change_state launch-update -> launch-secret",
    ]
    found = replayed(text_of(lines), plan)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest


def test_a_measurement_is_made_once_whatever_says_it_first(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path, "sev-es")
    lines = qemu_events(plan)
    assert replayed(text_of(line for line in lines if "change_state" not in line), plan).parting is None
    again = lines.index(next(line for line in lines if "measurement" in line))
    assert replayed(text_of([*lines[:again], lines[again], *lines[again:]]), plan).parting is None
    without = [line for line in lines if "change_state" not in line]
    at = without.index(next(line for line in without if "measurement" in line))
    found = replayed(text_of([*without[:at], without[at], *without[at:]]), plan).parting
    assert found is not None
    assert found.what == "refused"


def test_the_forks_of_2023_say_the_same(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    assert replayed(qemu_trace(plan, form="addr"), plan).parting is None


def test_the_forks_of_2021_have_order_types_and_lengths(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    text = qemu_trace(plan, form="type")
    found = replayed(text, plan)
    assert found.parting is None
    assert found.ran.refused == ()
    assert found.ran.digest is None
    other = replayed(text.replace("len 0x3000 type 3", "len 0x4000 type 3"), plan).parting
    assert other is not None
    assert (other.what, other.line, other.step) == ("length", 6, 2)
    other = replayed(text.replace("len 0x3000 type 3", "len 0x3000 type 9"), plan).parting
    assert other is not None
    assert (other.what, other.trace, other.plan) == ("page-type", "page type 9", "zero")


def test_the_launch_of_amdsev_195_is_read(tmp_path: Path) -> None:
    text = AMDSEV_195 + "kvm_sev_snp_launch_finish id_block (null) id_auth (null) host_data (null)\n"
    refused = (
        "qemu-system-x86_64: sev_snp_launch_finish: SNP_LAUNCH_FINISH ret=-5 fw_error=11 'Bad measurement'"
    )
    alone = replayed(f"{text}{refused}\n")
    assert [(update.line, update.gpa, update.length) for update in alone.launch.updates][:2] == [
        (6, 0xFFC00000, 0x400000),
        (7, 0x800000, 0x9000),
    ]
    assert alone.ran.refused == ()
    assert not alone.ran.finished
    assert alone.parting is not None
    assert (alone.parting.what, alone.parting.line) == ("host-refused", 14)
    # Held to a guest with another firmware and another layout, it parts at the first update.
    other = replayed(text, hello_plan(tmp_path)).parting
    assert other is not None
    assert (other.what, other.line, other.step) == ("gpa", 6, 0)


def test_what_simpletrace_and_babeltrace_write_is_read() -> None:
    simple = (
        "kvm_sev_snp_launch_start 0.000 pid=1234 policy=0x30000 gosvw=b''\n"
        "kvm_sev_snp_launch_update 17.125 pid=1234 src=0x7f00 gpa=0x800000 len=0x2000 type=b'Zero'\n"
        "kvm_sev_snp_launch_finish 0.250 pid=1234 id_block=b'AAAA' id_auth=b'' host_data=b''\n"
        "kvm_sev_change_state 1.000 pid=1234 old=b'launch-update' new=b'running'\n"
    )
    lttng = (
        "[14:13:57.1] (+0.1) host qemu:kvm_sev_snp_launch_start: { cpu_id = 3 }, { policy = 196608, "
        'gosvw = "" }\n'
        "[14:13:57.2] (+0.1) host qemu:kvm_sev_snp_launch_update: { cpu_id = 3 }, { src = 32512, "
        'gpa = 8388608, len = 8192, type = "Zero" }\n'
        '[14:13:57.3] (+0.1) host qemu:kvm_sev_snp_launch_finish: { cpu_id = 3 }, { id_block = "AAAA", '
        'id_auth = "", host_data = "" }\n'
        "[14:13:57.4] (+0.1) host qemu:kvm_sev_change_state: { cpu_id = 3 }, "
        '{ old = "launch-update", new = "running" }\n'
    )
    expected = (
        Start(1, "snp", 0x30000),
        Update((2,), PageType.ZERO, 0x2000, 0x800000, 0x7F00),
        Finish(3, b"\0\0\0"),
        State(4, "running"),
    )
    assert launch_events(simple) == expected
    assert launch_events(lttng) == expected


def test_simpletrace_of_an_sev_guest_is_read() -> None:
    text = (
        "kvm_sev_launch_start 0.000 pid=1 policy=0x5 session=0x0 pdh=0x0\n"
        "kvm_sev_launch_update_data 0.000 pid=1 addr=0x7f00 len=0x40\n"
        "kvm_sev_launch_measurement 0.000 pid=1 value=b'AAAA'\n"
        "kvm_sev_launch_finish 0.000 pid=1\n"
    )
    assert launch_events(text) == (
        Start(1, "sev-es", 5),
        Update((2,), PageType.NORMAL, 0x40, None, 0x7F00),
        Measure(3, b"\0\0\0"),
        Finish(4),
    )


def test_null_pointers_and_empty_strings_are_none() -> None:
    text = (
        f"{START}\n"
        "kvm_sev_snp_launch_update src 0x0 gpa 0x800000 len 0x1000 (Zero page)\n"
        "kvm_sev_snp_launch_finish id_block <null> id_auth <null> host_data <null>\n"
    )
    events = launch_events(text)
    assert events[1:] == (Update((2,), PageType.ZERO, 0x1000, 0x800000, 0), Finish(3))
    old = "kvm_sev_launch_start policy 0x1 session (nil) pdh (nil)\nkvm_sev_launch_update_data addr (nil) len 0x10\n"
    assert launch_events(old)[1] == Update((2,), PageType.NORMAL, 0x10, None, 0)


def test_a_string_that_systemtap_cut_is_not_taken_for_whole() -> None:
    block = "A" * 128
    text = f"{START}\nkvm_sev_snp_launch_finish id_block {block} id_auth {'A' * 512} host_data (null)\n"
    assert launch_events(text)[1] == Finish(2, bytes(96), None)


@pytest.mark.parametrize(
    ("attempts", "updates"),
    [
        # The whole range again, and what is left of it.
        ([(0, 0x4000), (0, 0x4000)], 1),
        ([(0, 0x4000), (0x1000, 0x3000), (0x1000, 0x3000), (0x3000, 0x1000)], 1),
        # Another end, or what was launched already.
        ([(0, 0x4000), (0x1000, 0x2000)], 2),
        ([(0x1000, 0x3000), (0, 0x4000)], 2),
    ],
)
def test_a_range_that_is_tried_again_is_one_update(attempts: list[tuple[int, int]], updates: int) -> None:
    for word, moves in (("Normal", True), ("Zero", False)):
        lines = [START]
        for done, length in attempts:
            host = 0x7F0000 + (done if moves else 0)
            lines.append(
                f"kvm_sev_snp_launch_update src {host:#x} gpa {0x800000 + done:#x} len {length:#x} ({word} page)"
            )
        launch = chosen_launch(parse_trace(text_of(lines), "trace.log", "."), None)
        assert len(launch.updates) == updates
        if updates == 1:
            assert launch.updates[0].lines == tuple(range(2, 2 + len(attempts)))
            assert (launch.updates[0].gpa, launch.updates[0].length) == (0x800000, 0x4000)
            assert launch.lines == (1, 1 + len(attempts))


def test_contents_from_elsewhere_are_no_second_attempt() -> None:
    line = "kvm_sev_snp_launch_update src {} gpa 0x800000 len 0x1000 (Normal page)"
    launch = chosen_launch(
        parse_trace(text_of([START, line.format("0x1000"), line.format("0x9000")]), "trace.log", "."), None
    )
    assert len(launch.updates) == 2
    # An event in between ends the attempts, and another type is another command.
    between = [START, ZERO, "kvm_sev_change_state uninit -> launch-update", ZERO]
    assert len(chosen_launch(parse_trace(text_of(between), "t", "."), None).updates) == 2
    other = [START, ZERO, ZERO.replace("Zero", "Normal")]
    assert len(chosen_launch(parse_trace(text_of(other), "t", "."), None).updates) == 2


def test_a_region_launched_in_pieces_is_the_plans(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    lines = qemu_events(plan)
    whole = "kvm_sev_snp_launch_update src 0x7f0000000000 gpa 0xffff0000 len 0x10000 (Normal page)"
    at = lines.index(whole)
    lines[at : at + 1] = [
        "kvm_sev_snp_launch_update src 0x7f0000000000 gpa 0xffff0000 len 0x3000 (Normal page)",
        "kvm_sev_snp_launch_update src 0x7f0000003000 gpa 0xffff3000 len 0xd000 (Normal page)",
    ]
    found = replayed(text_of(lines), plan)
    assert found.parting is None
    assert found.ran.digest == found.planned_digest


@pytest.mark.parametrize("mode", ["sev", "sev-es"])
def test_an_sev_region_launched_in_pieces_is_the_plans(mode: str, tmp_path: Path) -> None:
    plan = hello_plan(tmp_path, mode)
    lines = qemu_events(plan)
    name = "kvm_sev_launch_update_data addr"
    at = next(index for index, line in enumerate(lines) if name in line)
    lines[at : at + 1] = [f"{name} 0x7f0000000000 len 0x1000", f"{name} 0x7f0000001000 len 0xf000"]
    assert replayed(text_of(lines), plan).parting is None
    lines[at + 1] = lines[at + 1].replace("0x7f0000001000", "0x7f0000002000")
    parting = replayed(text_of(lines), plan).parting
    assert parting is not None
    assert (parting.what, parting.line) == ("length", at + 1)
    lines[at : at + 2] = [f"{name} 0x7f0000000000 len 0x1000", f"{name} 0x7f0000001000 len 0xe000"]
    parting = replayed(text_of(lines), plan).parting
    assert parting is not None
    assert (parting.what, parting.line) == ("length", at + 2)


def test_a_piece_does_not_go_over_into_the_next_region(tmp_path: Path) -> None:
    guest = launching_guest(tmp_path, launch={"mode": "sev"}, kernel={"path": "vmlinuz"})
    plan = guest.plan(guest.targets[0])
    first, second = (update.length for update in plan.regions)
    lines = qemu_events(plan)
    name = "kvm_sev_launch_update_data addr"
    at = next(index for index, line in enumerate(lines) if name in line)
    lines[at : at + 2] = [
        f"{name} 0x7f0000000000 len {first - 0x100:#x}",
        f"{name} {0x7F0000000000 + first - 0x100:#x} len {0x100 + second:#x}",
    ]
    found = replayed(text_of(lines), plan).parting
    assert found is not None
    assert (found.what, found.line, found.step) == ("length", at + 2, 0)


def test_events_of_other_kinds_are_counted() -> None:
    text = text_of(
        [
            "kvm_sev_init ",
            "kvm_memcrypt_register_region addr 0x7f00 len 0x1000",
            "kvm_memcrypt_register_region addr 0x8f00 len 0x1000",
            "igvm_file_loaded fn=/srv/guest.igvm, handle=0x10000000",
            "igvm_process_file handle=0x10000000 context-only=0",
            START,
            "kvm_sev_snp_new_event gpa 0x1000",
            "kvm_sev_snp_new_event gpa 0x2000",
            "qemu-system-x86_64: sev_snp_launch_update: all is well",
        ]
    )
    trace = parse_trace(text, "trace.log", ".")
    assert trace.others == {
        "kvm_sev_init": 1,
        "kvm_memcrypt_register_region": 2,
        "igvm_file_loaded": 1,
        "igvm_process_file": 1,
    }
    assert trace.unknown == {"kvm_sev_snp_new_event": 2}
    assert trace.igvm == ("/srv/guest.igvm",)


def test_the_command_line_in_a_log_is_no_event(tmp_path: Path) -> None:
    plan = hello_plan(tmp_path)
    log = (
        "/usr/bin/qemu-system-x86_64 -trace kvm_sev_launch_finish -d trace:kvm_sev_snp_launch_update -S\n"
        "-trace kvm_sev_snp_launch_update \\\n"
    )
    assert replayed(log + qemu_trace(plan), plan).parting is None


def test_several_launches_are_refused_until_one_is_chosen() -> None:
    text = text_of([START, ZERO, "kvm_sev_snp_launch_finish ", START, ZERO])
    trace = parse_trace(text, "trace.log", ".")
    with pytest.raises(SevbuildError, match=r"trace\.log: 2 launches: 1 from line 1, 2 from line 4"):
        chosen_launch(trace, None)
    assert chosen_launch(trace, 2).lines == (4, 5)
    for number in (0, 3):
        with pytest.raises(
            SevbuildError, match=f"--launch {number}: no such launch in trace.log; its launches: "
        ):
            chosen_launch(trace, number)
    with pytest.raises(SevbuildError, match="the only launch: 1 from line 1"):
        chosen_launch(parse_trace(START, "trace.log", "."), 2)


def test_launches_at_once_are_told_apart_by_their_process() -> None:
    text = text_of(
        [
            f"11@1.0:{START}",
            f"22@1.0:{START}",
            f"11@1.1:{ZERO}",
            # A thread that started nothing belongs to who did last.
            f"33@1.1:{ZERO.replace('0x800000', '0x900000')}",
            "11@1.2:kvm_sev_snp_launch_finish ",
            "22@1.2:kvm_sev_snp_launch_finish ",
            f"22@1.3:{START}",
        ]
    )
    first, second, third = parse_trace(text, "trace.log", ".").launches
    assert [getattr(event, "line", 0) for event in first.events] == [1, 3, 5]
    assert [getattr(event, "line", 0) for event in second.events] == [2, 4, 6]
    assert third.lines == (7, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "trace.log: an empty file, not a trace of a launch"),
        ("\n\n", "trace.log: an empty file, not a trace of a launch"),
        ("hello\n", "trace.log: no launch event"),
        ("\x7fELF", "trace.log: an ELF file, not a trace of a launch"),
        ("kvm_sev_init \n", "trace.log: no launch event among 1 event of other kinds"),
        (
            decode_text(b"\xff" * 8 + bytes.fromhex("b429a40acb77b1f2 0400000000000000")),
            "trace.log: a binary trace of QEMU's backend simple",
        ),
        # As a firmware may begin, and what else was filled with ones.
        ("\udcff" * 16, "trace.log: no launch event"),
        (
            f"{START} {ZERO}\n",
            "trace.log:1: kvm_sev_snp_launch_start and kvm_sev_snp_launch_update in one line",
        ),
        (f"{START}\n{ZERO[:-12]}\n", "trace.log:2: kvm_sev_snp_launch_update with other arguments"),
        (f"{START}\n{ZERO[:-12]}!", "trace.log:2: kvm_sev_snp_launch_update with other arguments"),
        ("kvm_sev_snp_launch_start policy=? gosvw=0\n", "trace.log:1: kvm_sev_snp_launch_start with other"),
        (
            "kvm_sev_launch_start policy 0x100000001 session (nil) pdh (nil)\n",
            "trace.log:1: kvm_sev_launch_start with other arguments",
        ),
        ("kvm_sev_launch_finish now\n", "trace.log:1: kvm_sev_launch_finish with other arguments"),
        (
            f"kvm_sev_snp_launch_start policy 0x{'f' * 17}\n",
            "trace.log:1: kvm_sev_snp_launch_start with other",
        ),
        (
            f"{START}\n{ZERO.replace('0x2000', '0x100001000')}\n",
            "trace.log:2: the updates from here on have 0x100001000 bytes",
        ),
    ],
)
def test_what_is_no_trace_is_refused(text: str, message: str) -> None:
    with pytest.raises(SevbuildError) as refused:
        parse_trace(text, "trace.log", ".")
    assert refused.value.message.startswith(message)
    assert refused.value.exit_code == 2
    assert refused.value.hint


def test_a_refusal_of_the_host_is_no_launch() -> None:
    text = "qemu-system-x86_64: sev_snp_launch_start: SNP_LAUNCH_START ret=-22 fw_error=0 ''\n"
    with pytest.raises(SevbuildError, match="no launch event"):
        parse_trace(text, "trace.log", ".")
    assert launch_events(f"{START}\n{text}")[1] == HostRefusal(2, "SNP_LAUNCH_START", -22, 0)


LINES = st.sampled_from(
    [
        START,
        ZERO,
        "kvm_sev_launch_start policy 0x5 session (nil) pdh (nil)",
        "kvm_sev_launch_update_data addr 0x7f00 len 0x40",
        "kvm_sev_launch_measurement data AAAA",
        "kvm_sev_launch_finish ",
        "kvm_sev_snp_launch_finish id_block (null) id_auth (null) host_data (null)",
        "kvm_sev_change_state launch-update -> running",
        "kvm_sev_change_state launch-update -> launch-secret",
        "SNP_LAUNCH_UPDATE ret=-5 fw_error=22",
    ]
)


@given(st.lists(LINES | st.text(alphabet="kvm_sev@:0x1f =,'", max_size=30), max_size=12))
def test_any_lines_are_replayed_or_refused(lines: list[str]) -> None:
    with suppress(SevbuildError):
        trace = parse_trace(text_of(lines), "trace.log", ".")
        for launch in trace.launches:
            found = replay_launch(trace, launch, None)
            assert found.ran.digest is None
            assert found.ran.finished or found.parting is not None

"""How an answer is printed, line by line."""

from __future__ import annotations

import shlex

from sevbuild.cli.explained import answer_text, edit_text
from sevbuild.diagnose.answer import Answer, Cause, Expectation, Explanation, Line, Parting, Row
from sevbuild.diagnose.rules.peers import Remark

EXPECTED = Expectation(b"\xab" * 48, "the digest given", "digest")
LINES = (
    Line("guest.toml", 4, "vcpu.count", "1", "4"),
    Line("guest.toml", 4, "vcpu.model", None, '"EPYC"'),
    Line("guest.toml", 9, "kernel.cmdline", '"x"', None),
    Line("--set", None, "launch.mode", None, '"sev"'),
    Line("stdin", None, "launch.order", '"profile"', '"canonical"'),
)


def test_edits_are_said_by_line() -> None:
    first = Explanation("t", "t: one", {}, (Cause("vcpus", "4 vCPUs", "because"),), LINES)
    second = Explanation("t", "t: \x1b[31mtwo", {}, (), LINES[:1])
    answer = Answer("found", "g", EXPECTED, "t: one", (first,), (second,), ("a note",))
    assert answer_text(answer) == (
        "t: one\n"
        '  edit guest.toml:4  vcpu.count = 1 -> 4, add vcpu.model = "EPYC"\n'
        '  edit guest.toml:9  remove kernel.cmdline = "x"\n'
        "  set --set 'launch.mode=\"sev\"'\n"
        '  edit stdin  launch.order = "profile" -> "canonical"\n'
        "  vcpus: because\n"
        "other explanations that fit as well:\n"
        "  t: \\x1b[31mtwo\n"
        "    edit guest.toml:4  vcpu.count = 1 -> 4\n"
        "note: a note\n"
    )
    assert edit_text(LINES[3]) == "set --set 'launch.mode=\"sev\"'"
    count = Line("--set", None, "vcpu.count", None, "6")
    assert edit_text(count) == "set --set vcpu.count=6"
    line = Line("--set", None, "kernel.cmdline", None, '"a $b"')
    assert shlex.split(edit_text(line))[1:] == ["--set", 'kernel.cmdline="a $b"']


def test_a_launch_of_a_file_is_measured_by_a_command() -> None:
    words = ("sevbuild", "measure", "my guest.igvm", "--loader", "qemu")
    found = Explanation(
        "t", "t: found", measured_by=words, remarks=(Remark("what a tool prints", "its source"),)
    )
    assert answer_text(Answer("found", "g", EXPECTED, "t: found", (found,))).splitlines()[1:] == [
        "  measure it with `sevbuild measure 'my guest.igvm' --loader qemu`",
        "  this is what a tool prints (its source)",
    ]


def test_the_explanation_of_the_sentence_is_first() -> None:
    found, also = Explanation("t", "t: found"), Explanation("t", "t: also")
    answer = Answer("found", "g", EXPECTED, "t: also", (found,), (also,))
    assert answer_text(answer).splitlines() == [
        "t: also",
        "other explanations that fit as well:",
        "  t: found",
    ]


def test_evidence_from_the_first_step_and_from_a_later_one() -> None:
    rows = (Row(0, "firmware", b"\1" * 48), Row(1, "vmsa 0", b"\2" * 48))
    later = Parting(1, "vmsa 0", ("rdx: 0x1 -> 0x2",), rows, (rows[0], Row(1, "vmsa 0", b"\3" * 48)))
    first = Parting(0, "firmware", (), (), rows[:1])
    for parting, lines in (
        (
            later,
            [
                "  the launches part at step 1 (vmsa 0):",
                "    both      0  firmware  0101010101010101...",
                "    guest     1  vmsa 0  0202020202020202...",
                "    expected  1  vmsa 0  0303030303030303...",
                "    rdx: 0x1 -> 0x2",
            ],
        ),
        (
            first,
            [
                "  the launches part at step 0 (firmware):",
                "    guest     ends before it",
                "    expected  0  firmware  0101010101010101...",
            ],
        ),
    ):
        found = Explanation("t", "t: found", parting=parting)
        text = answer_text(Answer("found", "g", EXPECTED, "t: found", (found,)))
        assert text.splitlines()[1:] == lines


def test_statistics_of_nothing() -> None:
    equal = Answer("equal", "g", EXPECTED, "equal")
    assert answer_text(equal, stats=True) == "equal\nnothing was searched\n"
    stages = [
        {"name": "one", "completed": True, "left": "", "launches": 1200, "seconds": 0.25},
        {"name": "two", "completed": False, "left": "cut off", "launches": 7, "seconds": 1.0},
    ]
    numbers = dict.fromkeys(("launches", "starts", "alike", "changes", "without_effect", "refused"), 1234)
    statistics = {**numbers, "seconds": 1.26, "stages": stages}
    none = Answer(
        "not-found", "g", EXPECTED, "not found", excluded=("e",), next=("n",), statistics=statistics
    )
    lines = answer_text(none, stats=True).splitlines()
    assert lines[:5] == ["not found", "excluded:", "  e", "what to get next:", "  n"]
    assert lines[5] == "1,234 launches tried in 1.3 s; completed: one"
    assert lines[7:] == [
        "  one: 1,200 launches, 0.25 s, completed",
        "  two: 7 launches, 1.00 s, not completed: cut off",
    ]
    cut = none._replace(statistics={**statistics, "stages": stages[1:]})
    assert "no stage was completed" in answer_text(cut)

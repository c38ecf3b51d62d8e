"""A shell text is read without a shell, and what only a shell could tell is marked."""

from __future__ import annotations

import shutil
import subprocess
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.commands.importing.script import runs
from sevbuild.commands.importing.unknown import is_known, reasons, spelled, unknown
from sevbuild.errors import SevbuildError


def words(text: str) -> list[list[str]]:
    """Return the words of every command, with what is not known as it is written."""
    return [[spelled(word) for word in run.words] for run in runs(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c'\"d $e\\\"\"f\\ g # h", [["a", 'b cd $e"f g']]),
        ("a;b&&c|d\ne", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("a '' \"\" b#c $", [["a", "", "", "b#c", "$"]]),
        ('x ${A:-x y} "${B:-z}" ${C}', [["x", "x", "y", "z", "${C}"]]),
        ('"$@" $* a"$@"', [["a"]]),
        ('a\\\nb "c\\\nd"', [["ab", "cd"]]),
        ("a >b 2>&1 <c d>>e &>f g", [["a", "d", "g"]]),
        ("a <<X b\nqemu 'no\nX\nc <<-'Y'\n\tz\n\tY\nd <<< 'e f'", [["a", "b"], ["c"], ["d"]]),
        ("if a; then b; elif c; then d; else e; fi; f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("while a; do b; done & until c\ndo d\ndone", [["a"], ["b"], ["c"], ["d"]]),
        ("case $x in (a|b) c;; *) d ;; esac; e", [["c"], ["d"], ["e"]]),
        ("f() { a; }; function g { b; }\ng () (c)\n{ d; }; ! e", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("[[ a && b ]] && c; (( d = 1 )); for ((i=0;i<2;i++)); do e; done", [["c"], ["e"]]),
        ("A=(b 'c)' d) e; x[1]=2 f", [["e"], ["f"]]),
        ("a $(b $(c) ')' \")\") `d \\` e` <(f)", [["a", "$(b $(c) ')' \")\")", "`d \\` e`", "<(f)"]]),
        ("a $'b\\'c' $\"d\" ~/e f~ x=~", [["a", "$'b\\'c'", '$"d"', "~/e", "f~", "x=~"]]),
        ("time a; coproc b", [["a"], ["b"]]),
        ("", []),
    ],
)  # fmt: skip
def test_a_script_is_split_as_a_shell_does(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ('A=1; B=$A$A; C="$B x"; r $A ${B} $C "$C"', ["1", "11", "11", "x", "11 x"]),
        ("A=1\nA=2\nr $A", ["2"]),
        ("A=1\nA=$A,2\nr $A", ["1,2"]),
        ("A=' x  y '; r a$A b", ["a", "x", "y", "b"]),
        ("A=x; r \"$A\"'$A'\\$A", ["x$A$A"]),
        ('A=; r $A "$A" b$A', ["", "b"]),
        ("A=; B=x; r ${A:-d} ${B:-d} ${C:-d}", ["d", "x", "d"]),
        ("export A=1 B='2 3'; readonly C=4; r $A \"$B\" $C", ["1", "2 3", "4"]),
        ("A=1 r $A", ["$A"]),
        ("A=a=b,c; r x=$A", ["x=a=b,c"]),
    ],
)  # fmt: skip
def test_plain_assignments_give_values(text: str, last: list[str]) -> None:
    assert words(text)[-1] == ["r", *last]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("r $A", "is not assigned in the text"),
        ("if x; then A=1; fi; r $A", "line 1 in a way that depends on the run"),
        ("A=1\nx && A=2\nr $A", "line 2 in a way"),
        ("A=1 | x\nr $A", "line 1 in a way"),
        ("A=1 & \nr $A", "line 1 in a way"),
        ("(A=1); r $A", "in a way"),
        ("f() { A=1; }; r $A", "in a way"),
        ("A=1; read A; r $A", "in a way"),
        ("A=1; unset A; r $A", "in a way"),
        ("for A in 1; do x; done; r $A", "in a way"),
        ("A=1; printf -v A x; r $A", "in a way"),
        ("A=1; local A=2; r $A", "in a way"),
        ("A=1; declare -i A; r $A", "in a way"),
        ("A=1; getopts x A; r $A", "in a way"),
        ("A=(1); r $A", "in a way"),
        ("A=1; A+=2; r $A", "in a way"),
        ("A[0]=1; r $A", "in a way"),
        ("A=1; : ${A:=2} ${B:=3}; r $B", "in a way"),
        ("A=1; ((A++)); r $A", "in a way"),
        ("A=1; A=2 :; r $A", "in a way"),
        ("A=1; case x in x) A=2;; esac; r $A", "in a way"),
        ("A=1; export A=$x; r $A", "in a way"),
        ("A=1; . ./x; r $A", "may come from what is read on line 1"),
        ("A=1; eval x; r $A", "may come from"),
        ("source x; r ${A:-d}", "may come from"),
        ("A=1; f() { r $A; }; A=2; f", "is assigned again before"),
        ("A=$B; r $A", "$B is not assigned"),
        ("r ${A#x}", "is what the shell works out"),
        ("r ${A[@]} ", "is what the shell works out"),
        ("r $((1+1))", "is what the shell works out"),
        ("r $1", "is what the shell works out"),
        ("r ~/x", "is the home folder"),
        ("r *.fd", "holds a pattern of file names"),
        ("A='*'; r $A", "holds a pattern of file names"),
        ("r {a,b}", "holds a pattern"),
        ("set -- a; r $@", "is not the arguments of the script alone"),
        ('f() { r "$@"; }; f a', "is not the arguments of the script alone"),
        ("IFS=,; A=a,b; r $A", "IFS of the text's own"),
    ],
)  # fmt: skip
def test_what_depends_on_the_run_is_marked(text: str, reason: str) -> None:
    marked = [reasons(word) for run in runs(text) if run.words[0] == "r" for word in run.words]
    assert any(reason in found for found in marked), marked


def test_what_should_be_known_of_how_words_came_about() -> None:
    first, second = runs("r ${A:-d} \"$@\"\ncd /x; r2 'a\nb'")[::2]
    assert first.notes == (
        "the default of ${A:-d} is used",
        "what the script is given as arguments goes to the command too",
    )
    assert second.notes == ("the text changes its folder on line 2: relative paths start there",)
    assert (first.line, second.line) == (1, 2)
    *_, third = runs('A=${A:-d}; B=x$A; export D="$B"; r $B $D')
    assert third.words == ["r", "xd", "xd"]
    assert third.notes == ("the default of ${A:-d} is used",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'", "line 1: a ' that does not end"),
        ("a\nb 'c", "line 2: a ' that does not end"),
        ('"', 'a " that does not end'),
        ('a "b', 'a " that does not end'),
        ("$'x", "a ' that does not end"),
        ("`x", "a ` that does not end"),
        ("${x", "does not end with }"),
        ("$(x", "does not end with )"),
        ("a=(x", "does not end with )"),
        ("[[ x", "there is no ]]"),
        ("$(" * 60, "does not end with )"),
        ("{\n" * 60, "nested deeper than 50"),
    ],
)
def test_what_no_shell_takes_is_refused(text: str, message: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        runs(text)
    assert message in caught.value.message


def test_marks_keep_what_they_stand_for() -> None:
    mark = unknown("$A\n,=", "is\u00e9")
    assert not is_known(f"a{mark}b")
    assert is_known("ab")
    assert spelled(f"a{mark}b{mark}") == "a$A\n,=b$A\n,="
    assert reasons(f"a{mark}b{mark}") == "$A\n,= is\u00e9"
    assert reasons("a") == ""


@pytest.mark.parametrize(
    "text",
    ["x" * 3_000_000, "x " * 100_000, "~" * 100_000, "$A" * 100_000, '"$A' * 100_001 + '"'],
)
def test_long_texts_are_read_in_time(text: str) -> None:
    assert runs(f"r {text}")


_PARTS = st.sampled_from(
    [
        "A=1 ", "B=2\n", "A=$B\n", 'B="$A z"; ', "A='  q '\n", "x ", "#c\n", "\\\n", "echo $A", "; ", "A=$A$B; ",
        "if false; then A=9; fi\n", "true && B=7\n", "{ B=8; }\n", "(A=5)\n", "f() { A=6; }\n", "f\n", "export A=4; ",
        'export B="$A"; ', "export ${A}A=~\n", "case $A in 1) B=c;; *) B=d; esac\n", "cat <<E\n$A '\nE\n", "A=${B:-n}\n",
        "B=${A}${A}\n", "A= ", "B=;", "r $A; ", "for A in 1 2; do B=x; done\n", "unset A\n", "A''=5\n", "'A'=5\n",
        "! true\n", "A=~\n", "B=a\\ b\n", "A=(1 2)}\n", "A", "B", "=", "1", " ", "'x y'", '"', "$A", '"$B"', "${A}",
        "${B:-d}", "\n", ";", "#", ",", "''", "$", "`", "(", ")", "{ ", "}\n",
    ]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(_PARTS, max_size=14).map("".join), st.text("xyz ", max_size=4))
def test_a_shell_runs_with_the_same_words(middle: str, value: str) -> None:
    """What is known of the words of `r` is what a shell gives it, field by field, where it gets there."""
    text = f"A='{value}'; B=b\n{middle}\nr $A ${{B:-e}} \"$A$B\" end"
    try:
        found = [run.words for run in runs(text) if run.words[0] == "r"]
    except SevbuildError:
        return
    if not found or not all(map(is_known, found[-1])):
        return
    script = "r() { printf '%s\\0' \"$@\" >&3; printf '\\n\\0' >&3; }\n" + text
    for name in ("sh", "bash"):
        shell = shutil.which(name)
        if (
            shell is None
            or subprocess.run([shell, "-n", "-c", script], check=False, capture_output=True).returncode
        ):
            continue
        with tempfile.TemporaryFile() as stream:
            subprocess.run(
                [shell, "-c", f"exec 3>&{stream.fileno()}\n{script}"],
                pass_fds=[stream.fileno()], capture_output=True, check=False, env={"PATH": "/nonexistent"},
            )  # fmt: skip
            stream.seek(0)
            ran = stream.read().decode().split("\n\0")
        if len(ran) > 1 and ran[-2].endswith("end\0"):
            assert ran[-2].split("\0")[:-1] == found[-1][1:]

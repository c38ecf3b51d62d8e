"""What only a terminal shows: colours, and tables that fit; a pipe has the bytes it always had."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from sevbuild.cli import VERBS
from sevbuild.cli.help import GROUPS
from sevbuild.cli.tables import text_table
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT
from tests.support.terminal import on_terminal

HELLO = ROOT / "guests" / "hello" / "guest.toml"
ERROR = "\x1b[1;31merror\x1b[0m: "
HINT = "  \x1b[1;36mhint\x1b[0m: "


def test_words_are_coloured_on_a_terminal() -> None:
    status, shown = on_terminal("measure", HELLO, "--target", "nowhere")
    assert status == 2
    assert shown.startswith(ERROR)
    assert HINT in shown
    # Nothing but the words.
    assert shown.count("\x1b") == 4


def test_warnings_are_coloured_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    path = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, launch={"mode": "sev", "policy": 0x0})
    _, shown = on_terminal("measure", path)
    assert ": \x1b[1;33mwarning\x1b[0m: " in shown


def test_what_is_said_stands_in_its_order(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert run("build", HELLO, "-o", bundle).status == 0
    status, shown = on_terminal("verify", bundle, "--against", "ab" * 48)
    assert status == 1
    first, second = shown.splitlines()[:2]
    assert first == f"{bundle}: consistent (1 target, 8 files)"
    assert second.startswith(ERROR) or ": note: " in second


@pytest.mark.parametrize(
    ("words", "environment", "coloured"),
    [
        ([], {"NO_COLOR": "1"}, False),
        ([], {"NO_COLOR": ""}, True),
        ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False),
        (["--color=always"], {"NO_COLOR": "1"}, True),
        (["--color", "auto"], {}, True),
    ],
)
def test_colours_can_be_chosen(words: list[str], environment: dict[str, str], coloured: bool) -> None:
    for arguments in ([*words, "measure", "nowhere"], ["measure", "nowhere", *words]):
        assert (ERROR in on_terminal(*arguments, environment=environment)[1]) == coloured


def test_a_pipe_has_no_colours_unless_asked_for() -> None:
    assert "\x1b" not in run("measure", "nowhere").err
    assert run("measure", "nowhere", "--color", "always").err.startswith(ERROR)
    assert run("measure", "nowhere", "--color", "auto").err.startswith("error: ")
    wrong = run("measure", HELLO, "--color", "sometimes")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("error: --color sometimes: unknown value\n")


def test_a_pipe_loads_nothing_for_a_terminal() -> None:
    script = (
        "import sys; from sevbuild.cli import main\n"
        "try: main(['measure', '-q', '-f', 'table', sys.argv[1]])\n"
        "except SystemExit: print('shutil' in sys.modules, 'sevbuild.cli.help' in sys.modules, 'rich' in sys.modules)"
    )
    base = "import sys, typer; print('shutil' in sys.modules)"
    typers, ours = (
        subprocess.run(
            [sys.executable, "-c", text, str(HELLO)], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout.splitlines()[-1]
        for text in (base, script)
    )
    assert ours == f"{typers} False False"


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["measure", "-q", "-f", "table", HELLO], 50),
        (["measure", "-q", "-f", "table", HELLO], 80),
        (["plan", "-q", HELLO], 80),
        (["plan", "-q", HELLO], 150),
        (["profiles"], 60),
        (["profiles"], 80),
        (["profiles", "ec2"], 80),
        (["export", "--list"], 80),
        (["export", "--list"], 120),
        (["cpus"], 50),
    ],
)
def test_tables_fit_the_terminal(words: list[object], columns: int) -> None:
    status, shown = on_terminal(*words, columns=columns)
    assert status == 0
    assert max(map(len, shown.splitlines())) <= columns
    # All of it is there, and in order.
    piped = run(*[str(word) for word in words]).out
    assert sorted("".join(shown.split())) == sorted("".join(piped.split()))


def test_a_table_that_fits_is_what_a_pipe_has() -> None:
    assert on_terminal("cpus")[1] == run("cpus").out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_text_of_others_in_a_table_is_text_as_wide_as_it_is(
    monkeypatch: pytest.MonkeyPatch, columns: int, term: str
) -> None:
    for name, value in {"COLUMNS": str(columns), "TERM": term, "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", _Terminal())
    rows = [("\u865a\u62df\u673a", "[bold]{x}[/bold]", "ab" * 48), ("virtual", "\x1b[2J:wave:", "cd" * 48)]
    lines = text_table(("label", "other", "digest"), rows, indent=2).splitlines()
    assert max(map(cell_len, lines)) <= columns
    # The second column begins in one place, however wide the characters before it are.
    assert {
        cell_len(line[: line.index(word)])
        for line in lines
        for word in ("other", "[bold]{x}[/bold]", r"\x1b[2J:wave:")
        if word in line
    } == {2 + len("virtual") + 2}
    assert "\x1b" not in "".join(lines)
    assert "".join("".join(lines).split()).count("ab" * 48) == 1


def test_digests_stand_whole_where_a_line_holds_them() -> None:
    digest = run("measure", "-q", HELLO).out.strip()
    shown = on_terminal("measure", "-q", "-f", "table", HELLO, columns=100)[1]
    assert f"\n    {digest}\n" in shown


def test_help_fits_eighty_columns_and_has_groups() -> None:
    assert [verb for verbs in GROUPS.values() for verb in verbs] == sorted(
        VERBS, key=[verb for verbs in GROUPS.values() for verb in verbs].index
    )
    for words in ([], *([verb] for verb in VERBS), ["cache", "list"], ["cache", "clean"]):
        shown = run(*words, "--help").out
        assert max(map(len, shown.splitlines())) <= 80
        assert run("help", *words).out == shown
    shown = run("measure", "-h").out
    groups = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["Arguments:", "Options:", "For an IGVM file:", "Lock and network:", "Common options:"]
    assert "[required]" not in run("check", "-h").out
    # What every verb does stands there whole.
    root = run("-h").out
    for verbs in GROUPS.values():
        for verb, summary in verbs.items():
            assert f"  {verb} " in root
            assert summary in root


def test_old_spellings_are_taken_and_not_shown() -> None:
    assert "--model" not in run("measure", "-h").out
    for flag in ("--cpu", "--model"):
        refused = run("measure", HELLO, flag, "EPYC-v4")
        assert refused.err.startswith("error: --cpu is for IGVM files\n")


def test_flags_that_take_several_add_up(tmp_path: Path) -> None:
    release = tmp_path / "release"
    assert (
        run("publish", "-q", HELLO, "-o", release, "--formats", "hex,html", "--formats", "rvps").status == 0
    )
    names = {path.name for path in release.iterdir()}
    assert {"launch-digests.hex", "release-notes.html", "rvps-payload.json"} <= names
    values = HELLO.parent / "reference-values.json"
    both = run(
        "recompute", values, "--vcpus", "2", "--vcpus", "4-5", "--cpu", "EPYC-v4", "--cpu", "EPYC-Rome"
    )
    assert [line.rpartition("/")[2] for line in both.out.splitlines()] == ["vcpus2", "vcpus4", "vcpus5"] * 2


def test_output_elsewhere_leaves_the_terminal_its_colours(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        status, shown = on_terminal("measure", HELLO, "--target", "x", out=stream.fileno())
    assert (status, (tmp_path / "out").read_bytes()) == (2, b"")
    assert shown.startswith(ERROR)
    with (tmp_path / "out").open("wb") as stream:
        assert on_terminal("measure", "-q", "-f", "table", HELLO, out=stream.fileno()) == (0, "")
    table = (tmp_path / "out").read_text()
    assert table == run("measure", "-q", "-f", "table", HELLO).out
    assert os.linesep in table

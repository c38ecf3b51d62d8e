"""B1: every run ends with the exit code of what happened, whatever the standard streams are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"
FLEET = ROOT / "guests" / "fleet" / "guest.toml"
TRACEBACK = "Traceback (most recent call last)"


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a bash script in which `sevbuild` is the program, `$HELLO` and `$FLEET` are manifests."""
    return subprocess.run(
        ["bash", "-c", f'sevbuild() {{ "$PYTHON" -m sevbuild "$@"; }}\n{script}'],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join([environment.pop("FIRST", str(ROOT)), str(ROOT)]),
            "HELLO": str(HELLO),
            "FLEET": str(FLEET),
            **environment,
        },
    )


@pytest.mark.parametrize(
    "what", ['ImportError("broken")', "MemoryError", 'ZeroDivisionError("a")', "EOFError"]
)
@pytest.mark.parametrize("module", ["typer", "tomli"])
def test_an_internal_error_is_70_with_where_to_report_it(tmp_path: Path, module: str, what: str) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise {what}\n")
    result = shell('sevbuild measure "$HELLO"', FIRST=str(tmp_path))
    assert result.returncode == 70
    assert result.stdout == ""
    assert TRACEBACK in result.stderr
    assert "report it" in result.stderr.splitlines()[-1]


def test_running_out_of_memory_is_70(tmp_path: Path) -> None:
    with (tmp_path / "expected").open("wb") as stream:
        stream.truncate(200 << 20)
    result = shell(f'ulimit -v 300000; sevbuild measure -q "$HELLO" --expect {tmp_path}/expected')
    assert result.returncode == 70
    assert "MemoryError" in result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ['measure -q "$FLEET"', "--help", 'measure -q -f json "$FLEET"'])
def test_a_reader_that_has_enough_is_no_failure(command: str, unbuffered: str) -> None:
    script = f"sevbuild {command} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    # The reader is gone before the first byte, too.
    script += f"\nsevbuild {command} | true; echo ${{PIPESTATUS[0]}}"
    result = shell(script, PYTHONUNBUFFERED=unbuffered)
    assert result.stdout == "0\n0\n"
    assert result.stderr == ""


def test_a_mismatch_stays_one_where_nobody_reads_on(tmp_path: Path) -> None:
    (tmp_path / "expected").write_text("ab" * 48)
    script = f'sevbuild measure -q "$HELLO" --expect {tmp_path}/expected | true; echo ${{PIPESTATUS[0]}}'
    script += '\nsevbuild measure -q "$HELLO" >/dev/full || echo $?'
    assert shell(script).stdout == "1\n2\n"


@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
@pytest.mark.parametrize(
    "command", ['measure -q "$HELLO"', "--help", "--version", 'plan -q "$HELLO" -f json']
)
def test_output_that_cannot_be_written_is_2_in_one_line(command: str, output: str) -> None:
    result = shell(f"sevbuild {command} {output}")
    assert result.returncode == 2
    assert [line.startswith("error: ") for line in result.stderr.splitlines()] == [True]


@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-"])
def test_what_standard_error_is_changes_no_code(errors: str) -> None:
    for command, status in (
        ("measure nowhere", 2),
        ("measure --nonsense", 2),
        ('measure "$HELLO"', 0),
        ('measure "$HELLO" --expect ' + "ab" * 48, 1),
        ('check "$HELLO"', 0),
    ):
        with_errors = shell(f"sevbuild {command}")
        without = shell(f"sevbuild {command} {errors}")
        assert (without.returncode, without.stdout) == (status, with_errors.stdout)
        assert without.stderr == ""


def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    manifest = tmp_path / "guest.toml"
    manifest.write_bytes(HELLO.read_bytes())
    before = manifest.read_bytes()
    result = shell(f"sevbuild check {manifest} <&- >&- 2>&-; echo $? >{tmp_path}/status")
    assert (tmp_path / "status").read_text() == "2\n", result
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("verb", ["measure -", "check -", "plan -", "import"])
def test_standard_input_without_end_or_closed_is_2(verb: str) -> None:
    for source in ("<&-", "</dev/zero"):
        result = shell(f"ulimit -v 1000000; sevbuild {verb} {source}")
        assert result.returncode == 2
        lines = result.stderr.splitlines()
        assert [line.startswith("error: ") and "standard input" in line for line in lines] == [True]


@pytest.mark.parametrize("verb", ["measure", "check"])
def test_standard_input_that_is_not_utf8_is_2(verb: str) -> None:
    result = shell(f"printf 'schema = 1\\n# \\351\\n' | sevbuild {verb} -")
    assert (result.returncode, result.stderr) == (2, "error: stdin:2: not UTF-8 text\n")


def test_help_and_readme_list_every_exit_code() -> None:
    shown = " ".join(shell("sevbuild --help").stdout.split())
    assert "70 an internal error" in shown
    for name in ("README.md", "docs/ci.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert "70 an internal error" in text

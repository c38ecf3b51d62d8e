"""What a run tells GitHub Actions, with names and values that try to say something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.cli import github
from sevbuild.cli.github import annotation, output_lines, report_values
from sevbuild.errors import SevbuildError
from sevbuild.text import visible, visible_lines
from tests.support.actions import parse_command, read_outputs
from tests.support.cli import Result, run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"
HOSTILE = "x\n::set-output name=digest::00\r\n##[add-mask]a%0A::error::,:,line=1"


@pytest.fixture
def on_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the workspace of a step; its outputs go to `output`, its summary to `summary` there."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(result: Result) -> list[tuple[str, dict[str, str], str]]:
    """Return every workflow command that the runner would find in what a run printed."""
    lines = (result.out + result.err).replace("\r", "\n").split("\n")
    return [found for line in lines if (found := parse_command(line)) is not None]


def test_faults_are_annotated_where_they_stand(on_github: Path) -> None:
    (on_github / "sub").mkdir()
    path = write_manifest(
        on_github / "sub", launch={"mode": "snq"}, firmware={"path": "x"}, vcpu={"count": 0}
    )
    result = run("check", path)
    assert result.status == 2
    found = commands(result)
    assert [(name, where["file"], where["line"]) for name, where, _ in found] == [
        ("error", "sub/guest.toml", str(line)) for line in (3, 4)
    ]
    assert "launch.mode: " in found[0][2]
    assert "\nhint: " in found[0][2]
    # The plain lines are there as well.
    assert f"{path}:3: launch.mode: " in result.err


def test_errors_without_a_place(on_github: Path) -> None:
    result = run("measure", on_github / "missing.toml")
    ((name, where, message),) = commands(result)
    assert (result.status, name, where) == (2, "error", {})
    assert "missing.toml" in message


def test_every_input_that_is_missing_has_its_line(on_github: Path) -> None:
    kernel = {"path": "no-kernel", "cmdline": "quiet"}
    path = write_manifest(
        on_github, firmware={"path": "no-firmware"}, kernel=kernel, initrd={"path": ["a", "b"]}
    )
    for verb in ("measure", "check", "lock"):
        found = commands(run(verb, path))
        assert [name for name, _, _ in found] == ["error"] * 4
        lines = [int(where["line"]) for _, where, _ in found]
        assert lines == sorted(lines)
        assert all(where["file"] == "guest.toml" for _, where, _ in found)


def test_errors_that_begin_with_a_place(on_github: Path) -> None:
    (on_github / "guest.toml").write_bytes(b"schema = 1\n\xff\n")
    ((name, where, message),) = commands(run("check", "guest.toml"))
    assert (name, where) == ("error", {"file": "guest.toml", "line": "2"})
    assert message.splitlines()[0] == "not UTF-8 text"


def test_a_file_outside_the_workspace_keeps_its_path(
    on_github: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "guest.toml"
    path.write_text("schema = 2\n")
    assert not path.is_relative_to(on_github)
    assert {where["file"] for _, where, _ in commands(run("check", path))} == {str(path)}


def test_without_a_workspace_paths_stay(on_github: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE")
    (on_github / "guest.toml").write_text("schema = 2\n")
    assert {where["file"] for _, where, _ in commands(run("check", "guest.toml"))} == {"guest.toml"}


def test_a_manifest_from_standard_input_is_named_in_the_message(on_github: Path) -> None:
    found = commands(run("check", "-", stdin="schema = 2\n"))
    assert on_github.is_dir()
    assert all(not where and message.startswith("stdin") for _, where, message in found)
    assert found


def test_usage_errors_are_annotations(on_github: Path) -> None:
    result = run("measure", "--no-such-flag", HELLO)
    assert (result.status, on_github.is_dir()) == (2, True)
    assert result.err.startswith("error: no such option: --no-such-flag\n")
    ((name, _, message),) = commands(result)
    assert name == "error"
    assert "no-such-flag" in message


def test_warnings_are_annotated_and_notes_are_not(on_github: Path) -> None:
    (on_github / "hello.fd").write_bytes((HELLO.parent / "hello.fd").read_bytes())
    path = write_manifest(on_github, launch={"policy": 0xB0000}, firmware={"path": "hello.fd"})
    result = run("measure", path)
    assert ": note: " in result.err
    levels = {name for name, _, _ in commands(result)}
    assert levels == {"warning"}
    assert {where.get("file") for _, where, _ in commands(result)} == {"guest.toml"}
    assert commands(run("measure", "--quiet", path)) == []


def test_a_mismatch_is_annotated(on_github: Path) -> None:
    result = run("measure", HELLO, "--expect", "00" * 48)
    ((name, _, message),) = commands(result)
    assert (result.status, name) == (1, "error")
    assert "snp/qemu/EPYC-Milan/vcpus1" in message
    assert not (on_github / "output").exists()


def test_a_hostile_file_name_says_nothing_to_the_runner(on_github: Path) -> None:
    folder = on_github / "a\n::add-mask::b"
    folder.mkdir()
    path = write_manifest(folder, firmware={"path": HOSTILE})
    found = commands(run("measure", path))
    assert [name for name, _, _ in found] == ["error"]
    assert visible(HOSTILE) in found[0][2]
    path.write_text("schema = 2\n")
    found = commands(run("check", path))
    assert {name for name, _, _ in found} == {"error"}
    assert {where["file"] for _, where, _ in found} == {"a\n::add-mask::b/guest.toml"}
    usage = run("measure", "--no-such\n::add-mask::b")
    assert [name for name, _, _ in commands(usage)] == ["error"]


def test_names_that_no_encoding_knows(on_github: Path) -> None:
    name = os.fsdecode(b"\xff::x")
    ((level, _, message),) = commands(run("measure", on_github / name))
    assert level == "error"
    assert "::x" in message


def _shown(text: str) -> str:
    return "".join(char if char in "\r\n" else visible(char) for char in text)


@given(st.text(), st.text(min_size=1), st.integers(1, 10**6))
def test_annotations_survive_the_runner(message: str, file: str, line: int) -> None:
    written = annotation("error", message, file=file, line=line)
    assert written.count("\n") == 1
    # The runner undoes %25 last, so that what looked escaped before is not undone twice.
    shown = {"file": _shown(file), "line": str(line)}
    assert parse_command(written[:-1]) == ("error", shown, _shown(message))


@given(st.text(alphabet=":#[ \t\r\nax%\x0b\u2003"))
def test_no_line_of_the_log_is_a_command(text: str) -> None:
    lines = visible_lines(text).replace("\r", "\n").split("\n")
    assert [line for line in lines if line.lstrip().startswith("::") or "##[" in line] == []


def test_harmless_text_stays() -> None:
    text = "error: guest.toml:3: launch.mode: unknown\n  hint: a::b\n\n# #["
    assert visible_lines(text) == text


@given(st.text())
def test_outputs_survive_the_runner(value: str) -> None:
    try:
        lines = output_lines("digest", value)
        lines.encode()
    except UnicodeEncodeError:
        return
    assert read_outputs(lines) == {"digest": value}
    assert lines == output_lines("digest", value)


def test_a_delimiter_that_is_a_line_of_the_value_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        """Stand for a hash that someone can predict."""

        def __init__(self, data: bytes) -> None:
            self.data = data

        def hexdigest(self) -> str:
            return self.data.split(b"\n")[0].decode()

    monkeypatch.setattr(github, "sha256", Known)
    value = "a\nsevbuild-0\nsevbuild-1\nname<<x\nb\n"
    lines = output_lines("digest", value)
    assert lines.startswith("digest<<sevbuild-2\n")
    assert read_outputs(lines) == {"digest": value}


def test_one_digest_is_the_bare_output(on_github: Path) -> None:
    result = run("measure", HELLO)
    outputs = read_outputs((on_github / "output").read_text())
    assert outputs == {"digest": result.out.strip()}
    summary = (on_github / "summary").read_text().splitlines()
    assert summary[0] == "### hello 1.0.0"
    assert summary[-2] == f"| snp/qemu/EPYC-Milan/vcpus1 | `{result.out.strip()}` |"


def test_several_digests_are_the_lines_of_measure(on_github: Path) -> None:
    result = run("measure", HELLO, "--set", "vcpu.count=[1, 2]")
    (on_github / "output").write_text("")
    run("measure", HELLO, "--set", "vcpu.count=[1, 2]", "--format", "json")
    assert read_outputs((on_github / "output").read_text()) == {"digest": result.out.removesuffix("\n")}


def test_standard_output_is_the_same_everywhere(on_github: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = ("hex", "base64", "json", "table", "markdown")
    there = [run("measure", HELLO, "--format", name) for name in formats]
    assert on_github.is_dir()
    for value in ("", "false"):
        monkeypatch.setenv("GITHUB_ACTIONS", value)
        here = [run("measure", HELLO, "--format", name) for name in formats]
        assert [result.out for result in here] == [result.out for result in there]
        assert not [found for result in here for found in commands(result)]


def test_the_module_is_loaded_there_alone() -> None:
    script = (
        "import sys; from sevbuild.cli import main\n"
        "try: main(['measure', '--quiet', sys.argv[1]])\n"
        "except SystemExit: print('sevbuild.cli.github' in sys.modules)"
    )
    for value, loaded in (("", "False"), ("true", "True")):
        env = {**os.environ, "GITHUB_ACTIONS": value, "GITHUB_OUTPUT": "", "GITHUB_STEP_SUMMARY": ""}
        result = subprocess.run(
            [sys.executable, "-c", script, str(HELLO)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=env,
        )
        assert result.stdout.splitlines()[1] == loaded


def test_further_outputs_and_hostile_values(on_github: Path) -> None:
    values = [("a|b`<script>\n| x", bytes(48)), ("c", b"\x11" * 48)]
    report_values("t\n# u", values, {"bundle": HOSTILE, "odd": os.fsdecode(b"a\xff")})
    data = (on_github / "output").read_bytes()
    outputs = read_outputs(data.decode("utf-8", "surrogateescape"))
    assert outputs["bundle"] == HOSTILE
    assert outputs["odd"] == os.fsdecode(b"a\xff")
    assert outputs["digest"] == f"{'00' * 48}  a|b`<script>\n| x\n{'11' * 48}  c"
    summary = (on_github / "summary").read_text()
    assert "<" not in summary
    table = [line for line in summary.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in table] == [3, 3, 3, 3]


def test_what_is_too_large_is_left_out(
    on_github: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "OUTPUT_LIMIT", 1000)
    monkeypatch.setattr(github, "SUMMARY_LIMIT", 1000)
    values = [(f"t{index}", bytes(48)) for index in range(20)]
    report_values("guest", values, {"bundle": "dist"})
    assert read_outputs((on_github / "output").read_text()) == {"bundle": "dist"}
    assert "::warning::the output digest is left out" in capsys.readouterr().err
    summary = (on_github / "summary").read_text()
    shown = summary.count("`" + "00" * 48)
    assert 0 < shown < 20
    assert f"and {20 - shown} more" in summary
    assert len(summary) <= 1000
    # A summary that is full stays as it is.
    report_values("guest", values)
    assert (on_github / "summary").read_text() == summary


def test_a_step_without_files_and_with_one_that_cannot_be_written(
    on_github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(on_github / "no" / "folder"))
    result = run("measure", HELLO)
    assert result.status == 2
    assert "($GITHUB_OUTPUT)" in result.err
    with pytest.raises(SevbuildError, match="GITHUB_OUTPUT"):
        report_values("x", [("a", b"\0")])
    monkeypatch.delenv("GITHUB_OUTPUT")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert run("measure", HELLO).status == 0

"""Completion, as each shell asks for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sevbuild.guest.starter import TEMPLATES
from sevbuild.manifest.formats import FORMATS
from sevbuild.manifest.profiles import profile_names
from sevbuild.vcpu.models import CPU_MODELS
from tests.support.cli import run
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"
VALUES = ROOT / "guests" / "hello" / "reference-values.json"
LABEL = "snp/qemu/EPYC-Milan/vcpus1"


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> object:
    """Return what completes a line as bash does."""

    def completed(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_SEVBUILD_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        result = run()
        assert result.err == ""
        return result.out.split()

    return completed


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("measure -f ", ["hex", "base64", "json", "table", "markdown"]),
        ("schema --of m", ["manifest"]),
        (f"replay trace.log {HELLO} --target ", [LABEL]),
        ("replay trace.log -f ", ["text", "json"]),
        ("--color a", ["auto", "always"]),
        ("measure --color n", ["never"]),
        ("publish x --formats ", list(FORMATS)),
        ("publish x --formats hex,rv", ["hex,rvps"]),
        ("export x -f html", ["html"]),
        ("export x --format rvps --extra n", ["name=", "namespace="]),
        ("publish x --extra rvps.names", ["rvps.namespace="]),
        ("init -t ", list(TEMPLATES)),
        ("recompute x --cpu EPYC-T", [name for name in CPU_MODELS if name.startswith("EPYC-T")]),
        ("measure x --cpu EPYC-T", [name for name in CPU_MODELS if name.startswith("EPYC-T")]),
        ("recompute x --profile ", profile_names()),
        ("profiles ec", ["ec2", "ec2-rdx0"]),
        ("measure x --loader al", ["all"]),
        (f"explain {HELLO} x --target ", [LABEL]),
        (f"measure {HELLO} --target ", [LABEL]),
        (f"measure {HELLO} --set vcpu.count=3 --target ", ["snp/qemu/EPYC-Milan/vcpus3"]),
        (f"qemu-args {HELLO} --target snp", [LABEL]),
        (f"export {VALUES} --target ", [LABEL]),
        ("--show-completion ", ["bash", "zsh", "fish", "powershell", "pwsh"]),
        ("cache ", ["path", "list", "clean"]),
        ("cache list -f ", ["table", "json"]),
        ("me", ["measure", "merge"]),
        ("measure --of", ["--offline"]),
        # Files are the shell's own to complete, and what is at fault is not told here.
        ("measure ", []),
        ("measure --expect ", []),
        ("measure nowhere --target ", []),
        ("measure - --target ", []),
    ],
)  # fmt: skip
def test_values_are_completed(complete: object, line: str, values: list[str]) -> None:
    assert callable(complete)
    assert complete(f"sevbuild {line}") == values


def test_no_shell_is_given_what_it_would_evaluate(complete: object, tmp_path: Path) -> None:
    assert callable(complete)
    document = json.loads(VALUES.read_text())
    value = document["values"][0]
    labels = [
        "snp/a",
        "snp/$(touch x)",
        "snp/`x`",
        "snp/'",
        'snp/"',
        "snp/;x",
        "snp/\\",
        "snp/a b",
        "snp/\x1b",
    ]
    document["values"] = [{**value, "label": label} for label in labels]
    (tmp_path / "values.json").write_text(json.dumps(document))
    assert complete(f"sevbuild export {tmp_path / 'values.json'} --target ") == ["snp/a"]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [("zsh", '(("hex"\n"base64"\n'), ("fish", "hex\nbase64\n"), ("powershell", "hex::: \n")],
)
def test_every_shell_has_its_form(shell: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SEVBUILD_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sevbuild measure -f ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert expected in run().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    result = run("--show-completion", shell)
    assert (result.status, result.err) == (0, "")
    assert "_SEVBUILD_COMPLETE" in result.out


def test_a_shell_must_be_known() -> None:
    for flag in ("--show-completion", "--install-completion"):
        result = run(flag, "csh")
        assert (result.status, result.err.splitlines()[0]) == (2, f"error: {flag} csh: unknown shell")
        assert run(flag).status == 2


def test_completion_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sevbuild", "--install-completion", "bash"]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    script = tmp_path / ".bash_completions" / "sevbuild.sh"
    assert result.stderr == f"wrote {script}; restart bash to use it\n"
    assert "_SEVBUILD_COMPLETE" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_bash_completes_a_line(tmp_path: Path) -> None:
    program = tmp_path / "sevbuild"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m sevbuild "$@"\n')
    program.chmod(0o755)
    script = (
        "source <(sevbuild --show-completion bash); COMP_WORDS=(sevbuild measure -f j); COMP_CWORD=3\n"
        "_sevbuild_completion sevbuild; echo ${COMPREPLY[@]}"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    bash = shutil.which("bash") or "bash"
    result = subprocess.run([bash, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert (result.stdout, result.stderr) == ("json\n", "")

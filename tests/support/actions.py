"""What the runner of GitHub Actions does with a step, as far as the tests need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.support.shared import ROOT

__all__ = ["Runner", "Step", "load_yaml", "parse_command", "read_outputs"]


class Step(NamedTuple):
    """Hold how a step ended: exit status, both streams, its outputs and its summary."""

    status: int
    out: str
    err: str
    outputs: dict[str, str]
    summary: str


def load_yaml(path: Path) -> Any:
    """Return the document of a YAML file."""
    return YAML(typ="safe", pure=True).load(path.read_text())


def parse_command(line: str) -> tuple[str, dict[str, str], str] | None:
    """Return name, properties and data of a workflow command, None for any other line of a log.

    As the runner reads them: src/Runner.Common/ActionCommand.cs of actions/runner.
    """
    line = line.lstrip()
    if not line.startswith("::") or "::" not in line[2:]:
        # The older form, which may stand anywhere in a line.
        return ("##", {}, line) if "##[" in line else None
    head, _, data = line[2:].partition("::")
    name, _, given = head.partition(" ")
    pairs = [pair.split("=", 1) for pair in given.split(",") if "=" in pair]
    properties = {key: _unescape(value, "\r\n:,%") for key, value in pairs}
    return name, properties, _unescape(data, "\r\n%")


def _unescape(text: str, characters: str) -> str:
    for character in characters:
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def read_outputs(text: str) -> dict[str, str]:
    """Return the outputs in $GITHUB_OUTPUT; lines end at LF (src/Runner.Worker/FileCommandManager.cs)."""
    outputs = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, separator, delimiter = line.partition("<<")
        assert separator, line
        assert name, line
        assert delimiter, line
        value = []
        for part in lines:
            if part == delimiter:
                break
            value.append(part)
        else:
            raise AssertionError(f"no end of {name}")
        outputs[name] = "\n".join(value)
    return outputs


class Runner:
    """Run the steps of action.yml in a workspace, as the runner would."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.temp = folder / "temp"
        self.workspace.mkdir()
        (self.temp / "sevbuild" / "bin").mkdir(parents=True)
        self.action = load_yaml(ROOT / "action.yml")
        self.steps = {step["id"]: step for step in self.action["runs"]["steps"]}

    def provide(self) -> None:
        """Put this checkout's program where the install step would have put it."""
        program = self.temp / "sevbuild" / "bin" / "sevbuild"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m sevbuild "$@"\n')
        program.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a step, with fresh files for its outputs and summary."""
        files = {"GITHUB_OUTPUT": self.temp / "output", "GITHUB_STEP_SUMMARY": self.temp / "summary"}
        for path in files.values():
            path.write_bytes(b"")
        given = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_ACTION_PATH": str(ROOT),
            "RUNNER_TEMP": str(self.temp),
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            **{name: str(path) for name, path in files.items()},
        }
        # What a person configured for pip holds for the install step as well.
        given.update(
            {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "LC_", "LANG"))}
        )
        return {**given, **more}

    def step(self, name: str, **inputs: str) -> Step:
        """Run one step with these inputs of the action, all others at their default."""
        values = {key: entry.get("default", "") for key, entry in self.action["inputs"].items()}
        values.update({key.replace("_", "-"): value for key, value in inputs.items()})
        step = self.steps[name]
        env = {}
        for variable, expression in step["env"].items():
            assert expression.startswith("${{ inputs."), expression
            env[variable] = values[expression.removeprefix("${{ inputs.").removesuffix(" }}")]
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        # How the runner calls bash: "Workflow syntax", jobs.<id>.steps[*].shell.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        ended = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.workspace,
            env=self.environment(**env),
        )
        outputs = read_outputs((self.temp / "output").read_text())
        return Step(
            ended.returncode, ended.stdout, ended.stderr, outputs, (self.temp / "summary").read_text()
        )

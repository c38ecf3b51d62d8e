"""The examples of the documents: found by their heading, and run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Step", "blocks", "run_session", "steps_of"]


class Step(NamedTuple):
    """One command of a session, and what stands below it."""

    command: str
    printed: tuple[str, ...]


def blocks(page: str, title: str, *languages: str) -> list[str]:
    """Return the examples in these languages below a heading, up to the next one."""
    found, here, fence, lines = list[str](), False, "", list[str]()
    for line in page.splitlines():
        if line.startswith("```"):
            if fence and here and fence in languages:
                found.append("".join(f"{each}\n" for each in lines))
            fence, lines = ("" if fence else line[3:]), []
        elif fence:
            lines.append(line)
        elif line.startswith("#"):
            here = line.lstrip("# ") == title
    return found


def steps_of(session: str) -> list[Step]:
    """Return the commands of a session: each follows the prompt `$ `, and `> ` goes on with it."""
    steps = list[Step]()
    for line in session.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], ()))
        elif line.startswith("> ") and not steps[-1].printed:
            steps[-1] = steps[-1]._replace(command=f"{steps[-1].command}\n{line[2:]}")
        else:
            steps[-1] = steps[-1]._replace(printed=(*steps[-1].printed, line))
    return steps


def run_session(folder: Path, steps: list[Step]) -> list[int]:
    """Run commands in a folder, hold each to what stands below it, and return their exit codes.

    `...` stands for any lines, within a line for any text; all else is whole and in order. Both streams are
    one, as on a terminal.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    codes = []
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", f"set -eu -o pipefail\n{step.command}"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        pattern = "".join(
            r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + r"\n"
            for line in step.printed
        )
        assert re.fullmatch(pattern, done.stdout), f"$ {step.command}\n{done.stdout}"
        codes.append(done.returncode)
    return codes

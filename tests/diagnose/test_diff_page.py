"""Every command of docs/diff.md runs, and prints what stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.pages import run_session, steps_of
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "diff.md").read_text()
SESSIONS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
CODES = [0, 1, 0, 1, 0, 1, 0, 0, 1, 1]
"""The exit codes of the commands, in the order of the page: 1 where anything differs that is launched."""


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "guests" / "hello", tmp_path / "hello")
    steps = [step for session in SESSIONS for step in steps_of(session)]
    assert run_session(tmp_path / "hello", steps) == CODES

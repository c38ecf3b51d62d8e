"""Every command of docs/diff.md runs in a copy of guests/hello, and prints what stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.pages import blocks, run_session, steps_of
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "diff.md").read_text()


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "guests" / "hello", tmp_path / "hello")
    sessions = blocks(PAGE, "How to read it", "console")
    assert len(sessions) == PAGE.count("```console\n") == 2
    steps = [step for session in sessions for step in steps_of(session)]
    assert run_session(tmp_path / "hello", steps) == [0, 1, 0, 1]

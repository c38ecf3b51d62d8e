"""Every command of docs/pictures.md runs, and what is drawn there is what the tool draws."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.picture.support import root_of
from tests.support.cli import run
from tests.support.pages import blocks, run_session, steps_of
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "pictures.md").read_text()


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "guests" / "hello", tmp_path / "hello")
    titles = ("Pictures", "Two launches side by side")
    sessions = [session for title in titles for session in blocks(PAGE, title, "console")]
    assert sessions == re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    steps = [step for session in sessions for step in steps_of(session)]
    assert run_session(tmp_path / "hello", steps) == [0, 0, 0, 0]
    assert (tmp_path / "hello" / "hello.svg").read_text() == (ROOT / "docs" / "hello.svg").read_text()


def test_the_drawn_example_is_current() -> None:
    """`sevbuild plan guests/hello/guest.toml --format svg -o docs/hello.svg` makes it anew."""
    drawn = run("plan", "-q", ROOT / "guests" / "hello" / "guest.toml", "--format", "svg").out
    assert drawn == (ROOT / "docs" / "hello.svg").read_text()
    root_of(drawn)

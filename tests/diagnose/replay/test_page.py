"""Every example of docs/replay.md runs, and prints what stands there."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from sevbuild.diagnose.replay.schema import trace_schema
from sevbuild.guest.guest import load_guest
from sevbuild.launch.region_data import chunks
from tests.support.cli import run
from tests.support.pages import blocks, run_session, steps_of
from tests.support.shared import ROOT
from tests.support.traces import qemu_events, text_of

PAGE = (ROOT / "docs" / "replay.md").read_text()
HELLO = ROOT / "guests" / "hello"


@pytest.mark.slow
def test_a_launch_in_another_order_is_said_to_be_that(tmp_path: Path) -> None:
    shutil.copytree(HELLO, tmp_path / "hello")
    (measured,) = load_guest(str(HELLO / "guest.toml")).measure()
    lines = qemu_events(measured.plan, states=False)
    lines[4], lines[5] = lines[5], lines[4]
    (tmp_path / "hello" / "trace.txt").write_text(text_of(lines))
    (session,) = blocks(PAGE, "What was really launched", "console")
    assert run_session(tmp_path / "hello", steps_of(session)) == [1]


def test_the_writer_writes_what_is_read(tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "A trace of your own", "python")
    assert len(code.splitlines()) <= 30
    (tmp_path / "writer.py").write_text(code)
    names = runpy.run_path(str(tmp_path / "writer.py"))
    (measured,) = load_guest(str(HELLO / "guest.toml")).measure()
    plan = measured.plan
    trace = names["LaunchTrace"](tmp_path / "trace", plan.mode, plan.policy)
    for update in plan.updates:
        data = None if update.data is None else b"".join(chunks(update.data))
        trace.update(update.page_type.label, update.gpa, update.length, data)
    trace.finish(measured.digest)
    for guest in ([], [HELLO / "guest.toml"]):
        result = run("replay", tmp_path / "trace", *guest)
        assert result.status == 0
        assert measured.digest.hex() in result.out


def test_the_page_names_every_key_of_the_format() -> None:
    for shape in trace_schema()["oneOf"]:
        for key in shape["properties"]:
            assert f"`{key}`" in PAGE, key

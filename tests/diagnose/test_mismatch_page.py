"""Every command of docs/mismatch.md and of the README's search runs, and prints what stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.amd_ca import authority
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.kernels import BZIMAGE, CPIO
from tests.support.pages import blocks, run_session, steps_of
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "mismatch.md").read_text()
README = (ROOT / "README.md").read_text()
CASES = {
    "Another vCPU count": [1, 0, 0, 0],
    "Another firmware build": [0, 0, 1, 0],
    "A host of another era": [0],
}
"""The exit codes of the commands below each heading: 1 where digests differ, and where nothing is found."""


@pytest.mark.slow
@pytest.mark.parametrize("title", CASES)
def test_every_command_of_a_case_runs(title: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "guests" / "hello", tmp_path / "hello")
    steps = [step for session in blocks(PAGE, title, "console") for step in steps_of(session)]
    assert run_session(tmp_path / "hello", steps) == CASES[title]


def test_no_command_of_the_page_is_left_out() -> None:
    sessions = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert sessions == [session for title in CASES for session in blocks(PAGE, title, "console")]


def test_the_readme_shows_a_search_near_its_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (manifest,) = blocks(README, "sevbuild", "toml")
    (tmp_path / "guest.toml").write_text(manifest)
    (tmp_path / "OVMF.amdsev.fd").write_bytes(standard_firmware())
    (tmp_path / "vmlinuz").write_bytes(BZIMAGE)
    (tmp_path / "initrd.img").write_bytes(CPIO)
    monkeypatch.chdir(tmp_path)
    booted = ("vcpu.count=8", "vcpu.model=EPYC-Genoa", "launch.profile=qemu")
    measured = run("measure", "-q", *(word for setting in booted for word in ("--set", setting)))
    (tmp_path / "report.bin").write_bytes(authority("Genoa").report(measurement=bytes.fromhex(measured.out)))
    (step,) = [
        step
        for session in blocks(README, "sevbuild", "console")
        for step in steps_of(session)
        if step.command.startswith("sevbuild explain ")
    ]
    result = run(*step.command.split()[1:])
    assert result.status == 0
    *shown, rest = step.printed
    assert (result.out.splitlines()[: len(shown)], rest) == (shown, "...")

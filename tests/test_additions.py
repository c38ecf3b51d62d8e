"""What CONTRIBUTING says of additions holds: a made-up one of each kind touches those files, and works.

Each is a recorded change in `tests/data/additions/`, as `git diff` writes it. When it applies no more,
because a file that it touches has moved on, record it anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.shared import ROOT

CHANGES = ROOT / "tests" / "data" / "additions"
GENERATED = ("docs/manifest.md", "docs/profiles.md")


class Tree(NamedTuple):
    """A copy of the program with an addition, and its guests."""

    root: Path

    def run(self, *args: str) -> str:
        """Return what a command prints on standard output; it must succeed."""
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "sevbuild", *args]
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.root / "guests", env=environment
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


def touched(kind: str) -> list[str]:
    """Return the files that an addition touches, without tests, goldens and what is generated."""
    names = re.findall(r"^\+\+\+ b/(.*)$", (CHANGES / f"{kind}.diff").read_text(), re.MULTILINE)
    return [name for name in names if not name.startswith("tests/") and name not in GENERATED]


def with_addition(kind: str, folder: Path) -> Tree:
    for name in ("sevbuild", "guests", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["git", "apply", "--whitespace=nowarn", str(CHANGES / f"{kind}.diff")]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert result.returncode == 0, result.stderr
    return Tree(folder)


@pytest.mark.parametrize(
    ("kind", "heading", "name"),
    [
        ("profile", "Add a profile", "made-up"),
        ("loader", "Add a loader of IGVM files", "acme-igvm"),
        ("exporter", "Add an export format", "csv"),
        ("input", "Add a kind of input", ""),
    ],
)
def test_an_addition_touches_what_contributing_says(kind: str, heading: str, name: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    said = {path.replace("NAME", name) for path in re.findall(r"`((?:sevbuild|docs)/[\w/.-]+)`", section)}
    files = touched(kind)
    assert 0 < len(files) <= 3
    assert set(files) <= said


def test_a_profile(tmp_path: Path) -> None:
    tree = with_addition("profile", tmp_path)
    made = json.loads(
        tree.run("measure", "hello/guest.toml", "--set", "launch.profile=made-up", "-f", "json")
    )
    known = json.loads(tree.run("measure", "hello/guest.toml", "-f", "json"))
    assert made["values"][0]["label"] == "snp/made-up/EPYC-Milan/vcpus1"
    assert made["values"][0]["digest"] != known["values"][0]["digest"]
    assert "made-up" in tree.run("profiles")


def test_a_loader(tmp_path: Path) -> None:
    tree = with_addition("loader", tmp_path)
    predicted = tree.run("measure", "hello/guest.toml", "--set", "launch.profile=acme-igvm").strip()
    tree.run("build", "hello/guest.toml", "--set", "launch.profile=acme-igvm", "-o", "bundle")
    (file,) = (tree.root / "guests" / "bundle").rglob("guest.igvm")
    assert tree.run("measure", str(file), "--loader", "acme").strip() == predicted
    assert "acme" in tree.run("inspect", str(file))


def test_an_exporter(tmp_path: Path) -> None:
    tree = with_addition("exporter", tmp_path)
    (value,) = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())["values"]
    lines = tree.run("export", "hello", "--format", "csv").splitlines()
    assert lines == ["label,policy,launch digest", f"{value['label']},0x30000,{value['digest']}"]
    tree.run("publish", "hello/guest.toml", "-o", "release")
    assert (tree.root / "guests" / "release" / "launch-digests.csv").exists()


def test_an_input(tmp_path: Path) -> None:
    tree = with_addition("input", tmp_path)
    guest = tree.root / "guests" / "hello"
    golden = json.loads((guest / "reference-values.json").read_text())["values"][0]["digest"]
    (guest / "board.dtb").write_bytes(b"a device tree")
    with (guest / "guest.toml").open("a") as manifest:
        manifest.write('\n[dtb]\npath = "board.dtb"\n')
    assert tree.run("measure", "hello/guest.toml").strip() == golden
    assert 'role = "dtb"' in tree.run("lock", "hello/guest.toml", "-o", "-")
    tree.run("build", "hello/guest.toml", "-o", "bundle")
    tree.run("verify", "bundle")
    kept = [path for path in (tree.root / "guests" / "bundle").rglob("*") if path.is_file()]
    assert b"a device tree" in [path.read_bytes() for path in kept]

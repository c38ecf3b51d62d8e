"""A little of `make torture`: kills and runs at once, over outputs that are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.shared import ROOT

pytestmark = pytest.mark.slow


def test_neither_kills_nor_neighbours_lose_anything() -> None:
    command = [
        sys.executable,
        str(ROOT / "tools" / "torture.py"),
        "--kills",
        "30",
        "--runs",
        "20",
        "--seed",
        "7",
    ]
    result = subprocess.run([*command, "--no-namespaces"], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "seed 7"
    assert lines[1].startswith("30 kills in ")
    # Both outputs were met, and things left behind, or the kills prove nothing.
    assert " new" in result.stdout
    assert " old" in result.stdout
    assert "left something" in result.stdout
    assert "20 runs in " in result.stdout

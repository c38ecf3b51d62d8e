"""Run the tests of tests/gates against an earlier commit, where each of them must fail on its assertion.

    python tools/gates_at.py e3e929f

A test that passes there shows nothing; one that fails for want of a module, a fixture or an option shows the
wrong thing. The commit is checked out beside, gets the tests and the firmware they make, imports from
tests/support what it has itself, and runs them with this Python. Exit code 1 where a test passes there or
fails otherwise.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Runs beside the tests: writes down how each of them ended, and with what.
CONFTEST = """
import importlib, importlib.util, json, sys
import pytest

# Rooms that had another name then.
for now, then in {"sevbuild.documents": "sevbuild.manifest"}.items():
    if importlib.util.find_spec(now) is None:
        sys.modules[now] = importlib.import_module(then)

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: as pyproject.toml says today")

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" or report.outcome != "passed":
        kind = call.excinfo.type.__name__ if call.excinfo else ""
        with open("outcomes.jsonl", "a") as stream:
            stream.write(json.dumps([item.nodeid, report.when, report.outcome, kind]) + "\\n")
"""
ON_AN_ASSERTION = ("AssertionError", "Failed")


def outcomes(commit: str) -> tuple[list[tuple[str, str, str, str]], str]:
    """Return node id, phase, outcome and exception of every test at `commit`, and what pytest said."""
    with tempfile.TemporaryDirectory(prefix="gates-at-") as name:
        tree = Path(name) / "tree"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True
        )
        try:
            shutil.rmtree(tree / "tests" / "gates", ignore_errors=True)
            shutil.copytree(ROOT / "tests" / "gates", tree / "tests" / "gates")
            # It knows nothing of the program, and the tests ask it for what it did not have then.
            shutil.copy(ROOT / "tests" / "support" / "firmware.py", tree / "tests" / "support")
            (tree / "tests" / "gates" / "conftest.py").write_text(CONFTEST)
            shared = ROOT.parent / "shared"
            if shared.exists():
                (tree.parent / "shared").symlink_to(shared)
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gates"]
            result = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
            found = tree / "outcomes.jsonl"
            lines = found.read_text().splitlines() if found.exists() else []
            return [tuple(json.loads(line)) for line in lines], result.stdout + result.stderr
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def main() -> None:
    """Print how each test ended that did not fail on its assertion, and the counts."""
    if len(sys.argv) != 2:
        sys.exit(str(__doc__))
    found, said = outcomes(sys.argv[1])
    wrong = [
        (test, phase, outcome, kind)
        for test, phase, outcome, kind in found
        if (phase, outcome) != ("call", "failed") or kind not in ON_AN_ASSERTION
    ]
    for test, phase, outcome, kind in wrong:
        print(f"{test}: {outcome} in {phase} {kind}".rstrip())
    print(f"{len(found) - len(wrong)} of {len(found)} tests fail on their assertion at {sys.argv[1]}")
    if not found:
        sys.exit(said)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""Temporary files are nobody else's, and runs that meet in one place all end well."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

pytestmark = pytest.mark.slow


def _guest(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    return write_manifest(folder, firmware={"path": "OVMF.fd"})


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.parametrize("verb", ["lock", "export", "init"])
def test_what_is_planted_under_a_foreseeable_name_is_not_followed(tmp_path: Path, verb: str) -> None:
    manifest = _guest(tmp_path / "guest")
    (tmp_path / "victim").write_text("precious")
    target = tmp_path / "out"
    for name in (f"out.{os.getpid()}.tmp", "out.tmp", ".out.sevbuild-new"):
        (tmp_path / name).symlink_to("victim")
    arguments = {
        "lock": ["lock", manifest, "-o", target],
        "export": ["export", "-q", manifest, "--format", "hex", "-o", target],
        "init": ["init", target],
    }[verb]
    result = run(*arguments)
    assert (tmp_path / "victim").read_text() == "precious"
    assert result.status == 0
    assert not target.is_symlink()
    assert (tmp_path / f"out.{os.getpid()}.tmp").is_symlink()


KILLED = """
import os, signal, sys
import sevbuild.cli
# As a disk would be slow just now.
os.fsync = lambda _descriptor: os.kill(os.getpid(), signal.SIGKILL)
sevbuild.cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("verb", ["lock", "export", "publish", "build"])
def test_what_a_kill_leaves_is_hidden_and_the_next_run_removes_it(tmp_path: Path, verb: str) -> None:
    manifest = _guest(tmp_path)
    arguments = {
        "lock": ["lock", manifest, "-o", tmp_path / "out"],
        "export": ["export", "-q", manifest, "--format", "hex", "-o", tmp_path / "out"],
        "publish": ["publish", "-q", manifest, "-o", tmp_path / "out"],
        "build": ["build", "-q", manifest, "-o", tmp_path / "out"],
    }[verb]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    killed = subprocess.run(command, check=False, capture_output=True, env=_environment())
    assert killed.returncode == -9, killed.stderr
    left = [name for name in _names(tmp_path) if name not in ("OVMF.fd", "guest.toml")]
    assert len(left) == 1
    assert left[0].startswith(".out.sevbuild-new-")
    # Nobody could have known that name.
    assert len(set(left[0].removeprefix(".out.sevbuild-new-"))) > 4
    assert len(left[0]) >= len(".out.sevbuild-new-") + 16
    assert run(*arguments).status == 0
    assert _names(tmp_path) == ["OVMF.fd", "guest.toml", "out"]


def _timed(command: list[str], seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=_environment(**environment),
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stderr or b"").decode()
        pytest.fail(f"it waited for ever, saying {said!r}")


@pytest.mark.parametrize("verb", ["publish", "build"])
def test_nobody_can_hold_up_a_run_by_the_folder_above(tmp_path: Path, verb: str) -> None:
    """Everybody may take the lock of /tmp, say."""
    manifest = _guest(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        command = [sys.executable, "-m", "sevbuild", verb, "-q", str(manifest), "-o", str(tmp_path / "out")]
        assert _timed(command, 60).returncode == 0
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("verb", ["publish", "build"])
def test_waiting_for_another_run_is_said_and_ends(tmp_path: Path, verb: str) -> None:
    manifest = _guest(tmp_path)
    command = [sys.executable, "-m", "sevbuild", verb, "-q", str(manifest), "-o", str(tmp_path / "out")]
    assert _timed(command, 60).returncode == 0
    place = str(tmp_path / "out")
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        result = _timed(command, 60, SEVBUILD_LOCK_TIMEOUT="1.5")
    finally:
        os.close(descriptor)
    assert result.returncode == 2
    holder = f"process {os.getpid()}"
    first, second, hint = result.stderr.splitlines()
    assert first.startswith(f"waiting for {place}, which {holder}")
    assert second.startswith(f"error: {place}: {holder}")
    assert "SEVBUILD_LOCK_TIMEOUT" in hint
    assert _timed(command, 60).returncode == 0


RUNS = 20
TIMES = 6
TOGETHER = """
import sys, time
from sevbuild.cli import main
gate, times, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
# All begin at once, with nothing left to import.
import sevbuild.guest.guest, sevbuild.guest.locking, sevbuild.bundle.release, sevbuild.bundle.write
import sevbuild.reference.release, os
print("ready", file=sys.stderr, flush=True)
while not os.path.exists(gate):
    time.sleep(0.001)
worst = 0
for _ in range(times):
    try:
        main(arguments)
    except SystemExit as end:
        worst = max(worst, end.code or 0)
sys.exit(worst)
"""


def _namespaces() -> list[str]:
    """Return the words that run a command in a PID namespace of its own; the test skips where none does."""
    for words in (
        ["unshare", "--pid", "--fork"],
        ["unshare", "--user", "--map-root-user", "--pid", "--fork"],
    ):
        if (
            shutil.which("unshare")
            and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0
        ):
            return words
    pytest.skip("no PID namespace can be made here")


@pytest.mark.parametrize(
    ("verb", "where"),
    [("lock", "namespaces"), ("export", "namespaces"), ("publish", "namespaces"), ("build", "one")],
)
def test_twenty_runs_into_one_place_all_succeed(tmp_path: Path, verb: str, where: str) -> None:
    manifest = _guest(tmp_path / "guest")
    out = tmp_path / "place" / "out"
    out.parent.mkdir()
    arguments = {
        "lock": ["lock", manifest, "-o", out],
        "export": ["export", "-q", manifest, "--format", "hex", "-o", out],
        "publish": ["publish", "-q", manifest, "-o", out, "--formats", "hex"],
        "build": ["build", "-q", manifest, "-o", out],
    }[verb]
    assert run(*arguments).status == 0
    whole = _contents(out)
    words = _namespaces() if where == "namespaces" else []
    gate = tmp_path / "gate"
    command = [*words, sys.executable, "-c", TOGETHER, str(gate), str(TIMES), *map(str, arguments)]
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_environment()
        )
        for _ in range(RUNS)
    ]
    for process in processes:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
    gate.touch()
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    failed = [words for words, status in ended if status]
    assert not failed, f"{len(failed)} of {RUNS}: {failed[0]}"
    assert _contents(out) == whole
    assert _names(out.parent) == ["out"]


def _contents(path: Path) -> dict[str, bytes]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(one.relative_to(path)): one.read_bytes() for one in found if one.is_file()}


def test_a_run_that_waits_goes_on_when_the_other_ends(tmp_path: Path) -> None:
    manifest = _guest(tmp_path)
    command = [sys.executable, "-m", "sevbuild", "publish", "-q", str(manifest), "-o", str(tmp_path / "out")]
    assert _timed(command, 60).returncode == 0
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stderr is not None
        # It says so before it is let on; an earlier version had gone past without looking.
        assert process.stderr.readline().startswith("waiting for ")
        time.sleep(0.1)
        assert process.poll() is None
        os.close(descriptor)
        assert process.wait(60) == 0

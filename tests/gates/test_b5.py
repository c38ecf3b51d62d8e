"""A fault of writing names the file being written, not the input that was read for it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

LARGE = 1 << 20


def _guest(folder: Path, part: str) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    for name in ("kernel", "initrd"):
        (folder / name).write_bytes(bytes(LARGE if name == part else 10))
    return write_manifest(
        folder,
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdline": "x"},
        initrd={"path": "initrd"},
    )


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, LARGE // 2))


@pytest.mark.parametrize("part", ["kernel", "initrd"])
def test_a_file_that_cannot_grow_is_named(tmp_path: Path, part: str) -> None:
    manifest = _guest(tmp_path, part)
    result = subprocess.run(
        [sys.executable, "-m", "sevbuild", "build", "-q", str(manifest), "-o", str(tmp_path / "dist")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=_limit_files,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: cannot write {tmp_path}/dist/inputs/{part}")
    assert "File too large" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["OVMF.fd", "guest.toml", "initrd", "kernel"]


SMALL = 'mount -t tmpfs -o size=256k none "$1" && shift && exec "$@"'


def test_a_full_disk_is_said_of_the_output(tmp_path: Path) -> None:
    manifest = _guest(tmp_path, "initrd")
    disk = tmp_path / "disk"
    disk.mkdir()
    start = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL, "sh", str(disk)]
    if (
        not shutil.which("unshare")
        or subprocess.run([*start, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    command = [sys.executable, "-m", "sevbuild", "build", "-q", str(manifest), "-o", str(disk / "dist")]
    result = subprocess.run(
        [*start, *command],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 2
    # Both are written at once: the smaller may come when the larger has filled the disk.
    assert result.stderr in [
        f"error: cannot write {disk}/dist/inputs/{part}: No space left on device\n"
        for part in ("initrd-1.part", "kernel-0.part")
    ]


@pytest.mark.parametrize("verb", ["build", "publish"])
def test_a_folder_that_cannot_be_written_to_is_said_of_the_output(tmp_path: Path, verb: str) -> None:
    manifest = _guest(tmp_path, "")
    command = [sys.executable, "-m", "sevbuild", verb, "-q", str(manifest), "-o", "/proc/dist"]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: cannot write /proc/dist: ")

"""What a manifest and its inputs cost is bounded, and grows with them alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from sevbuild.documents import locate
from sevbuild.errors import SevbuildError
from sevbuild.fs import read_file
from sevbuild.manifest.decode import decode_manifest
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

MEMORY = 512 << 20

RUN = """
import io, resource, sys
from contextlib import redirect_stdout
from sevbuild.cli import main
limit, *arguments = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
read = lambda: int(open("/proc/self/io").read().split()[1])
status, before = 0, read()
try:
    with redirect_stdout(io.StringIO()):
        main(arguments)
except SystemExit as ended:
    status = ended.code or 0
print(status, read() - before)
"""


def _run(*arguments: object, memory: int = 0) -> tuple[int, int, str]:
    """Return exit code, bytes read and standard error of a run in a process of its own."""
    command = [sys.executable, "-c", RUN, str(memory), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    words = ended.stdout.split() or ["-1", "0"]
    return int(words[0]), int(words[1]), ended.stderr


def test_named_command_lines_count_in_the_bound_on_targets(tmp_path: Path) -> None:
    lines = {f"line{index}": f"x={index}" for index in range(2_000)}
    kernel = {"path": "kernel", "cmdlines": lines}
    manifest = write_manifest(tmp_path, firmware={"path": "f"}, kernel=kernel, vcpu={"count": "1-4000"})
    status, _, said = _run("measure", manifest, memory=MEMORY)
    assert status == 2, said[-200:]
    assert "kernel.cmdlines: the lists multiply to more than 200000 targets" in said


def test_a_pinned_file_under_a_lock_is_hashed_once(tmp_path: Path) -> None:
    data = standard_firmware(size=8 << 20, fill=Random(7).randbytes(1 << 20))
    (tmp_path / "OVMF.fd").write_bytes(Random(8).randbytes(7 << 20) + data[-1 << 20 :])
    profile = {"profile": "qemu-igvm"}
    manifest = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, launch=profile)
    assert run("build", "-q", manifest, "-o", tmp_path / "built").status == 0
    (built,) = (tmp_path / "built").rglob("guest.igvm")
    size, pin = built.stat().st_size, sha256(built.read_bytes()).hexdigest()
    manifest = write_manifest(tmp_path, launch=profile, igvm={"path": str(built), "sha256": pin})
    assert run("lock", manifest).status == 0
    # Once for its digest, once page by page for the launch digest; the rest is the program and the headers.
    status, read, said = _run("measure", "-q", "--locked", "-f", "json", manifest)
    assert status == 0, said
    assert size > 8 << 20
    assert 2 * size < read < 3 * size


def test_the_time_to_read_a_pipe_grows_with_its_bytes_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def seconds(size: int) -> float:
        def write() -> None:
            with (tmp_path / "pipe").open("wb") as stream:
                for _ in range(size >> 20):
                    stream.write(bytes(1 << 20))

        writer = threading.Thread(target=write)
        writer.start()
        start = time.thread_time()
        assert len(read_file(str(tmp_path / "pipe"), size)) == size
        spent = time.thread_time() - start
        writer.join()
        return spent

    few = max(seconds(4 << 20), 0.01)
    # Eight times as much; with a copy of all that came before for each piece it is more than fifty times.
    assert seconds(32 << 20) < 25 * few


def test_the_lines_of_a_manifest_are_looked_up_once_whatever_its_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = []
    original = locate.locate

    def count(text: str) -> dict[str, int]:
        scans.append(len(text))
        return original(text)

    monkeypatch.setattr(locate, "locate", count)
    text = 'schema = 1\nguest = { name = "a", version = "1" }\nlaunch = { mode = "snp", profile = "qemu" }\n'
    text += 'firmware = { path = "f" }\n' + "[[matrix]]\nvcpu = { count = 0, model = 1 }\n" * 100
    with pytest.raises(SevbuildError) as caught:
        decode_manifest(text, "guest.toml")
    assert len(getattr(caught.value, "faults", ())) == 200
    assert len(scans) == 1


def test_what_a_matrix_costs_grows_with_its_entries_alone(tmp_path: Path) -> None:
    """Twenty thousand entries decode and measure in seconds; here is that it is so for each step."""
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())

    def steps(entries: int) -> int:
        matrix = [{"vcpu": {"count": 1, "signature": index}} for index in range(entries)]
        manifest = write_manifest(
            tmp_path, firmware={"path": "OVMF.fd"}, vcpu={"count": None, "model": None}, matrix=matrix
        )
        seen = 0

        def trace(_frame: object, event: str, _argument: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        sys.setprofile(trace)
        try:
            assert run("measure", "-q", "-f", "json", manifest).status == 0
        finally:
            sys.setprofile(None)
        return seen

    few, some, many = (steps(count) for count in (1, 101, 401))
    assert many - some < 3.3 * (some - few)

"""guests/hello runs: under QEMU's emulation, without KVM, it prints its line on both ports."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.support.real import QEMU, require
from tests.support.shared import ROOT

LINE = b"hello from sevbuild\r\n"

pytestmark = pytest.mark.emulator


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_it_prints_its_line(tmp_path: Path, machine: str) -> None:
    require(QEMU, "qemu-system-x86_64")
    serial, debug = tmp_path / "serial", tmp_path / "debug"
    command = [
        str(QEMU), "-machine", machine, "-accel", "tcg", "-m", "64", "-display", "none", "-monitor", "none", "-no-reboot",
        "-bios", str(ROOT / "guests" / "hello" / "hello.fd"),
        "-serial", f"file:{serial}", "-debugcon", f"file:{debug}", "-global", "isa-debugcon.iobase=0x402",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if all(path.exists() and path.read_bytes().endswith(b"\n") for path in (serial, debug)):
                break
            time.sleep(0.05)
        assert process.poll() is None, "it halts; it does not reset or stop"
        time.sleep(0.2)
        assert (serial.read_bytes(), debug.read_bytes()) == (LINE, LINE)
    finally:
        process.kill()
        process.wait()

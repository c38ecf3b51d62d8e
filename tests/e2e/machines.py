"""Start QEMU without KVM, and watch what the guest writes to its serial port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.shared import ROOT

__all__ = ["KERNEL_LINE", "Boot", "Qemu", "boot", "needed", "qemu_before_10", "qemu_from_10", "some_qemu"]

KERNEL_LINE = b"Linux version "
BACKPORTS = ROOT / ".cache" / "backports"


class Qemu(NamedTuple):
    """Hold a QEMU: how it is called, its major version, and what it needs to find its own files."""

    command: tuple[str, ...]
    major: int
    environment: dict[str, str]


class Boot(NamedTuple):
    """Hold a running guest and the file of its serial port."""

    process: subprocess.Popen[bytes]
    serial_path: Path
    log_path: Path
    started: float

    @property
    def serial(self) -> bytes:
        """Return what the guest has written so far."""
        return self.serial_path.read_bytes() if self.serial_path.exists() else b""

    def wait_for(self, text: bytes, limit: float = 90) -> float:
        """Return the seconds until the guest wrote this; the test fails after `limit` or when QEMU ends."""
        while text not in self.serial:
            elapsed = time.monotonic() - self.started
            if self.process.poll() is not None or elapsed > limit:
                said = self.log_path.read_text(errors="replace")
                pytest.fail(
                    f"no {text!r} after {elapsed:.0f} s; serial: {self.serial[-500:]!r}; QEMU: {said}"
                )
            time.sleep(0.05)
        return time.monotonic() - self.started

    def wait_until(self, elapsed: float) -> None:
        """Wait until that many seconds after the start, or until the guest writes or QEMU ends."""
        while time.monotonic() - self.started < elapsed and self.process.poll() is None and not self.serial:
            time.sleep(0.05)


def needed(path: Path, what: str) -> Path:
    """Return a file that the tests cannot do without; the test fails where it is absent."""
    if not path.exists():
        pytest.fail(f"{what} is not there: .ci/run fetches it (SEVBUILD_E2E=skip passes over these tests)")
    return path


def _qemus() -> list[Qemu]:
    found = []
    on_path = shutil.which("qemu-system-x86_64")
    if on_path:
        found.append(Qemu((on_path,), _major(on_path), {}))
    unpacked = BACKPORTS / "usr" / "bin" / "qemu-system-x86_64"
    if unpacked.exists():
        share, libraries = BACKPORTS / "usr" / "share", BACKPORTS / "usr" / "lib" / "x86_64-linux-gnu"
        environment = {
            "LD_LIBRARY_PATH": str(libraries),
            # Else it tries the modules of the installed QEMU, and complains that they are another's.
            "QEMU_MODULE_DIR": str(libraries / "qemu"),
        }
        command = (str(unpacked), "-L", str(share / "qemu"), "-L", str(share / "seabios"))
        found.append(Qemu(command, _major(str(unpacked), environment), environment))
    if not found:
        pytest.fail("no qemu-system-x86_64: .ci/run installs it (SEVBUILD_E2E=skip passes over these tests)")
    return found


def _major(program: str, environment: dict[str, str] | None = None) -> int:
    said = subprocess.run(
        [program, "--version"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    ).stdout
    match = re.search(r"version (\d+)\.", said)
    assert match, said
    return int(match.group(1))


def some_qemu() -> Qemu:
    """Return any QEMU, the one on PATH first."""
    return _qemus()[0]


def qemu_before_10() -> Qemu:
    """Return a QEMU that hands over the kernel with its setup header patched only."""
    return _pick([qemu for qemu in _qemus() if qemu.major < 10], "a QEMU before 10.0")


def qemu_from_10() -> Qemu:
    """Return a QEMU that also hands over the kernel as it is (fw_cfg etc/boot/kernel)."""
    return _pick([qemu for qemu in _qemus() if qemu.major >= 10], "a QEMU of 10.0 or later")


def _pick(found: list[Qemu], what: str) -> Qemu:
    if found:
        return found[0]
    message = f"{what} is neither on PATH nor in .cache/backports; another one was tested"
    if os.environ.get("SEVBUILD_REQUIRE_REAL") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def boot(qemu: Qemu, folder: Path, arguments: Sequence[str], *, cwd: Path | None = None) -> Iterator[Boot]:
    """Start a guest under emulation in `cwd`, its serial port in a file of `folder`; end it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    serial, log = folder / "serial", folder / "qemu.log"
    command = [
        *qemu.command, "-accel", "tcg", "-display", "none", "-vga", "none", "-nic", "none", "-monitor", "none", "-no-reboot",
        "-serial", f"file:{serial}", *arguments,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **qemu.environment},
        )
        try:
            yield Boot(process, serial, log, time.monotonic())
        finally:
            process.kill()
            process.wait()

"""A vCPU held at its reset vector, stepped one instruction at a time through QEMU's debug port."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.machines import Boot, Qemu, boot

__all__ = ["REGISTERS", "Vcpu", "held"]

REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip")  # fmt: skip
"""The first registers of a `g` packet, 8 bytes each, little-endian (QEMU gdb-xml/i386-64bit.xml)."""


class Vcpu:
    """Talk GDB's remote protocol: read and write registers, step, let run."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def registers(self) -> dict[str, int]:
        """Return the registers by name."""
        raw = bytes.fromhex(self._ask("g"))
        return {
            name: int.from_bytes(raw[8 * index : 8 * index + 8], "little")
            for index, name in enumerate(REGISTERS)
        }

    def set(self, name: str, value: int) -> None:
        """Write a register."""
        raw = bytearray.fromhex(self._ask("g"))
        index = 8 * REGISTERS.index(name)
        raw[index : index + 8] = value.to_bytes(8, "little")
        # No more than up to that register: writing back control registers is not without effect.
        assert self._ask("G" + raw[: index + 8].hex()) == "OK"

    def step(self) -> None:
        """Run one instruction."""
        assert self._ask("s").startswith("T05")

    def let_run(self) -> None:
        """Let the guest run from here on."""
        assert self._ask("D") == "OK"

    def _ask(self, command: str) -> str:
        packet = command.encode("ascii")
        self._connection.sendall(b"$" + packet + b"#%02x" % (sum(packet) % 256))
        while True:
            head, mark, rest = self._received.partition(b"#")
            if mark and len(rest) >= 2:
                break
            received = self._connection.recv(65536)
            if not received:
                pytest.fail("QEMU closed its debug port")
            self._received += received
        self._received = rest[2:]
        self._connection.sendall(b"+")
        return head.partition(b"$")[2].decode("ascii")


@contextmanager
def held(qemu: Qemu, folder: Path, arguments: Sequence[str]) -> Iterator[tuple[Vcpu, Boot]]:
    """Start a guest that waits before its first instruction; yield its vCPU and the guest."""
    # The path of a socket may not be long, as temporary folders of tests are.
    with tempfile.TemporaryDirectory() as short:
        address = os.path.join(short, "gdb")
        port = ["-S", "-chardev", f"socket,id=gdb,path={address},server=on,wait=off", "-gdb", "chardev:gdb"]
        with boot(qemu, folder, [*arguments, *port]) as started:
            deadline = time.monotonic() + 60
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(60)
                while True:
                    try:
                        connection.connect(address)
                        break
                    except OSError:
                        if time.monotonic() > deadline or started.process.poll() is not None:
                            pytest.fail(f"no debug port: {started.log_path.read_text()}")
                        time.sleep(0.05)
                yield Vcpu(connection), started

"""Run the program on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios

from tests.support.shared import ROOT

__all__ = ["on_terminal"]


def on_terminal(
    *arguments: object, columns: int = 80, environment: dict[str, str] | None = None, out: int | None = None
) -> tuple[int, str]:
    """Return exit code and all that a command shows on a terminal; `out` takes standard output elsewhere."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "sevbuild", *map(str, arguments)],
        stdin=slave,
        stdout=slave if out is None else out,
        stderr=slave,
        env={**inherited, "TERM": "xterm", "PYTHONPATH": str(ROOT), **(environment or {})},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # the terminal of a process that has ended
            break
        if not part:
            break
        shown += part
    os.close(master)
    return process.wait(), shown.decode().replace("\r\n", "\n")

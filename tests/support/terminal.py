"""Run the program on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios

from tests.support.shared import ROOT

__all__ = ["left_on_screen", "on_terminal"]


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


def left_on_screen(shown: str) -> str:
    """Return what stands on a terminal after it was sent this: lines, and what erases them."""
    lines, row, column = [""], 0, 0
    for count, control, text in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", shown):
        if text == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text == "\r":
            column = 0
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + 1 :]
            column += 1
        elif control == "A":
            row -= int(count or 1)
            assert row >= 0, "above what was written"
        elif control == "K":
            lines[row] = "" if count == "2" else lines[row][:column]
        else:
            assert control == "m", control
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")

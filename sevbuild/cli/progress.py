"""One line on a terminal that tells how far long work has come, and is gone when it has ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sevbuild.progress import Meter
from sevbuild.text import visible

__all__ = ["clear_line", "end_line", "show_progress"]

_FIRST = 0.5
_EVERY = 0.1
_NAME = 40
_ERASE = "\r\x1b[K"  # ECMA-48 EL


class _Line:
    """What is under way, and the line that shows it; threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[object, str] = {}
        self._next = 0.0
        self._drawn = False

    def begin(self, task: object) -> None:
        """Have a task under way; nothing of it is seen unless it takes long."""
        with self._lock:
            if not self._tasks:
                self._next = time.monotonic() + _FIRST
            self._tasks[task] = ""

    def show(self, task: object, text: str) -> None:
        """Say how far a task is."""
        now = time.monotonic()
        with self._lock:
            if now < self._next or task not in self._tasks:
                return
            self._tasks[task] = text
            self._next = now + _EVERY
            shown = "; ".join(filter(None, self._tasks.values()))
            sys.stderr.write(f"{_ERASE}{shown[: _width() - 1]}")
            sys.stderr.flush()
            self._drawn = True

    def finish(self, task: object) -> None:
        """Take a task away, and with the last one the line."""
        with self._lock:
            self._tasks.pop(task, None)
            if not self._tasks:
                self._erase()

    def clear(self, *, forget: bool = False) -> None:
        """Take the line away until a task has more to say, or forget all tasks."""
        with self._lock:
            if forget:
                self._tasks.clear()
            self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


_line = _Line()


@contextmanager
def show_progress(name: str, *, unit: str = "bytes") -> Iterator[Meter]:
    """Show how far the work on a path or URL is, or that called `name`, once it has taken half a second.

    Bytes are shown as megabytes, any other unit as a count.
    """
    task, words = object(), visible(_short(name))

    def draw(have: int, total: int | None) -> None:
        if unit == "bytes":
            of = f" of {total / 1e6:.1f} MB, {100 * have // total} %" if total else " MB"
            _line.show(task, f"{words}: {have / 1e6:.1f}{of}")
        else:
            _line.show(task, f"{words}: {have}{f' of {total}' if total else ''} {unit}")

    _line.begin(task)
    try:
        yield draw
    finally:
        _line.finish(task)


def clear_line() -> None:
    """Make room for a message; the line comes back below it."""
    _line.clear()


def end_line() -> None:
    """Take the line away for good: nobody waits any longer for what is still under way."""
    _line.clear(forget=True)


def _short(name: str) -> str:
    # What follows the path of a URL may be a secret.
    path = name.partition("?")[0] if "://" in name else name
    return path.rpartition("/")[2][-_NAME:] or name[-_NAME:]


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80

"""One line on a terminal that tells how far long work has come."""

from __future__ import annotations

import sys
import threading
import time

from sevbuild.text import visible

__all__ = ["ProgressLine"]

_FIRST = 0.5
_EVERY = 0.1
_MIB = 1 << 20


class ProgressLine:
    """Count bytes by input and show them on standard error, if that is a terminal and it takes long."""

    def __init__(self) -> None:
        self._shown = False
        self._enabled = sys.stderr.isatty()
        self._next = time.monotonic() + _FIRST
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, count: int) -> None:
        """Add `count` bytes read of the input `name`."""
        if not self._enabled:
            return
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + count
            now = time.monotonic()
            if now >= self._next:
                self._next = now + _EVERY
                self._shown = True
                parts = [f"{key} {total // _MIB} MiB" for key, total in self._counts.items()]
                sys.stderr.write(f"\r\x1b[K{visible(', '.join(parts))[:120]}")
                sys.stderr.flush()

    def finish(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._shown:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self._enabled = False

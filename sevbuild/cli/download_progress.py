"""The progress of a download: one line on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sevbuild.text import visible

__all__ = ["show_progress"]

_INTERVAL = 0.1
_ERASE = "\r\x1b[K"
_NAME = 40


@contextmanager
def show_progress(url: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give what draws the line of this URL's download; the line is gone at the end."""
    stream = sys.stderr
    if not stream.isatty():
        yield lambda _have, _total: None
        return
    name = visible(url.partition("?")[0].rpartition("/")[2][-_NAME:] or url[-_NAME:])
    drawn = 0.0

    def draw(have: int, total: int | None) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - drawn >= _INTERVAL:
            drawn = now
            of = f" of {total / 1e6:.1f} MB, {100 * have // total} %" if total else " MB"
            stream.write(f"{_ERASE}{name}: {have / 1e6:.1f}{of}")
            stream.flush()

    try:
        yield draw
    finally:
        stream.write(_ERASE)
        stream.flush()

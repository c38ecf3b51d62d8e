"""Lines on a terminal that tell how far long work has come, and are gone when it has ended.

rich draws them. It is imported when there is something to draw: most work ends before that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sevbuild.progress import Meter
from sevbuild.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["clear_lines", "show_progress"]

_FIRST = 0.5
_EVERY = 0.1
_NAME = 40


class _Lines:
    """What is under way, a line each; threads may use them at once."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tasks: dict[object, TaskID | None] = {}
        self._next = 0.0
        self._drawn: Progress | None = None

    def begin(self, task: object) -> None:
        """Have a task under way; nothing of it is seen unless it takes long."""
        with self._lock:
            if not self._tasks:
                self._next = time.monotonic() + _FIRST
            self._tasks[task] = None

    def show(
        self, task: object, name: str, have: int, total: int | None, amount: str, *, color: bool
    ) -> None:
        """Say how far a task is, `amount` in words."""
        with self._lock:
            if time.monotonic() < self._next or task not in self._tasks:
                return
            if self._drawn is None:
                self._drawn = _drawing(color=color)
            line = self._tasks[task]
            if line is None:
                self._tasks[task] = line = self._drawn.add_task(name, amount=amount)
            self._drawn.update(line, completed=have, total=total, amount=amount)
            self._drawn.start()
            self._drawn.refresh()
            self._next = time.monotonic() + _EVERY

    def finish(self, task: object) -> None:
        """Take a task away, and its line."""
        with self._lock:
            line = self._tasks.pop(task, None)
            if self._drawn is not None and line is not None:
                self._drawn.remove_task(line)
            if not self._tasks:
                self.clear()

    def clear(self, *, forget: bool = False) -> None:
        """Make room for a message; the lines come back below it, unless all tasks are to be forgotten."""
        with self._lock:
            self._tasks = {} if forget else dict.fromkeys(self._tasks)
            if self._drawn is not None:
                self._drawn.stop()
                self._drawn = None


def _drawing(*, color: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    class Steady(Console):
        """A console that keeps its cursor: a run that is killed could not bring it back."""

        def show_cursor(self, show: bool = True) -> bool:
            return show

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        console=Steady(
            stderr=True, force_terminal=True, no_color=False, color_system="auto" if color else None
        ),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


_lines = _Lines()
clear_lines = _lines.clear


@contextmanager
def show_progress(name: str, *, unit: str = "bytes", color: bool = False) -> Iterator[Meter]:
    """Show how far the work on a path or URL is, or that called `name`, once it has taken half a second.

    Bytes are shown as megabytes, any other unit as a count.
    """
    task, words = object(), visible(_short(name))

    def draw(have: int, total: int | None) -> None:
        if unit == "bytes":
            of = f" of {total / 1e6:.1f} MB, {100 * have // total} %" if total else " MB"
            amount = f"{have / 1e6:.1f}{of}"
        else:
            amount = f"{have}{f' of {total}' if total else ''} {unit}"
        _lines.show(task, words, have, total or None, amount, color=color)

    _lines.begin(task)
    try:
        yield draw
    finally:
        _lines.finish(task)


def _short(name: str) -> str:
    # What follows the path of a URL may be a secret.
    path = name.partition("?")[0] if "://" in name else name
    return path.rpartition("/")[2][-_NAME:] or name[-_NAME:]

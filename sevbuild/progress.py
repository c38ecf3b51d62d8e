"""How far long work has come, told to whoever shows it; nothing here knows a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

__all__ = ["Meter", "Progress", "counting", "metering"]

Meter = Callable[[int, "int | None"], None]
"""Takes how much is done and, where it is known, how much there is."""


class Progress(Protocol):
    """What shows one piece of work for as long as the context lasts."""

    def __call__(self, name: str, *, unit: str = "bytes") -> AbstractContextManager[Meter]:
        """Give the meter of what is called `name`: a path, a URL or a word; threads may have one each."""


def metering(progress: Progress | None, name: str, *, unit: str = "bytes") -> AbstractContextManager[Meter]:
    """Give the meter of what is called `name`; it shows nothing where nobody looks."""
    return nullcontext(_unseen) if progress is None else progress(name, unit=unit)


def _unseen(have: int, total: int | None) -> None:
    """Show nothing."""


@contextmanager
def counting(
    progress: Progress, paths: Sequence[str], size: int | None = None
) -> Iterator[Callable[[memoryview], None]]:
    """Give what is to be called with each piece that is read of some files.

    `size` is how many bytes that will be, where it is not all of them.
    """
    have, total = 0, _size(paths) if size is None else size
    with progress(paths[0]) as meter:

        def count(piece: memoryview) -> None:
            nonlocal have
            have += len(piece)
            meter(have, total)

        yield count


def _size(paths: Sequence[str]) -> int | None:
    """Return the bytes of files together, None where that is not known beforehand."""
    try:
        found = [os.stat(path) for path in paths if os.path.isfile(path)]
    except OSError:
        return None
    return sum(status.st_size for status in found) if len(found) == len(paths) else None

"""What was written is brought to the device by the kernel in its own time: no test pulls the plug."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["no_waiting_for_the_device", "real_fsync"]

real_fsync = os.fsync


def _accept(descriptor: int) -> None:
    """Return at once, unless the descriptor is not open: `fsync` fails on that too."""
    os.fstat(descriptor)


@contextmanager
def no_waiting_for_the_device() -> Iterator[None]:
    """Have `fsync` return at once in this process; `Disk` takes its steps, and fails at them, as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", _accept)
        yield

"""Hold a file or folder alone: waiting for another run says so, and ends.

A lock belongs to an open file (flock), so it ends with the process that has it however that ends, and holds
across PID namespaces and containers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["Patience", "hold", "holder_of", "lock", "unlock", "wait_for"]

TIMEOUT = 60.0
"""Seconds to wait for another run; what it does alone takes it a fraction of one."""

TIMEOUT_VARIABLE = "SEVBUILD_LOCK_TIMEOUT"
_SILENT = 0.5
_POLL = 0.02
_IN_USE = (errno.EWOULDBLOCK, errno.EACCES)

State = Literal["ours", "held", "gone", "unknown"]


def _unheard(message: str) -> None:
    """Tell nobody."""


class Patience(NamedTuple):
    """How long to wait for a lock, and who is told of the waiting.

    `seconds` None is what the environment says in `variable`, or else a minute.
    """

    seconds: float | None = None
    tell: Callable[[str], None] = _unheard
    variable: str = TIMEOUT_VARIABLE


def lock(descriptor: int, path: str) -> State:
    """Take the lock of an open file: `ours`, or `held` by another.

    `gone` is returned where the file is no longer the one at `path`, `unknown` where the file system has no
    locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return "held" if error.errno in _IN_USE else "unknown"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return "ours"
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return "gone"


def unlock(descriptor: int) -> None:
    """Let go of a lock and close its file; a forked process may have the descriptor as well."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextlib.contextmanager
def hold(place: str, patience: Patience) -> Iterator[None]:
    """Hold the folder `place` alone; one that is absent, or cannot be locked, is nobody's to hold.

    Raises SevbuildError naming the holder once patience is at its end.
    """
    descriptor = wait_for(lambda: _take(place), place, patience)
    try:
        yield
    finally:
        if descriptor >= 0:
            unlock(descriptor)


def wait_for(
    take: Callable[[], int | None],
    path: str,
    patience: Patience,
    *,
    progress: Callable[[], object] = lambda: None,
) -> int:
    """Return what `take` returns once that is not None; `path` is what another holds.

    Whenever `progress` returns something new, patience begins again. Raises SevbuildError.
    """
    seen, since = progress(), time.monotonic()
    began, told = since, False
    seconds = patience.seconds
    while (found := take()) is None:
        if seconds is None:
            from sevbuild.environment import positive_number

            seconds = positive_number(patience.variable, TIMEOUT)
        now = time.monotonic()
        if (current := progress()) != seen:
            seen, since = current, now
        if now - since > seconds:
            raise SevbuildError(
                f"{path}: {holder_of(path)} holds the lock and has made no progress for {seconds:g} s",
                hint=f"run again when it has ended; {patience.variable} sets the number of seconds",
            )
        if not told and now - began > min(_SILENT, seconds / 2):
            told = True
            patience.tell(f"waiting for {path}, which {holder_of(path)} holds")
        time.sleep(_POLL)
    return found


def holder_of(path: str) -> str:
    """Return who has the lock of a file, as the system tells: a process in sight, or `another process`."""
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open("/proc/locks", encoding="ascii", errors="replace") as stream:
            lines = stream.readlines(1 << 20)
        for line in lines:
            # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and device in fields:
                number = int(fields[fields.index(device) - 1])
                return f"process {number}{_name_of(number)}" if number > 0 else "another process"
    return "another process"


def _name_of(process: int) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as stream:
            name = stream.read(64).strip()
    except OSError:
        return ""
    return f" ({name})" if name.isprintable() and name else ""


def _take(place: str) -> int | None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # Absent, or no folder, or not ours to read: whoever goes on meets that.
        return -1
    state = lock(descriptor, place)
    if state in ("held", "gone"):
        os.close(descriptor)
        return None
    return descriptor

"""Files and folders that grow beside the place they are for, under names that nobody can foresee.

Such a name is `.NAME.sevbuild-new-` and 16 random hexadecimal digits. Its maker holds the lock of what it
made, which ends with the process however that ends. What nobody holds was left by a run that is no more;
the next run to the same place removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.locks import lock, unlock

__all__ = [
    "Temporary",
    "clear_aside",
    "clear_new",
    "discard_aside",
    "found_aside",
    "name_aside",
    "new_file",
    "new_folder",
]

_LONGEST = 180
_DIGITS = 16
_ATTEMPTS = 100


class Temporary(NamedTuple):
    """The path of a new file or folder, and the descriptor that keeps its lock."""

    path: str
    descriptor: int


def new_file(disk: Disk, place: str) -> Temporary:
    """Create an empty file beside the absolute path `place`, with the mode that the umask leaves."""
    return _new(disk.create_plain, place)


def new_folder(disk: Disk, place: str) -> Temporary:
    """Create an empty folder beside the absolute path `place` that only this user can enter."""

    def create(path: str) -> int:
        disk.make_private_folder(path)
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            # A run that clears up took it for a leftover.
            raise FileExistsError(path) from error

    return _new(create, place)


def name_aside(place: str) -> str:
    """Return a name for what was at `place` when something else comes there: `.NAME.sevbuild-old-DIGITS`."""
    return _name(place, "old")


def found_aside(place: str) -> list[str]:
    """Return the folders beside `place` that have such a name, whoever made them."""
    return [path for path in _beside(place, "old") if os.path.isdir(path) and not os.path.islink(path)]


def clear_new(disk: Disk, place: str) -> None:
    """Remove what killed runs left in the making; what is in use, or another user's, stays."""
    for path in _beside(place, "new"):
        # Whatever cannot be removed is in nobody's way.
        with contextlib.suppress(OSError), _claimed(path) as mode:
            if stat.S_ISDIR(mode):
                disk.remove(path)
            elif stat.S_ISREG(mode):
                disk.unlink(path)


def clear_aside(disk: Disk, place: str, check: Callable[[str, str], object]) -> None:
    """Remove what killed runs left aside; what `check` raises OSError or SevbuildError for stays."""
    for path in found_aside(place):
        with contextlib.suppress(OSError, SevbuildError), _claimed(path):
            check(path, path)
            discard_aside(disk, path, place)


def discard_aside(disk: Disk, path: str, place: str) -> None:
    """Remove a folder that was set aside; it is never there in part under that name."""
    doomed = _name(place, "new")
    disk.rename(path, doomed)
    disk.remove(doomed)


@contextlib.contextmanager
def _claimed(path: str) -> Iterator[int]:
    """Hold what was left and yield its mode; raises OSError where it is in use or another user's."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or lock(descriptor, path) != "ours":
            raise PermissionError(path)
        yield status.st_mode
    finally:
        unlock(descriptor)


def _new(create: Callable[[str], int], place: str) -> Temporary:
    for _ in range(_ATTEMPTS):
        path = _name(place, "new")
        try:
            descriptor = create(path)
        except FileExistsError:
            continue
        except OSError as error:
            # The name that a message can do something with.
            error.filename = place
            raise
        # A run that clears up may have met it before it was locked.
        if lock(descriptor, path) in ("ours", "unknown"):
            return Temporary(path, descriptor)
        os.close(descriptor)
    raise FileExistsError(f"no free name beside {place}")


def _name(place: str, kind: str) -> str:
    return f"{_stem(place, kind)}{os.urandom(_DIGITS // 2).hex()}"


def _stem(place: str, kind: str) -> str:
    folder, name = os.path.split(place)
    if len(os.fsencode(name)) > _LONGEST:
        # The longest names leave no room for ours.
        name = sha256(os.fsencode(name)).hexdigest()
    return os.path.join(folder, f".{name}.sevbuild-{kind}-")


def _beside(place: str, kind: str) -> list[str]:
    folder, stem = os.path.split(_stem(place, kind))
    pattern = re.compile(re.escape(stem) + f"[0-9a-f]{{{_DIGITS}}}")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [os.path.join(folder, name) for name in sorted(names) if pattern.fullmatch(name)]

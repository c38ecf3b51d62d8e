"""Put a finished folder in the place of an old one: at every moment one of the two is there, whole.

The new folder grows beside its place under a temporary name. Linux exchanges the two in one step. Where
that cannot be had there are two renames, and between them the place is empty; what is needed to go back
stands beside it, and the next run does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sevbuild.bundle.disk import Disk
from sevbuild.errors import SevbuildError

__all__ = ["Staging", "interrupted", "staging"]


class Staging:
    """Hold a folder in the making and the place it is for."""

    def __init__(self, disk: Disk, place: str, folder: str) -> None:
        self._disk = disk
        self._place = place
        self.folder = folder

    def publish(self) -> None:
        """Put the folder in its place; an old one there is exchanged for it and then removed."""
        parent, old = os.path.dirname(self._place), _old_name(self._place)
        with _locked(parent):
            self._disk.open_folder(self.folder)
            if not _has_entries(self._place):
                self._disk.rename(self.folder, self._place)
                self._disk.sync_one(parent)
                return
            if not self._disk.exchange(self.folder, self._place):
                self._disk.rename(self._place, old)
                try:
                    self._disk.rename(self.folder, self._place)
                except OSError:
                    self._disk.rename(old, self._place)
                    raise
                self.folder = old
            self._disk.sync_one(parent)
        # The new bundle is in place: what cannot be removed now, the next run removes.
        with contextlib.suppress(OSError):
            self._disk.remove(self.folder)


@contextlib.contextmanager
def staging(disk: Disk, place: str) -> Iterator[Staging]:
    """Yield a new empty folder beside `place`, an absolute path, after clearing up what killed runs left.

    Whatever is not published is removed. A folder in use by another run is left alone.
    """
    parent = os.path.dirname(place)
    descriptor = -1
    made: Staging | None = None
    try:
        disk.make_parents(parent)
        with _locked(parent):
            _recover(disk, place)
            folder = disk.make_temporary(parent, _prefix(place))
            made = Staging(disk, place, folder)
            descriptor = _lock(folder)
        yield made
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else place
        raise SevbuildError(f"cannot write {where}: {error.strerror or error}") from None
    finally:
        if made is not None and os.path.isdir(made.folder):
            with contextlib.suppress(OSError):
                disk.remove(made.folder)
        if descriptor >= 0:
            os.close(descriptor)


def interrupted(place: str) -> bool:
    """Tell whether a run was killed between two renames: `place` is empty, its old contents beside it."""
    return not os.path.lexists(place) and os.path.isdir(_old_name(place))


def _recover(disk: Disk, place: str) -> None:
    parent, old = os.path.dirname(place), _old_name(place)
    if os.path.isdir(old) and not os.path.islink(old):
        if os.path.lexists(place):
            disk.remove(old)
        else:
            disk.rename(old, place)
    for name in sorted(os.listdir(parent)):
        path = os.path.join(parent, name)
        if name.startswith(_prefix(place)) and os.path.isdir(path) and not os.path.islink(path):
            descriptor = _lock(path)
            if descriptor >= 0:
                try:
                    disk.remove(path)
                finally:
                    os.close(descriptor)


def _prefix(place: str) -> str:
    return f".{os.path.basename(place)}.sevbuild-new-"


def _old_name(place: str) -> str:
    return os.path.join(os.path.dirname(place), f".{os.path.basename(place)}.sevbuild-old")


def _has_entries(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False


def _lock(folder: str, *, wait: bool = False) -> int:
    """Return a descriptor that holds a folder's lock until it is closed or its process dies, else -1."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        # Another run has it; or the file system knows no locks, and what it left stays.
        os.close(descriptor)
        return -1
    return descriptor


@contextlib.contextmanager
def _locked(parent: str) -> Iterator[None]:
    descriptor = _lock(parent, wait=True)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)

"""Put a finished folder in the place of an old one: at every moment one of the two is there, whole.

The new folder grows beside its place under a temporary name. Linux exchanges the two in one step. Where
that cannot be had there are two renames; a run that is killed between them leaves its place empty, and
beside it what was there. Nothing puts that back unseen: anybody may have made a folder of such a name.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from sevbuild.errors import SevbuildError, file_error
from sevbuild.output import temporary
from sevbuild.output.disk import Disk
from sevbuild.output.locks import Patience, hold, unlock

__all__ = ["Check", "Staging", "interrupted", "staging"]

Check = Callable[[str, str], object]
"""Given a folder and the name to call it by; raises SevbuildError unless it may be replaced."""

_ATTEMPTS = 100


class Staging:
    """A folder in the making and the place it is for."""

    def __init__(self, disk: Disk, place: str, check: Check, patience: Patience) -> None:
        self._disk = disk
        self._place = place
        self._check = check
        self._patience = patience
        self._temporary: temporary.Temporary | None = temporary.new_folder(disk, place)
        self.folder = self._temporary.path
        self._aside: set[str] = set()

    def shown(self, path: str) -> str:
        """Return a path in the folder as it will be called."""
        inside = path == self.folder or path.startswith(f"{self.folder}/")
        return self._place + path[len(self.folder) :] if inside else path

    def publish(self) -> None:
        """Put the folder in its place; an old one that `check` accepts is exchanged for it and removed."""
        for _ in range(_ATTEMPTS):
            with hold(self._place, self._patience):
                self._check(self._place, self._place)
                self._disk.open_folder(self.folder)
                old: str | None = None
                try:
                    if _has_entries(self._place):
                        self.folder = old = self._exchange()
                    else:
                        self._disk.rename(self.folder, self._place)
                except OSError as error:
                    # Another run was first to a place that was free, or somebody removed what was there.
                    taken = error.errno in (errno.EEXIST, errno.ENOTEMPTY)
                    if taken or (error.errno == errno.ENOENT and not os.path.lexists(self._place)):
                        continue
                    raise
                self._disk.sync_one(os.path.dirname(self._place))
                self._let_go()
                # The new folder is in place: what cannot be removed now, the next run removes.
                if old is not None:
                    with contextlib.suppress(OSError):
                        self._remove(old)
            temporary.clear_aside(self._disk, self._place, self._check)
            return
        raise SevbuildError(f"{self._place}: other runs keep replacing it")

    def drop(self) -> None:
        """Remove the folder unless it was published."""
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._remove(self.folder)
            self._let_go()

    def _remove(self, folder: str) -> None:
        if folder in self._aside:
            temporary.discard_aside(self._disk, folder, self._place)
        else:
            self._disk.remove(folder)

    def _exchange(self) -> str:
        """Exchange the folder for the one in its place, and return where that is now."""
        if self._disk.exchange(self.folder, self._place):
            old = self.folder
        else:
            old = temporary.name_aside(self._place)
            self._aside.add(old)
            self._disk.rename(self._place, old)
            try:
                self._disk.rename(self.folder, self._place)
            except OSError:
                self._disk.rename(old, self._place)
                raise
        try:
            # What came into it since it was checked is somebody's.
            self._check(old, self._place)
        except BaseException:
            self._go_back(old)
            raise
        return old

    def _go_back(self, old: str) -> None:
        """Put what was in the place back into it; where that cannot be done, it stays beside it."""
        try:
            if old == self.folder:
                self._disk.exchange(old, self._place)
            else:
                self._disk.rename(self._place, self.folder)
                self._disk.rename(old, self._place)
        except OSError as error:
            kept = temporary.name_aside(self._place) if old == self.folder else old
            if old == self.folder:
                self._disk.rename(old, kept)
            raise SevbuildError(
                f"cannot undo the exchange of {self._place}: {error.strerror or error}",
                hint=f"what was there is now {kept}",
            ) from None

    def _let_go(self) -> None:
        if self._temporary is not None:
            unlock(self._temporary.descriptor)
            self._temporary = None


@contextlib.contextmanager
def staging(disk: Disk, place: str, check: Check, patience: Patience | None = None) -> Iterator[Staging]:
    """Yield a new empty folder beside `place`, an absolute path, after clearing up what killed runs left.

    `check` is asked at once, and again when the folder is to be published. Whatever is not published is
    removed. A folder in use by another run is left alone.
    """
    patience = patience or Patience()
    made: Staging | None = None
    try:
        disk.make_parents(os.path.dirname(place))
        temporary.clear_new(disk, place)
        with hold(place, patience):
            check(place, place)
        made = Staging(disk, place, check, patience)
        yield made
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else place
        raise file_error("write", where if made is None else made.shown(where), error) from None
    finally:
        if made is not None:
            made.drop()


def interrupted(place: str) -> str | None:
    """Return what a run that was killed between two renames left beside `place`; None if none was."""
    return next(iter(temporary.found_aside(place)), None) if not os.path.lexists(place) else None


def _has_entries(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False

"""Write single files: each is complete or absent, and nothing is followed that is not its name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping

from sevbuild.errors import SevbuildError, file_error, file_errors
from sevbuild.output.disk import Disk
from sevbuild.output.locks import unlock
from sevbuild.output.temporary import Temporary, clear_new, new_file

__all__ = ["make_folder", "write_file", "write_files"]

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_file(
    path: str, data: bytes, *, replace: bool = True, follow: bool = True, disk: Disk | None = None
) -> None:
    """Write a file so that it is complete or absent, readable as the umask allows; see `write_files`."""
    write_files({path: data}, replace=replace, follow=follow, disk=disk)


def write_files(
    files: Mapping[str, bytes], *, replace: bool = True, follow: bool = True, disk: Disk | None = None
) -> None:
    """Write files, each of them complete or absent; none is put in its place before all are on the device.

    What a symbolic link leads to is replaced, without `follow` the link. Devices, pipes and our own standard
    output are written to. Without `replace`, a file that is there raises SevbuildError.
    """
    disk = Disk() if disk is None else disk
    growing: list[_Growing] = []
    try:
        for path, data in files.items():
            if not (replace and follow and _write_through(path, data)):
                growing.append(_Growing(disk, path, data, follow=follow))
        for file in growing:
            file.commit(replace=replace)
    finally:
        for file in growing:
            file.drop()


def make_folder(path: str) -> None:
    """Make a folder and those above it, unless it is there."""
    with file_errors("make", path):
        os.makedirs(path, exist_ok=True)


class _Growing:
    """One file that grows beside its place."""

    def __init__(self, disk: Disk, path: str, data: bytes, *, follow: bool) -> None:
        self._disk = disk
        self._path = path
        self._temporary: Temporary | None = None
        try:
            folder, name = os.path.split(path)
            self._place = os.path.realpath(path) if follow else os.path.join(os.path.realpath(folder), name)
            if os.path.isdir(self._place):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            clear_new(disk, self._place)
            self._temporary = new_file(disk, self._place)
            disk.append(self._temporary.descriptor, data)
            disk.flush(self._temporary.descriptor)
        except OSError as error:
            self.drop()
            raise file_error("write", path, error) from None

    def commit(self, *, replace: bool) -> None:
        """Put the file in its place."""
        if self._temporary is None:
            return
        try:
            if replace or not self._link(self._temporary.path):
                self._disk.rename(self._temporary.path, self._place)
                unlock(self._temporary.descriptor)
                self._temporary = None
        except FileExistsError:
            raise SevbuildError(f"{self._path} already exists") from None
        except OSError as error:
            raise file_error("write", self._path, error) from None

    def drop(self) -> None:
        """Remove what did not come into its place."""
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._disk.unlink(self._temporary.path)
            unlock(self._temporary.descriptor)
            self._temporary = None

    def _link(self, path: str) -> bool:
        """Give the file its name if nothing has that; False where the file system has no links."""
        try:
            self._disk.link(path, self._place)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(self._place):
                raise FileExistsError(self._place) from None
            return False
        return True


def _write_through(path: str, data: bytes) -> bool:
    """Write to what is no regular file, or is our own output, and return True; else False."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    own = _own_output(status)
    if own is None and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return False
    with file_errors("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC) if own is None else os.dup(own)
        with open(descriptor, "wb", buffering=0) as stream:
            view = memoryview(data)
            while view:
                view = view[stream.write(view) :]
    return True


def _own_output(status: os.stat_result) -> int | None:
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), status):
                return descriptor
    return None

"""Every change that writing makes to a file system, one method a step.

A test takes the place of this class and fails at each step in turn.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["FILE_MODE", "FOLDER_MODE", "PRIVATE_MODE", "Disk"]

FILE_MODE = 0o644
FOLDER_MODE = 0o755
PRIVATE_MODE = 0o600

_FICLONE = 0x40049409  # ioctl, Linux uapi linux/fs.h
_RENAME_EXCHANGE = 2  # Linux uapi linux/fs.h
_AT_FDCWD = -100  # Linux uapi linux/fcntl.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)
_SINGLE_SYNCS = 64
"""Up to this many files are synced one by one; more, and one syncfs for all of them is faster."""


class Disk:
    """Changes to files and folders; every method raises OSError, and modes are fixed whatever the umask."""

    def make_parents(self, path: str) -> None:
        """Create the folders above an output, as the umask has them: they are the user's."""
        os.makedirs(path, exist_ok=True)

    def make_private_folder(self, path: str) -> None:
        """Create a folder that only this user can enter."""
        os.mkdir(path, 0o700)

    def make_folder(self, path: str) -> None:
        """Create a folder."""
        os.mkdir(path)
        os.chmod(path, FOLDER_MODE)

    def open_folder(self, path: str) -> None:
        """Let everybody enter a finished folder."""
        os.chmod(path, FOLDER_MODE)

    def create(self, path: str) -> int:
        """Create a file, which must not exist, and return its descriptor."""
        descriptor = self._create(path, FILE_MODE)
        os.fchmod(descriptor, FILE_MODE)
        return descriptor

    def create_private(self, path: str) -> int:
        """Create a file that only this user can read, which must not exist, and return its descriptor."""
        return self._create(path, PRIVATE_MODE)

    def create_plain(self, path: str) -> int:
        """Create a file, which must not exist, with the mode that the umask leaves; return its descriptor."""
        return self._create(path, 0o666)

    def append(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def flush(self, descriptor: int) -> None:
        """Bring what was written to the device."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def clone(self, source: str, path: str) -> None:
        """Create a file that shares the blocks of `source` until either is written (a reflink)."""
        import fcntl

        descriptor = self.create(path)
        try:
            with open(source, "rb") as stream:
                fcntl.ioctl(descriptor, _FICLONE, stream.fileno())
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def link(self, source: str, path: str) -> None:
        """Create another name, which must be free, for the file `source`; its mode stays its owner's."""
        os.link(os.path.realpath(source), path)

    def move(self, source: str, path: str) -> None:
        """Rename a file within the folder being written."""
        os.rename(source, path)

    def unlink(self, path: str) -> None:
        """Remove a file in the making."""
        os.unlink(path)

    def sync(self, folder: str, paths: Iterable[str]) -> None:
        """Bring a folder, with these files and folders in it, to the device."""
        paths = list(paths)
        if len(paths) > _SINGLE_SYNCS and self._sync_file_system(folder):
            return
        for path in [*paths, folder]:
            self.sync_one(path)

    def sync_one(self, path: str) -> None:
        """Bring one file, or the names in one folder, to the device."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: str, path: str) -> None:
        """Give a file or folder its name; a file that has it is replaced, so is a folder that is empty."""
        os.rename(source, path)

    def exchange(self, first: str, second: str) -> bool:
        """Exchange two folders in one step; False where system or file system cannot."""
        call = _call("renameat2")
        if call is None:
            return False
        names = (os.fsencode(first), os.fsencode(second))
        if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return True
        number = ctypes.get_errno()
        if number in _NO_EXCHANGE:
            return False
        raise OSError(number, os.strerror(number), second)

    def remove(self, path: str) -> None:
        """Remove a folder with all that is in it; links in it are removed, not followed."""
        shutil.rmtree(path)

    @staticmethod
    def _create(path: str, mode: int) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    @staticmethod
    def _sync_file_system(folder: str) -> bool:
        call = _call("syncfs")
        if call is None:
            return False
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            return bool(call(descriptor) == 0)
        finally:
            os.close(descriptor)


def _call(name: str) -> Any:
    """Return a function of Linux's C library, None where that has none of this name."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    return getattr(libc, name, None)

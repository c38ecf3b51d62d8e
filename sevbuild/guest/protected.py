"""Files whose place no output takes unasked: what a run is made of, and any manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.locking import lock_path
from sevbuild.guest.manifest_files import document_kind, named_files

__all__ = ["Protected"]

_LARGEST_DOCUMENT = 16 << 20


class Protected:
    """Files by device and inode, so that no link hides one."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}

    def add(self, what: str, paths: Iterable[str]) -> None:
        """Know files as `what`; one that is not there needs no protection."""
        for path in paths:
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode):
                self._known.setdefault((status.st_dev, status.st_ino), what)

    def add_guest(self, manifest: str, guest: Guest) -> None:
        """Know a manifest, and the inputs and profiles that it names."""
        if manifest != "-":
            self.add("the manifest", [manifest])
        for what, path in named_files(guest):
            self.add(what, [path])

    def add_lock(self, manifest: str, path: str = "") -> None:
        """Know the lock at `path`, without one that of a manifest."""
        if path or manifest != "-":
            self.add("the lock", [path or lock_path(manifest)])

    def refuse(self, paths: Iterable[str], *, hint: str) -> None:
        """Raise SevbuildError if one of these paths leads to a file that is known, or to any manifest."""
        for path in paths:
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue
            what = self._known.get((status.st_dev, status.st_ino))
            if what is None and stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_DOCUMENT:
                what = document_kind(path)
            if what is not None:
                raise SevbuildError(f"{path} is {what}: it is not replaced", hint=hint)

"""Bring inputs into a bundle in the one pass that hashes them, so that what is kept is what was measured."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sevbuild.errors import SevbuildError, file_errors
from sevbuild.guest.inputs import HashedInput, InputWork, Range, read_hashed
from sevbuild.output.disk import Disk
from sevbuild.progress import Progress

__all__ = ["Keeper"]


class Keeper:
    """A writer of inputs into a folder; `mode` is `copy`, `link` or `none` (hash only).

    Files are read in threads of the guest's reader; `progress` shows how far. `cancel` ends them early.
    Messages call the folder `shown`: it grows under a name that it will not keep.
    """

    def __init__(
        self, disk: Disk, folder: str, mode: str, progress: Progress | None = None, *, shown: str = ""
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._shown = shown or folder
        self._mode = mode
        self._progress = progress
        self._cancelled = False

    def cancel(self) -> None:
        """Have every reading that is under way fail soon."""
        self._cancelled = True

    def work(self, name: str, *, always: bool = False) -> InputWork:
        """Return what reads files and keeps them under `name`, as a reader's `hash_with` takes it.

        `always` keeps them where the mode is `none` as well.
        """

        def keep(paths: Sequence[str], part: Range | None, each: list[bytes] | None) -> HashedInput:
            path = os.path.join(self._folder, name)
            with self._writing(name):
                if self._mode == "link" and len(paths) == 1 and part is None and self._linked(paths[0], path):
                    return self._hash_linked(paths[0], path, each)
                left_out = self._mode == "none" and not always
                return self._copy(paths, part, None if left_out else name, each)

        return keep

    def keep_bytes(self, source: str, name: str, data: bytes) -> None:
        """Keep an input that was read whole; a link to `source` must have the same bytes."""
        path = os.path.join(self._folder, name)
        if self._mode == "link" and self._linked(source, path):
            if self._hash_linked(source, path).sha256 != sha256(data).digest():
                raise _changed(source)
            return
        self.write(name, data)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder."""
        with self._writing(name):
            descriptor = self._disk.create(os.path.join(self._folder, name))
            try:
                self._disk.append(descriptor, data)
            finally:
                self._disk.close(descriptor)

    def _writing(self, name: str) -> contextlib.AbstractContextManager[None]:
        return file_errors("write", os.path.join(self._shown, name))

    def _copy(
        self,
        paths: Sequence[str],
        part: Range | None,
        name: str | None,
        each: list[bytes] | None = None,
    ) -> HashedInput:
        label = os.path.basename(paths[0])
        descriptor = -1 if name is None else self._disk.create(os.path.join(self._folder, name))

        def write(piece: memoryview) -> None:
            if self._cancelled:
                raise SevbuildError(f"{label}: was not read to the end")
            if descriptor >= 0:
                self._disk.append(descriptor, piece)

        try:
            return read_hashed(paths, part, each, self._progress, write)
        finally:
            if descriptor >= 0:
                self._disk.close(descriptor)

    def _linked(self, source: str, path: str) -> bool:
        for step in (self._disk.clone, self._disk.link):
            with contextlib.suppress(OSError):
                step(source, path)
                return True
        return False

    def _hash_linked(self, source: str, path: str, each: list[bytes] | None = None) -> HashedInput:
        # A link is the publisher's own file: whoever writes to it while it is read must be noticed.
        before = _state(path)
        hashed = self._copy([path], None, None, each)
        if _state(path) != before:
            raise _changed(source)
        return hashed


def _state(path: str) -> tuple[Any, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _changed(source: str) -> SevbuildError:
    return SevbuildError(
        f"{source}: changed while it was read", hint="build again when nothing is writing to it"
    )

"""Read and hash what manifests name, each file once a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Thread
from typing import NamedTuple

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.fs import hash_files, hash_range, read_file, read_range
from sevbuild.image.ovmf import Firmware, parse_firmware

__all__ = ["CMDLINE_LIMIT", "FIRMWARE_LIMIT", "HashedInput", "InputReader", "InputWork", "Range", "check_pin"]

FIRMWARE_LIMIT = 256 << 20
CMDLINE_LIMIT = 1 << 20

Range = tuple[int, int]
Job = tuple[tuple[str, ...], Range | None]
"""Files one after the other, or one (offset, size) range of a single file."""


class HashedInput(NamedTuple):
    """Hold the SHA-256 and the size of one input."""

    sha256: bytes
    size: int


InputWork = Callable[[Sequence[str], Range | None], HashedInput]
"""What takes the place of plain hashing: it is given the resolved paths and the range."""


class _Pending:
    """Hold a digest that a thread is computing, or the error it met."""

    __slots__ = ("error", "result", "thread")

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.result: HashedInput | None = None
        self.error: SevbuildError | None = None


class InputReader:
    """Read inputs relative to one directory; results are kept for the run, not beyond it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._firmware: dict[str, Firmware] = {}
        self._pending: dict[Job, _Pending] = {}
        self._works: dict[Job, InputWork] = {}

    def resolve(self, path: str) -> str:
        """Return a manifest's path as this process can open it."""
        return os.path.normpath(os.path.join(self._directory, os.path.expanduser(path)))

    def read(self, path: str, limit: int = CMDLINE_LIMIT) -> bytes:
        """Return the contents of a small file."""
        return read_file(self.resolve(path), limit)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset` of a file, fewer where it ends before."""
        return read_range(self.resolve(path), offset, size)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        try:
            return os.stat(self.resolve(path)).st_size
        except OSError as error:
            raise SevbuildError(f"cannot read {self.resolve(path)}: {error.strerror}") from None

    def firmware(self, path: str) -> Firmware:
        """Return the parsed firmware in a file."""
        path = self.resolve(path)
        if path not in self._firmware:
            data = read_file(path, FIRMWARE_LIMIT)
            try:
                self._firmware[path] = parse_firmware(data)
            except SevbuildError as error:
                raise SevbuildError(f"{path}: {error.message}", hint=error.hint) from None
        return self._firmware[path]

    def hash_with(self, paths: Sequence[str], part: Range | None, work: InputWork) -> None:
        """Have `work` read these files when their digest is wanted; it copies what it hashes, say."""
        self._works[self._job(paths, part)] = work

    def settle(self) -> None:
        """Wait for every file that is still being hashed."""
        for pending in self._pending.values():
            if pending.thread is not None:
                pending.thread.join()

    def start_hashing(self, paths: Sequence[str], part: Range | None = None) -> None:
        """Begin hashing files in the background; `hashed` waits for it.

        OpenSSL hashes without the interpreter's lock, so this runs beside the firmware's pages.
        """
        job = self._job(paths, part)
        if job in self._pending:
            return
        pending = self._pending[job] = _Pending()
        pending.thread = Thread(target=self._work, args=(job, pending), daemon=True)
        pending.thread.start()

    def hashed(self, paths: Sequence[str], part: Range | None = None) -> HashedInput:
        """Return SHA-256 and size of files one after the other, or of one range of a file."""
        self.start_hashing(paths, part)
        pending = self._pending[self._job(paths, part)]
        if pending.thread is not None:
            pending.thread.join()
        if pending.error is not None:
            raise pending.error
        if pending.result is None:
            raise SevbuildError(f"{', '.join(paths)}: hashing ended without a result")
        return pending.result

    def _job(self, paths: Sequence[str], part: Range | None) -> Job:
        return tuple(self.resolve(path) for path in paths), part

    def _work(self, job: Job, pending: _Pending) -> None:
        try:
            pending.result = self._works.get(job, _hash)(*job)
        except SevbuildError as error:
            pending.error = error


def _hash(paths: Sequence[str], part: Range | None) -> HashedInput:
    state, size = hash_files(paths) if part is None else hash_range(paths[0], *part)
    return HashedInput(state.digest(), size)


def check_pin(name: str, digest: bytes, pin: bytes | None) -> None:
    """Raise MismatchError where an input is not the one that the manifest pins."""
    if pin is not None and digest != pin:
        raise MismatchError(
            f"{name}: sha256 is {digest.hex()}, the manifest pins {pin.hex()}",
            hint="put the pinned file in place, or pin this one",
        )


def firmware_digest(firmware: Firmware) -> bytes:
    """Return the SHA-256 of a firmware file."""
    return sha256(firmware.data).digest()

"""Read and hash what manifests name, each file once a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import MismatchError, SevbuildError, within
from sevbuild.fs import file_size, hash_files, hash_range, is_regular, path_from, read_file, read_range
from sevbuild.image.ovmf import Firmware, parse_firmware

if TYPE_CHECKING:
    from sevbuild.progress import Progress

__all__ = [
    "CMDLINE_LIMIT",
    "FIRMWARE_LIMIT",
    "Download",
    "HashedInput",
    "InputReader",
    "InputWork",
    "Network",
    "Range",
    "check_pin",
    "read_hashed",
]

FIRMWARE_LIMIT = 256 << 20
CMDLINE_LIMIT = 1 << 20

Range = tuple[int, int]
Job = tuple[tuple[str, ...], Range | None]
"""Files one after the other, or one (offset, size) range of a single file."""


class Download(NamedTuple):
    """What a URL must lead to: its SHA-256 and the most bytes it can be."""

    sha256: bytes
    limit: int


class Network(NamedTuple):
    """Whether inputs may be fetched, and who is told of waiting for others that fetch them.

    `progress` shows how far fetching and hashing are.
    """

    offline: bool = False
    progress: Progress | None = None
    tell: Callable[[str], None] | None = None


class HashedInput(NamedTuple):
    """The SHA-256 and the size of one input."""

    sha256: bytes
    size: int


InputWork = Callable[[Sequence[str], Range | None, list[bytes] | None], HashedInput]
"""What takes the place of plain hashing: it is given the resolved paths, the range, and a list to which the
SHA-256 of every single file is to be added."""


class _Pending:
    """A digest that a thread is computing, or the error it met; `each` has those of its files."""

    __slots__ = ("each", "error", "result", "thread")

    def __init__(self, *, apart: bool) -> None:
        self.each: list[bytes] | None = [] if apart else None
        self.thread: Thread | None = None
        self.result: HashedInput | None = None
        self.error: BaseException | None = None


class InputReader:
    """Inputs relative to one directory; results are kept for the run, not beyond it.

    What `downloads` has by its URL is fetched when it is first needed, and verified whenever it is read.
    """

    def __init__(
        self,
        directory: str,
        downloads: Mapping[str, Download] | None = None,
        network: Network | None = None,
    ) -> None:
        self._directory = directory
        self._downloads = downloads or {}
        self._network = network or Network()
        self._fetched: dict[str, str] = {}
        self._firmware: dict[str, Firmware] = {}
        self._contents: dict[str, bytes] = {}
        self._digests: dict[str, bytes] = {}
        self._pending: dict[Job, _Pending] = {}
        self._works: dict[Job, InputWork] = {}

    @property
    def progress(self) -> Progress | None:
        """Return who shows how far the reading of inputs is."""
        return self._network.progress

    def resolve(self, path: str) -> str:
        """Return a manifest's path, or the cached file of its URL, as this process can open it."""
        if path in self._downloads:
            return self._fetch(path)
        return path_from(self._directory, path)

    def read(self, path: str, limit: int = CMDLINE_LIMIT) -> bytes:
        """Return the contents of a file of at most `limit` bytes."""
        at = self.resolve(path)
        data = self._contents.get(at)
        if data is None:
            data = self._contents[at] = read_file(at, limit)
            if path in self._downloads:
                self._verify(path, self.digest(path, data))
        return data

    def digest(self, path: str, data: bytes) -> bytes:
        """Return the SHA-256 of contents read before, computed once."""
        path = self.resolve(path)
        found = self._digests.get(path)
        if found is None:
            found = self._digests[path] = sha256(data).digest()
        return found

    def was_hashed(self, paths: Sequence[str]) -> bool:
        """Tell whether this run has hashed these files whole."""
        return self._job(paths, None) in self._pending

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset` of a file, fewer where it ends before."""
        self._verify_whole(path)
        return read_range(self.resolve(path), offset, size)

    def is_regular(self, path: str) -> bool:
        """Tell whether a path leads to a regular file, which can be read more than once."""
        return is_regular(self.resolve(path))

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        self._verify_whole(path)
        return file_size(self.resolve(path))

    def firmware(self, path: str, pin: bytes | None = None) -> Firmware:
        """Return the parsed firmware in a file that has the SHA-256 `pin`, where one is given."""
        at, data = self.resolve(path), self.read(path, FIRMWARE_LIMIT)
        if pin is not None:
            # First of all: what is not the pinned file may well be no firmware.
            check_pin(path, self.digest(path, data), pin)
        if at not in self._firmware:
            with within(path if path in self._downloads else at):
                self._firmware[at] = parse_firmware(data)
        return self._firmware[at]

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
        # Of URLs, each file has a digest to be held to.
        apart = any(path in self._downloads for path in paths)
        pending = self._pending[job] = _Pending(apart=apart)
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
        if part is None and pending.each is not None:
            for path, digest in zip(paths, pending.each, strict=True):
                self._verify(path, digest)
        return pending.result

    def _fetch(self, url: str) -> str:
        if url not in self._fetched:
            from sevbuild.network.fetch import fetch

            wanted, network = self._downloads[url], self._network
            self._fetched[url] = fetch(
                url,
                wanted.sha256,
                wanted.limit,
                offline=network.offline,
                progress=network.progress,
                tell=network.tell,
            )
        return self._fetched[url]

    def _verify_whole(self, path: str) -> None:
        if path in self._downloads:
            self.hashed([path])

    def _verify(self, path: str, digest: bytes) -> None:
        wanted = self._downloads.get(path)
        if wanted is not None and digest != wanted.sha256:
            from sevbuild.network.fetch import discard

            discard(wanted.sha256)
            message = (
                f"{path}: its copy in the cache was damaged: sha256 is {digest.hex()}, the manifest pins"
            )
            raise MismatchError(
                f"{message} {wanted.sha256.hex()}", hint="the copy is removed; run again to fetch it"
            )

    def _job(self, paths: Sequence[str], part: Range | None) -> Job:
        return tuple(self.resolve(path) for path in paths), part

    def _work(self, job: Job, pending: _Pending) -> None:
        try:
            pending.result = self._works.get(job, self._hash)(*job, pending.each)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            pending.error = error

    def _hash(self, paths: Sequence[str], part: Range | None, each: list[bytes] | None) -> HashedInput:
        return read_hashed(paths, part, each, self.progress)


def read_hashed(
    paths: Sequence[str],
    part: Range | None = None,
    each: list[bytes] | None = None,
    progress: Progress | None = None,
    write: Callable[[memoryview], object] | None = None,
) -> HashedInput:
    """Return SHA-256 and size of files one after the other, or of one range of a file, read from end to end.

    `progress` shows how far that is; `write` is given each piece, and the SHA-256 of every single file is
    added to `each`.
    """
    if progress is None:
        return _hashed(paths, part, each, write)
    from sevbuild.progress import counting

    with counting(progress, paths, None if part is None else part[1]) as count:

        def take(piece: memoryview) -> None:
            if write is not None:
                write(piece)
            count(piece)

        return _hashed(paths, part, each, take)


def _hashed(
    paths: Sequence[str],
    part: Range | None,
    each: list[bytes] | None,
    write: Callable[[memoryview], object] | None,
) -> HashedInput:
    state, size = hash_files(paths, write, each=each) if part is None else hash_range(paths[0], *part, write)
    return HashedInput(state.digest(), size)


def check_pin(name: str, digest: bytes, pin: bytes | None) -> None:
    """Raise MismatchError where an input is not the one that the manifest pins."""
    if pin is not None and digest != pin:
        raise MismatchError(
            f"{name}: sha256 is {digest.hex()}, the manifest pins {pin.hex()}",
            hint="put the pinned file in place, or pin this one",
        )

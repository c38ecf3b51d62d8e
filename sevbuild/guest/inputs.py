"""Read and hash what manifests name, each file once a run: what was found of each input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import MismatchError, SevbuildError, within
from sevbuild.fs import (
    file_size,
    hash_files,
    hash_range,
    is_regular,
    path_from,
    read_file,
    read_range,
    why_unreadable,
)
from sevbuild.image.ovmf import Firmware, parse_firmware
from sevbuild.manifest.inputs import DeclaredInput, PathSource, Source, UrlSource
from sevbuild.manifest.model import Variant

if TYPE_CHECKING:
    from sevbuild.progress import Progress

__all__ = [
    "Extent",
    "FoundInput",
    "HashedInput",
    "InputReader",
    "InputWork",
    "Network",
    "Range",
    "check_pin",
    "read_hashed",
    "refuse_missing",
]

Range = tuple[int, int]
"""Offset and size of a part of one file."""

Job = tuple[tuple[str, ...], Range | None]
"""What is hashed: files of this machine one after the other, or one range of a single file."""


class Extent(NamedTuple):
    """The bytes of an input: files one after the other, or one range of a single file."""

    sources: tuple[Source, ...]
    part: Range | None = None


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


class FoundInput(NamedTuple):
    """A declared input and what was found of it: its size in bytes, and its SHA-256 or a firmware's seed.

    `size` is None where only the digest is known, `digest` where only the size enters a launch, and both are
    None where this run has not read it.
    """

    declared: DeclaredInput
    size: int | None = None
    digest: bytes | None = None


InputWork = Callable[[Sequence[str], Range | None, list[bytes] | None], HashedInput]
"""What takes the place of plain hashing: it is given the resolved paths, the range, and a list to which the
SHA-256 of every single file is to be added."""


class _Pending:
    """A digest that a thread is computing, or the error it met; `each` has those of its files."""

    __slots__ = ("each", "error", "result", "thread")

    def __init__(self, *, apart: bool) -> None:
        self.each: list[bytes] | None = [] if apart else None
        self.thread: Thread
        self.result: HashedInput | None = None
        self.error: BaseException | None = None


class InputReader:
    """Inputs relative to one directory; results are kept for the run, not beyond it.

    Whatever reads a URL fetches it where that was not done before, and verifies it.
    """

    def __init__(self, directory: str, network: Network | None = None) -> None:
        self._directory = directory
        self._network = network or Network()
        self._fetched: dict[UrlSource, str] = {}
        self._opened: set[PathSource] = set()
        self._firmware: dict[str, Firmware] = {}
        self._contents: dict[str, bytes] = {}
        self._digests: dict[str, bytes] = {}
        self._pending: dict[Job, _Pending] = {}
        self._works: dict[Job, InputWork] = {}

    @property
    def progress(self) -> Progress | None:
        """Return who shows how far the reading of inputs is."""
        return self._network.progress

    def path_of(self, source: PathSource) -> str:
        """Return a manifest's path as this process can open it."""
        return path_from(self._directory, source.name)

    def fetched_path(self, source: Source) -> str:
        """Return the path of a file, or of the cached file of a URL, which is fetched if it is not there."""
        return self.path_of(source) if isinstance(source, PathSource) else self._fetch(source)

    def why_unreadable(self, source: PathSource) -> SevbuildError | None:
        """Return the error that reading a file would meet at once, None where it could be opened before."""
        error = None if source in self._opened else why_unreadable(self.path_of(source))
        if error is None:
            self._opened.add(source)
        return error

    def read(self, source: Source, limit: int) -> bytes:
        """Return the contents of a file of at most `limit` bytes."""
        at = self.fetched_path(source)
        data = self._contents.get(at)
        if data is None:
            data = self._contents[at] = read_file(at, limit)
            self._verify(source, self.digest(source, data))
        return data

    def digest(self, source: Source, data: bytes) -> bytes:
        """Return the SHA-256 of contents read before, computed once."""
        path = self.fetched_path(source)
        found = self._digests.get(path)
        if found is None:
            found = self._digests[path] = sha256(data).digest()
        return found

    def found(self, declared: DeclaredInput, part: Range | None = None) -> FoundInput:
        """Return size and digest of an input, read if it was not; `part` is the range of one that is a part.

        Raises MismatchError where it is not the pinned one.
        """
        if not declared.sources:
            return FoundInput(declared, None, declared.pin)
        first, role = declared.sources[0], declared.role
        if role.sized:
            return FoundInput(declared, self.size(first))
        if role.held:
            data = self.read(first, role.limit)
            found = HashedInput(self.digest(first, data), len(data))
        else:
            found = self.hashed(Extent(declared.sources, part))
        if declared.pin is not None:
            # A pin is of the file, not of its parts.
            whole = found if part is None else self.hashed(Extent(declared.sources))
            check_pin(declared.name, whole.sha256, declared.pin)
        return FoundInput(declared, found.size, found.sha256)

    def is_found(self, declared: DeclaredInput) -> bool:
        """Tell whether `found` has an answer without fetching an input, or hashing it."""
        if not declared.sources or declared.role.held or declared.role.sized:
            return True
        here = (isinstance(source, PathSource) or source in self._fetched for source in declared.sources)
        return all(here) and self._job(Extent(declared.sources)) in self._pending

    def read_part(self, source: Source, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset` of a file, fewer where it ends before."""
        self._verify_whole(source)
        return read_range(self.fetched_path(source), offset, size)

    def is_regular(self, source: Source) -> bool:
        """Tell whether a source leads to a regular file, which can be read more than once."""
        return is_regular(self.fetched_path(source))

    def size(self, source: Source) -> int:
        """Return the size of a file in bytes."""
        self._verify_whole(source)
        return file_size(self.fetched_path(source))

    def firmware(self, declared: DeclaredInput) -> Firmware:
        """Return the parsed firmware in a file; raises MismatchError where that is not the pinned one."""
        (source,) = declared.sources
        at, data = self.fetched_path(source), self.read(source, declared.role.limit)
        if declared.pin is not None:
            # First of all: what is not the pinned file may well be no firmware.
            check_pin(source.name, self.digest(source, data), declared.pin)
        if at not in self._firmware:
            with within(at if isinstance(source, PathSource) else source.name):
                self._firmware[at] = parse_firmware(data)
        return self._firmware[at]

    def hash_with(self, extent: Extent, work: InputWork) -> None:
        """Have `work` read these files when their digest is wanted, also where they were hashed before."""
        job = self._job(extent)
        self._works[job] = work
        self._pending.pop(job, None)

    def settle(self) -> None:
        """Wait for every file that is still being hashed."""
        for pending in self._pending.values():
            pending.thread.join()

    def start_hashing(self, extent: Extent) -> None:
        """Begin hashing files in the background; `hashed` waits for it.

        OpenSSL hashes without the interpreter's lock, so this runs beside the firmware's pages.
        """
        job = self._job(extent)
        if job in self._pending:
            return
        # Of URLs, each file has a digest to be held to.
        apart = any(isinstance(source, UrlSource) for source in extent.sources)
        pending = self._pending[job] = _Pending(apart=apart)
        pending.thread = Thread(target=self._work, args=(job, pending), daemon=True)
        pending.thread.start()

    def hashed(self, extent: Extent) -> HashedInput:
        """Return SHA-256 and size of files one after the other, or of one range of a file."""
        self.start_hashing(extent)
        pending = self._pending[self._job(extent)]
        pending.thread.join()
        if pending.error is not None:
            raise pending.error
        if pending.result is None:
            names = ", ".join(source.name for source in extent.sources)
            raise SevbuildError(f"{names}: hashing ended without a result")
        if extent.part is None and pending.each is not None:
            for source, digest in zip(extent.sources, pending.each, strict=True):
                self._verify(source, digest)
        return pending.result

    def _fetch(self, source: UrlSource) -> str:
        if source not in self._fetched:
            from sevbuild.network.fetch import fetch

            network = self._network
            self._fetched[source] = fetch(
                source.name,
                source.sha256,
                source.limit,
                offline=network.offline,
                progress=network.progress,
                tell=network.tell,
            )
        return self._fetched[source]

    def _verify_whole(self, source: Source) -> None:
        if isinstance(source, UrlSource):
            self.hashed(Extent((source,)))

    def _verify(self, source: Source, digest: bytes) -> None:
        if isinstance(source, UrlSource) and digest != source.sha256:
            from sevbuild.network.fetch import discard

            discard(source.sha256)
            message = f"{source.name}: its copy in the cache was damaged: sha256 is {digest.hex()}, the manifest pins"
            raise MismatchError(
                f"{message} {source.sha256.hex()}", hint="the copy was removed; run again to fetch it"
            )

    def _job(self, extent: Extent) -> Job:
        return tuple(self.fetched_path(source) for source in extent.sources), extent.part

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


def refuse_missing(variants: Sequence[Variant], reader: InputReader) -> None:
    """Raise FaultsError with every file of these variants that is not there or cannot be opened.

    What is fetched is left to the fetching, which names the server's reason.
    """
    for variant in variants:
        for declared in variant.inputs:
            for key, source in declared.files():
                error = reader.why_unreadable(source) if isinstance(source, PathSource) else None
                if error is not None:
                    variant.document.fault(key, error.message, error.hint)
    for variant in variants:
        variant.document.raise_faults()


def check_pin(name: str, digest: bytes, pin: bytes | None) -> None:
    """Raise MismatchError where an input is not the one that the manifest pins."""
    if pin is not None and digest != pin:
        raise MismatchError(
            f"{name}: sha256 is {digest.hex()}, the manifest pins {pin.hex()}",
            hint="put the pinned file in place, or pin this one",
        )

"""Fetch an input once into the cache, held to its SHA-256, going on where an earlier run was cut short."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from sevbuild.environment import positive_number
from sevbuild.errors import MismatchError, SevbuildError, file_errors
from sevbuild.network.cache import Cache, Part, cache_directory
from sevbuild.output.locks import Patience
from sevbuild.progress import Meter, Progress, metering

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

    from sevbuild.network.https import Reply

__all__ = ["discard", "fetch"]

TIMEOUT = 30.0
_BUFFER = 256 * 1024


class _StartOverError(Exception):
    """The rest of a download cannot be had, but perhaps the whole of it."""


def fetch(
    url: str,
    digest: bytes,
    limit: int,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> str:
    """Return the path of the cached file with this SHA-256, fetched from an HTTPS URL if it is not there.

    At most `limit` bytes, or $SEVBUILD_FETCH_LIMIT, are accepted. Raises MismatchError where the server
    has other bytes, SevbuildError for everything else that a server or a network can do. Readers of
    the file verify it: a cache can be damaged. `tell` is told where another process is waited for.
    """
    cache = Cache(cache_directory())
    name = digest.hex()
    if cache.has(name):
        return cache.entry(name)
    if offline:
        hint = f"run once without --offline, or put the file at {cache.entry(name)}"
        raise SevbuildError(f"{url}: not in the cache, and --offline forbids fetching it", hint=hint)
    seconds = positive_number("SEVBUILD_FETCH_TIMEOUT", TIMEOUT)
    limit = int(positive_number("SEVBUILD_FETCH_LIMIT", limit))
    patience = Patience(2 * seconds, variable="SEVBUILD_FETCH_TIMEOUT")
    with cache.claim(name, patience if tell is None else patience._replace(tell=tell)):
        # Another process may have fetched it meanwhile.
        if not cache.has(name):
            _download(url, digest, limit, seconds, cache, progress)
    return cache.entry(name)


def discard(digest: bytes) -> None:
    """Remove an entry that was found to be damaged."""
    with suppress(OSError):
        os.unlink(Cache(cache_directory()).entry(digest.hex()))


def _download(
    url: str, digest: bytes, limit: int, seconds: float, cache: Cache, progress: Progress | None
) -> None:
    part = cache.part(digest.hex())
    with metering(progress, url) as meter:
        transfer = _Transfer(url, part, limit, seconds, meter)
        try:
            found = transfer.go_on(digest)
        except _StartOverError:
            found = b""
        if found != digest and transfer.resumed:
            # What was there did not belong to the rest. That is no verdict on what the server has.
            part.drop()
            found = transfer.go_on(digest)
    if found != digest:
        part.drop()
        raise MismatchError(
            f"{url}: sha256 is {found.hex()}, the manifest pins {digest.hex()}",
            hint="the server's file is not the pinned one; nothing was kept",
        )
    with file_errors("write", part.path):
        part.commit(cache.entry(digest.hex()))


@contextmanager
def _appending(part: Part) -> Iterator[Callable[[bytes], None]]:
    # A fault of the disk is told from one of the network.
    with file_errors("write", part.path):
        descriptor = _open_own(part.path, os.O_WRONLY | os.O_APPEND)

    def write(data: bytes) -> None:
        view = memoryview(data)
        with file_errors("write", part.path):
            while view:
                view = view[os.write(descriptor, view) :]

    try:
        yield write
        with file_errors("write", part.path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Transfer:
    """One transfer of a URL's bytes into a part file."""

    def __init__(self, url: str, part: Part, limit: int, seconds: float, meter: Meter) -> None:
        self.resumed = False
        self._url = url
        self._part = part
        self._limit = limit
        self._seconds = seconds
        self._meter = meter

    def go_on(self, digest: bytes) -> bytes:
        """Return the SHA-256 of the part file once it is complete; what it has already is not asked for."""
        from sevbuild.network.https import get

        validator = self._part.validator(self._url)
        state, have = _hash_part(self._part.path) if validator else (sha256(), 0)
        if have > self._limit:
            state, have = sha256(), 0
        if have and state.digest() == digest:
            return digest
        self.resumed = have > 0
        headers = {"Range": f"bytes={have}-", "If-Range": validator or ""} if have else {}
        with get(self._url, headers, self._seconds) as reply:
            if have and reply.status == 206:
                self._check_range(reply, have)
            elif have and reply.status == 416:
                raise _StartOverError
            elif reply.status == 200:
                self.resumed = False
                state, have = sha256(), 0
            else:
                raise SevbuildError(f"{self._url}: HTTP {reply.status} {reply.reason}".rstrip())
            length = reply.length()
            total = None if length is None else have + length
            if total is not None and total > self._limit:
                raise self._too_large(f"{total} bytes")
            if not self.resumed:
                with file_errors("write", self._part.path):
                    _begin(self._part.path)
                    self._part.note(self._url, _validator(reply))
            try:
                self._receive(reply, state, have, total)
            except BaseException:
                self._part.keep_or_drop()
                raise
        return state.digest()

    def _receive(self, reply: Reply, state: HASH, have: int, total: int | None) -> None:
        self._meter(have, total)
        with _appending(self._part) as write:
            for chunk in reply.chunks():
                have += len(chunk)
                if have > self._limit:
                    raise self._too_large(f"more than {self._limit} bytes")
                write(chunk)
                state.update(chunk)
                self._meter(have, total)
        if total is not None and have < total:
            hint = "run again to resume"
            raise SevbuildError(f"{self._url}: the response ends after {have} of {total} bytes", hint=hint)

    def _check_range(self, reply: Reply, have: int) -> None:
        unit, _, span = reply.header("Content-Range").partition(" ")
        start = span.partition("-")[0]
        if unit != "bytes" or start != str(have):
            raise _StartOverError

    def _too_large(self, what: str) -> SevbuildError:
        self._part.drop()
        hint = "SEVBUILD_FETCH_LIMIT sets the limit, in bytes"
        return SevbuildError(f"{self._url}: {what}; the limit is {self._limit} bytes", hint=hint)


def _validator(reply: Reply) -> str | None:
    """Return what If-Range takes: a strong ETag, else the date, else None."""
    tag = reply.header("ETag").strip()
    if tag.startswith('"') and tag.isprintable() and tag.isascii():
        return tag
    date = reply.header("Last-Modified").strip()
    return date if date and date.isprintable() and date.isascii() else None


def _hash_part(path: str) -> tuple[HASH, int]:
    state, size = sha256(), 0
    with (
        suppress(FileNotFoundError, PermissionError),
        open(_open_own(path, os.O_RDONLY), "rb", buffering=0) as stream,
    ):
        while chunk := stream.read(_BUFFER):
            state.update(chunk)
            size += len(chunk)
    return state, size


def _open_own(path: str, flags: int) -> int:
    """Return the descriptor of a part; raises PermissionError for a file that others may have put there."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise PermissionError(error.errno, error.strerror, path) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)


def _begin(path: str) -> None:
    """Make a part anew: its name is known, so nothing that is there is written to."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))

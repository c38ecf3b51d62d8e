"""The cache of fetched inputs: an entry is named by the SHA-256 of its bytes, and complete or absent."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.file import write_file
from sevbuild.output.locks import Patience, lock, unlock, wait_for
from sevbuild.output.temporary import clear_new

__all__ = ["Cache", "Entry", "Part", "cache_directory"]

_HEX = frozenset("0123456789abcdef")
_NAME_LENGTH = 64
_META_LIMIT = 16 << 10


class Entry(NamedTuple):
    """One file of the cache; a part is a download that has not ended, `url` is where it is from."""

    sha256: str
    size: int
    complete: bool
    url: str


def cache_directory() -> str:
    """Return the folder of the cache: $SEVBUILD_CACHE, or the platform's cache folder for this program."""
    given = os.environ.get("SEVBUILD_CACHE")
    if given:
        return os.path.abspath(given)
    from platformdirs import user_cache_dir

    return user_cache_dir("sevbuild", appauthor=False)


class Part:
    """The files of one download: its bytes so far, and what its rest can be asked for by."""

    __slots__ = ("_meta", "path")

    def __init__(self, path: str, meta: str) -> None:
        self.path = path
        self._meta = meta

    def validator(self, url: str) -> str | None:
        """Return the validator (ETag or date) of the bytes so far if they came from this URL."""
        found = self._read()
        return found.get("validator") if found.get("url") == url else None

    def note(self, url: str, validator: str | None) -> None:
        """Note where the bytes come from; without a validator they cannot be gone on with."""
        if validator is None:
            self._forget()
        else:
            data = json.dumps({"url": url, "validator": validator}).encode()
            write_file(self._meta, data, follow=False)

    def keep_or_drop(self) -> None:
        """Keep a download that was cut short where it can be gone on with, else remove it."""
        if not os.path.exists(self._meta):
            self.drop()

    def drop(self) -> None:
        """Remove the bytes and what is known of them."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self._forget()

    def commit(self, entry: str) -> None:
        """Make the bytes an entry of the cache."""
        os.replace(self.path, entry)
        self._forget()

    def url(self) -> str:
        """Return where the bytes come from, empty where that is not known."""
        return self._read().get("url", "")

    def _forget(self) -> None:
        clear_new(Disk(), self._meta)
        with suppress(FileNotFoundError):
            os.unlink(self._meta)

    def _read(self) -> dict[str, str]:
        try:
            with open(self._meta, encoding="utf-8") as stream:
                found = json.loads(stream.read(_META_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: value for key, value in found.items() if isinstance(value, str)}


class Cache:
    """The entries in one folder: found, filled and cleaned."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._entries = os.path.join(directory, "sha256")
        self._parts = os.path.join(directory, "partial")

    def entry(self, sha256: str) -> str:
        """Return the path of an entry, be it there or not."""
        return os.path.join(self._entries, sha256)

    def part(self, sha256: str) -> Part:
        """Return the files of an entry's download."""
        stem = os.path.join(self._parts, sha256)
        return Part(f"{stem}.part", f"{stem}.json")

    def has(self, sha256: str) -> bool:
        """Tell whether an entry is there."""
        return os.path.isfile(self.entry(sha256))

    @contextmanager
    def claim(self, sha256: str, patience: Patience) -> Iterator[None]:
        """Hold an entry's download alone; another process that has it is waited for while its part grows."""
        path = os.path.join(self._parts, f"{sha256}.lock")
        try:
            os.makedirs(self._entries, exist_ok=True)
            os.makedirs(self._parts, exist_ok=True)
            part = self.part(sha256).path
            descriptor = wait_for(lambda: _try_lock(path), path, patience, progress=lambda: _size(part))
        except OSError as error:
            raise SevbuildError(f"cannot write {self.directory}: {error.strerror or error}") from None
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            unlock(descriptor)

    def entries(self) -> list[Entry]:
        """Return what the cache holds, complete entries first, by digest."""
        found = [
            Entry(name, _size(os.path.join(self._entries, name)), complete=True, url="")
            for name in _names(self._entries, "")
        ]
        for name in _names(self._parts, ".part"):
            part = self.part(name)
            found.append(Entry(name, _size(part.path), complete=False, url=part.url()))
        return found

    def clean(self, wanted: Sequence[str] = ()) -> list[Entry]:
        """Remove these entries and parts, all of them for none given, and return what was removed.

        A part that another process is downloading stays.
        """
        removed = []
        for entry in self.entries():
            if wanted and entry.sha256 not in wanted:
                continue
            try:
                if entry.complete:
                    os.unlink(self.entry(entry.sha256))
                elif not self._drop_part(entry.sha256):
                    continue
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SevbuildError(f"cannot clean {self.directory}: {error.strerror}") from None
            removed.append(entry)
        return removed

    def _drop_part(self, sha256: str) -> bool:
        path = os.path.join(self._parts, f"{sha256}.lock")
        descriptor = _try_lock(path)
        if descriptor is None:
            return False
        self.part(sha256).drop()
        os.unlink(path)
        unlock(descriptor)
        return True


def _try_lock(path: str) -> int | None:
    """Return the descriptor of a lock file held alone, None while another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    # Its holder removes the file when done: the lock must be on the one that is there now.
    state = lock(descriptor, path)
    if state == "ours":
        return descriptor
    os.close(descriptor)
    if state == "unknown":
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), path)
    return None


def _names(folder: str, suffix: str) -> list[str]:
    try:
        listed = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SevbuildError(f"cannot read {folder}: {error.strerror}") from None
    stems = [name.removesuffix(suffix) for name in listed if name.endswith(suffix)]
    return sorted(stem for stem in stems if len(stem) == _NAME_LENGTH and set(stem) <= _HEX)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

"""The edge to the file system: bounded reading, streamed hashing; `output/` writes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from sevbuild.errors import SevbuildError, file_error, file_errors
from sevbuild.text import encode_text

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

__all__ = [
    "FileSource",
    "file_size",
    "file_starts_with",
    "hash_files",
    "hash_range",
    "is_regular",
    "native_path",
    "path_from",
    "read_file",
    "read_range",
    "read_standard_input",
    "read_standard_text",
    "read_text",
    "why_unreadable",
]

_BUFFER = 256 * 1024
_TEXT_LIMIT = 16 << 20


def path_from(directory: str, path: str) -> str:
    """Return what opens the file that a document in `directory` calls `path`; nothing in it is expanded.

    It is short and the same for one file where that can be had. `NAME/..` is left out only where that leads
    to the same file: behind a symbolic link the operating system ends up elsewhere, and it is right.
    """
    at = os.path.join(directory, native_path(path))
    short = os.path.normpath(at)
    if ".." not in at.split("/") and not at.endswith(("/", "/.")):
        return short
    try:
        return short if os.path.samestat(os.stat(short), os.stat(at)) else at
    except OSError:
        return at


def file_size(path: str) -> int:
    """Return the size of a file in bytes."""
    with file_errors("read", path):
        return os.stat(path).st_size


def read_file(path: str, limit: int) -> bytes:
    """Return the bytes of a file of at most `limit` bytes; a pipe is read to its end."""
    with file_errors("read", path), open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise SevbuildError(f"{path}: {size} bytes; the limit is {limit} bytes")
        # A pipe has no size, and a file may grow; whatever is there counts up to the limit.
        pieces, have = [], 0
        while piece := stream.read(max(size - have, _BUFFER)):
            pieces.append(piece)
            have += len(piece)
            if have > limit:
                raise SevbuildError(f"{path}: larger than the limit of {limit} bytes")
        return b"".join(pieces)


def read_standard_input(limit: int) -> bytes:
    """Return what standard input has, of at most `limit` bytes: one that does not end is read no further."""
    name = "standard input"
    if sys.stdin is None:
        raise SevbuildError(f"cannot read {name}: it is closed")
    with file_errors("read", name):
        data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise SevbuildError(f"{name}: larger than the limit of {limit} bytes")
    return data


def read_text(path: str) -> str:
    """Return the text of a UTF-8 file; line ends stay as they are."""
    return _utf8(path, read_file(path, _TEXT_LIMIT))


def read_standard_text() -> str:
    """Return the same of standard input, which messages call `stdin`."""
    return _utf8("stdin", read_standard_input(_TEXT_LIMIT))


def _utf8(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "it looks like UTF-16: save it as UTF-8" if utf16 else None
        raise SevbuildError(f"{name}:{line}: not UTF-8 text", hint=hint) from None


def native_path(text: str) -> str:
    """Return a path that a document names as this process opens it: the file system has its UTF-8 bytes.

    The same text wherever Python itself takes paths for UTF-8, as the command line has it do.
    """
    return os.fsdecode(encode_text(text))


def is_regular(path: str) -> bool:
    """Tell whether a path leads to a regular file, which can be read more than once."""
    return os.path.isfile(path)


def why_unreadable(path: str) -> SevbuildError | None:
    """Return the error that reading a file would meet at once, None where it can be opened.

    A pipe is not opened, for that waits for who writes it.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            with open(path, "rb", buffering=0):
                pass
    except OSError as error:
        return file_error("read", path, error)
    return None


def file_starts_with(path: str, magic: bytes) -> bool:
    """Tell whether a path is that of a regular file that begins with these bytes; a pipe is left alone."""
    return is_regular(path) and read_range(path, 0, len(magic)) == magic


def hash_files(
    paths: Sequence[str],
    write: Callable[[memoryview], object] | None = None,
    *,
    each: list[bytes] | None = None,
) -> tuple[HASH, int]:
    """Return the SHA-256 state over the files one after the other, and their size together.

    Memory does not grow with the files: they pass through one buffer of 256 KiB. `write` is given each
    piece that was hashed, so that a copy is of the very bytes. The SHA-256 of every single file is added to
    `each`; of all but the first that takes a second hash over the same buffer.
    """
    state = sha256()
    size = 0
    buffer = memoryview(bytearray(_BUFFER))
    for index, path in enumerate(paths):
        own = None if each is None or index == 0 else sha256()
        for piece in _pieces(path, buffer):
            state.update(piece)
            if own is not None:
                own.update(piece)
            size += len(piece)
            if write is not None:
                write(piece)
        if each is not None:
            each.append((own or state).digest())
    return state, size


def read_range(path: str, offset: int, size: int) -> bytes:
    """Return `size` bytes at `offset` of a file, fewer where it ends before."""
    with file_errors("read", path), open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


class FileSource:
    """The bytes of a regular file by offset; nothing of it is kept or mapped."""

    __slots__ = ("_descriptor", "_path", "size")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        with file_errors("read", path):
            self._descriptor = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; raises SevbuildError where the file ends before."""
        with file_errors("read", self._path):
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size:
                more = os.pread(self._descriptor, size - len(data), offset + len(data))
                if not more:
                    raise SevbuildError(f"{self._path}: the file ends {size - len(data)} bytes too early")
                data += more
        return data

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def hash_range(
    path: str, offset: int, size: int, write: Callable[[memoryview], object] | None = None
) -> tuple[HASH, int]:
    """Return the SHA-256 state over `size` bytes at `offset` of a file, and that size.

    `write` is given each piece that was hashed.
    """
    state = sha256()
    left = size
    for piece in _pieces(path, memoryview(bytearray(_BUFFER)), offset, size):
        state.update(piece)
        left -= len(piece)
        if write is not None:
            write(piece)
    if left:
        raise SevbuildError(f"{path}: the file ends {left} bytes too early")
    return state, size


def _pieces(path: str, buffer: memoryview, offset: int = 0, size: int | None = None) -> Iterator[memoryview]:
    """Yield a file, or `size` bytes at `offset` of it, in pieces that lie in `buffer` until the next one.

    What is done with a piece fails as itself: only reading is a fault of this file.
    """
    with file_errors("read", path):
        stream = open(path, "rb", buffering=0)  # noqa: SIM115 - a with block would hold the yield as well
    with stream:
        left = size
        while left is None or left:
            with file_errors("read", path):
                if offset and left == size:
                    stream.seek(offset)
                count = stream.readinto(buffer if left is None else buffer[:left])
            if not count:
                return
            left = None if left is None else left - count
            yield buffer[:count]

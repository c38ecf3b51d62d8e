"""The three standard streams, whatever they are: a pipe without a reader, a full device, closed.

Standard output that cannot be written is an error, since data is lost; a reader that has enough is none.
What cannot be told on standard error is lost, and changes no exit code.
"""

from __future__ import annotations

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TextIO

from sevbuild.errors import SevbuildError

__all__ = ["prepare_streams"]


def prepare_streams() -> None:
    """Have standard output and error end as this module says, and be UTF-8 in every locale."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy_closed()
    if _is_descriptor(sys.stdout, 1):
        sys.stdout = _wrapped(_Output(1, "wb", closefd=False), "utf-8", line_buffering=False)
    elif isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    if _is_descriptor(sys.stderr, 2):
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        sys.stderr = _wrapped(_Messages(2, "wb", closefd=False), encoding, line_buffering=True)


def _is_descriptor(stream: TextIO | None, descriptor: int) -> bool:
    """Tell whether a stream is the interpreter's own, and none that a caller has put in its place."""
    if stream is None:
        return True
    try:
        return type(stream) is TextIOWrapper and stream.fileno() == descriptor
    except OSError:  # one in memory
        return False


def _wrapped(raw: FileIO, encoding: str, *, line_buffering: bool) -> TextIOWrapper:
    # What no encoding knows, the bytes of a file name say, is escaped as JSON has it.
    return TextIOWrapper(
        BufferedWriter(raw), encoding, "backslashreplace", newline="\n", line_buffering=line_buffering
    )


def _occupy_closed() -> None:
    """Open /dev/null in place of descriptors that are closed: the next file opened would become one.

    Each is opened the wrong way round, so that using it fails as if it were closed; but for messages,
    which then go nowhere.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # Those below are open, so that this one is given out next.
            os.set_inheritable(os.open(os.devnull, flags), True)


def _write_all(stream: FileIO, data: memoryview) -> None:
    """Write all of it, also to a pipe that another process has made non-blocking."""
    while data:
        count = FileIO.write(stream, data)
        if count is None:
            from select import select

            select([], [stream.fileno()], [])
        else:
            data = data[count:]


def _discard(stream: FileIO) -> None:
    """Let everything that is still written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Messages(FileIO):
    """Standard error, as far as that goes."""

    def write(self, data: object, /) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            _write_all(self, view)
        except OSError as error:
            _discard(self)
            self._lose(error)
        return len(view)

    def _lose(self, error: OSError) -> None:
        """Go on without what could not be written."""


class _Output(_Messages):
    """Standard output. A reader that is gone ends nothing: what is being done has its own exit code."""

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            raise SevbuildError(f"cannot write standard output: {error.strerror or error}") from None

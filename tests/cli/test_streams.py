"""What takes the place of the standard streams, on descriptors that are there to be broken."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedWriter, TextIOWrapper
from pathlib import Path

import pytest

from sevbuild.cli import streams
from sevbuild.errors import SevbuildError


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the reading and the writing end of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def _text(kind: type[streams._Output | streams._Messages], descriptor: int) -> TextIOWrapper:
    return TextIOWrapper(BufferedWriter(kind(descriptor, "wb", closefd=False)), "utf-8")


@pytest.mark.parametrize("kind", [streams._Output, streams._Messages])
def test_what_is_written_arrives(kind: type[streams._Output], pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    stream = _text(kind, pipe[1])
    stream.write("größe\n")
    stream.flush()
    assert os.read(pipe[0], 100) == "größe\n".encode()


@pytest.mark.parametrize("kind", [streams._Output, streams._Messages])
def test_a_reader_that_is_gone_is_no_error(kind: type[streams._Output], pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    stream = _text(kind, pipe[1])
    for _ in range(2):
        stream.write("x" * 100_000)
        stream.flush()


def test_a_full_device_is_an_error_once() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = _text(streams._Output, descriptor)
    stream.write("x")
    with pytest.raises(SevbuildError, match="cannot write standard output: No space left on device"):
        stream.flush()
    # Nothing is left to fail when the interpreter ends.
    stream.flush()
    os.close(descriptor)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    errors = _text(streams._Messages, descriptor)
    errors.write("x")
    errors.flush()
    os.close(descriptor)


def test_a_slow_reader_is_waited_for(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    import select

    os.set_blocking(pipe[1], False)
    waited = []

    def drain(_: object, writing: list[int], __: object) -> None:
        waited.append(writing)
        os.read(pipe[0], 1 << 20)

    monkeypatch.setattr(select, "select", drain)
    stream = _text(streams._Output, pipe[1])
    stream.write("x" * 300_000)
    stream.flush()
    assert waited[0] == [pipe[1]]


def test_closed_descriptors_are_occupied() -> None:
    opened: list[tuple[str, int]] = []
    closed = {0, 2}

    def stat(descriptor: int) -> None:
        if descriptor in closed:
            raise OSError(errno.EBADF, "closed")

    def open_null(path: str, flags: int) -> int:
        opened.append((path, flags))
        return min(closed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstat", stat)
        patch.setattr(os, "open", open_null)
        patch.setattr(os, "set_inheritable", lambda descriptor, _: closed.discard(descriptor))
        streams._occupy_closed()
    assert opened == [(os.devnull, os.O_WRONLY), (os.devnull, os.O_WRONLY)]


def test_streams_in_memory_are_no_descriptors(tmp_path: Path) -> None:
    import io

    assert not streams._is_descriptor(io.TextIOWrapper(io.BytesIO()), 1)
    assert streams._is_descriptor(None, 1)
    with (tmp_path / "x").open("w") as stream:
        assert not streams._is_descriptor(stream, 1)
        assert streams._is_descriptor(stream, stream.fileno())

"""Contents that may lie in memory or elsewhere: pieces of them, and their SHA-256."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from sevbuild.launch.region_data import Contents, chunks

__all__ = ["digest_of", "digest_of_pieces", "pieces_from", "read_contents"]

_PIECE = 1 << 20


def read_contents(data: Contents, start: int, end: int) -> bytes | memoryview:
    """Return the bytes from `start` up to, not including, `end`."""
    return data[start:end] if isinstance(data, bytes | memoryview) else data.read(start, end)


def pieces_from(data: Contents, start: int) -> Iterator[bytes | memoryview]:
    """Yield all bytes from `start` on, at most 1 MiB at a time."""
    for at in range(start, len(data), _PIECE):
        yield read_contents(data, at, min(at + _PIECE, len(data)))


def digest_of(data: Contents) -> bytes:
    """Return the SHA-256 of contents."""
    return digest_of_pieces(chunks(data))


def digest_of_pieces(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Return the SHA-256 of pieces one after the other."""
    state = sha256()
    for piece in pieces:
        state.update(piece)
    return state.digest()

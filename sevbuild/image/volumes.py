"""The compressed volumes of an OVMF, which hold its code: unpacked within bounds, and looked through."""

from __future__ import annotations

from collections.abc import Callable

from sevbuild.image.guid import parse_guid

__all__ = ["OVERLAP", "search_volumes"]

OVERLAP = 255
"""How many bytes of what was looked at before are looked at again: nothing longer is found in two pieces."""

# GUIDed sections of PI firmware volumes: u24 size, u8 type 2, GUID, u16 data offset, u16 attributes.
_LZMA_GUID = "ee4e5898-3914-4259-9d6e-dc7bd79403cf"
_GUID_DEFINED = 2
_SECTION_HEADER = 24
_LARGEST_VOLUME = 64 << 20
_LARGEST_DICTIONARY = 64 << 20
_MEMORY = 256 << 20
_ATTEMPTS = 8
_CHUNK = 1 << 20
_BUDGET = 40 << 20
"""Bytes decompressed in all: more than twice a real volume."""
_FEED = 6 << 20
"""Bytes of compressed input in all, twice a real volume's: decoding slows with what goes in as well."""

Look = Callable[[bytes], bool]
"""What is given each piece of a volume, and tells whether nothing is left to be looked for."""


def search_volumes(data: bytes, look: Look) -> bool | None:
    """Look through the compressed volumes of a firmware; return whether `look` had all that it looks for.

    None where no compressed volume can be read. Work and memory are bounded whatever the bytes.
    """
    marker = parse_guid(_LZMA_GUID)
    left, feed = _BUDGET, _FEED
    readable = False
    at = data.find(marker)
    for _ in range(_ATTEMPTS):
        if at < 0:
            break
        stream = _stream(data, at - 4)
        if stream is not None and feed:
            used, complete, satisfied = _search(stream[:feed], look, left)
            left -= used
            feed -= min(feed, len(stream))
            readable = readable or complete
            if satisfied:
                return True
        at = data.find(marker, at + 16)
    return False if readable else None


def _stream(data: bytes, start: int) -> memoryview | None:
    """Return the LZMA stream of the section at `start`, None where no plausible section is."""
    if start < 0 or start + _SECTION_HEADER > len(data) or data[start + 3] != _GUID_DEFINED:
        return None
    size = int.from_bytes(data[start : start + 3], "little")
    offset = int.from_bytes(data[start + 20 : start + 22], "little")
    stream = memoryview(data)[start + offset : start + size]
    if offset < _SECTION_HEADER or start + size > len(data) or len(stream) < 13:
        return None
    dictionary = int.from_bytes(stream[1:5], "little")
    unpacked = int.from_bytes(stream[5:13], "little")
    return stream if dictionary <= _LARGEST_DICTIONARY and unpacked <= _LARGEST_VOLUME else None


def _search(stream: memoryview, look: Look, budget: int) -> tuple[int, bool, bool]:
    """Decompress up to `budget` bytes; return bytes made, if to the end, and if `look` had all."""
    import lzma

    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY)
    made = 0
    overlap = b""
    feed: bytes | memoryview = stream
    try:
        while made < budget and not decoder.eof:
            chunk = decoder.decompress(feed, max_length=min(_CHUNK, budget - made))
            feed = b""
            made += len(chunk)
            window = overlap + chunk
            if look(window):
                return made, decoder.eof, True
            if not chunk and decoder.needs_input:
                break
            overlap = window[-OVERLAP:]
    except lzma.LZMAError:
        return made, False, False
    return made, decoder.eof, False

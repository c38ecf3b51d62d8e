"""MessagePack (msgpack.org, spec.md), as much of it as evidence has: no floats, no extension types."""

from __future__ import annotations

from typing import Any

from sevbuild.attest.byte_reader import ByteReader

__all__ = ["decode_message_pack"]

_DEEPEST = 32
_WORDS = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte: how many bytes say the size of what follows.
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STR = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAY = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def decode_message_pack(data: bytes, source: str) -> Any:
    """Return the value that bytes are, all of them.

    Maps have text for keys, each once. Raises SevbuildError for anything else, and for what is nested deeper
    than evidence is.
    """
    reader = _Reader(data, source)
    value = reader.value(0)
    reader.finish()
    return value


class _Reader(ByteReader):
    def value(self, depth: int) -> Any:
        """Return the next value."""
        first = self.take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in _WORDS:
            return _WORDS[first]
        if first in _UNSIGNED:
            return self.number(_UNSIGNED[first])
        if first in _SIGNED:
            return int.from_bytes(self.take(_SIGNED[first]), "big", signed=True)
        return self._sized(first, depth)

    def _sized(self, first: int, depth: int) -> Any:
        """Return a value that says its size: bytes, text, a list or a map."""
        if first in _BIN:
            return self.take(self.number(_BIN[first]))
        if first in _STR or 0xA0 <= first < 0xC0:
            return self._text(self.number(_STR[first]) if first in _STR else first & 0x1F)
        if depth == _DEEPEST:
            raise self.fault("it is nested too deeply")
        if first in _ARRAY or 0x90 <= first < 0xA0:
            count = self.number(_ARRAY[first]) if first in _ARRAY else first & 0xF
            # Each value is one byte at least.
            self.room(count)
            return [self.value(depth + 1) for _ in range(count)]
        if first in _MAP or first < 0x90:
            return self._map(self.number(_MAP[first]) if first in _MAP else first & 0xF, depth)
        raise self.fault(f"0x{first:02x} begins no value of evidence")

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        self.room(2 * count)
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(_DEEPEST)
            if not isinstance(key, str) or key in found:
                raise self.fault("a key of a map is no text, or stands there twice")
            found[key] = self.value(depth + 1)
        return found

    def _text(self, size: int) -> str:
        raw = self.take(size)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fault("a text is not UTF-8") from None

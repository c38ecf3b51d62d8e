"""DER (X.690, 10 and 11) read strictly: each value has one encoding, and any other is refused."""

from __future__ import annotations

from datetime import datetime, timezone

from sevbuild.errors import SevbuildError

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "GENERALIZED_TIME",
    "INTEGER",
    "NULL",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "SET",
    "TEXTS",
    "TIMES",
    "UTC_TIME",
    "Reader",
]

# X.690, 8.1.2: the class in bits 7 and 6, whether it is constructed in bit 5, the number below.
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
TEXTS: dict[int | None, str] = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
"""UTF8String, PrintableString and IA5String, and how each is decoded."""

TIMES: dict[int | None, int] = {UTC_TIME: 2, GENERALIZED_TIME: 4}
"""UTCTime and GeneralizedTime, and how many digits each has for the year."""


class Reader:
    """The elements of one constructed value, in turn.

    `source` is how an error calls the whole, and offsets in errors count from its first byte. Every method
    that reads raises SevbuildError where the bytes are not what it reads, in the one encoding that DER has.
    """

    __slots__ = ("at", "data", "end", "source")

    def __init__(self, data: bytes, source: str, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.source = source
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def tag(self) -> int | None:
        """The tag of the next element, None where there is none."""
        return self.data[self.at] if self.at < self.end else None

    def element(self, tag: int = SEQUENCE) -> Reader:
        """Return the contents of the next element, which has this tag, and go on behind it."""
        start = self._header(tag)
        self.at = start.end
        return start

    def raw(self, tag: int) -> bytes:
        """Return the next element whole, its tag and length before its contents."""
        start = self.at
        self.element(tag)
        return self.data[start : self.at]

    def contents(self, tag: int) -> bytes:
        """Return the bytes of the next element, which has this tag."""
        inner = self.element(tag)
        return self.data[inner.at : inner.end]

    def integer(self, tag: int = INTEGER) -> int:
        """Return the next element, a whole number."""
        inner = self.element(tag)
        found = self.data[inner.at : inner.end]
        # 8.3.2: the first nine bits are not all alike.
        if not found or (len(found) > 1 and found[0] in (0, 0xFF) and (found[0] ^ found[1]) < 0x80):
            raise inner.fault("a number is not in its shortest form")
        return int.from_bytes(found, "big", signed=True)

    def boolean(self) -> bool:
        """Return the next element, false or true (11.1)."""
        inner = self.element(BOOLEAN)
        found = self.data[inner.at : inner.end]
        if found not in (b"\0", b"\xff"):
            raise inner.fault("a truth value is neither 00 nor ff")
        return found == b"\xff"

    def oid(self) -> str:
        """Return the next element, an object identifier, with dots between its numbers."""
        inner = self.element(OBJECT_IDENTIFIER)
        numbers, value, fresh = list[int](), 0, True
        for byte in self.data[inner.at : inner.end]:
            # 8.19.2: no number begins with seven zero bits.
            if fresh and byte == 0x80:
                raise inner.fault("an object identifier is not in its shortest form")
            value = value << 7 | byte & 0x7F
            fresh = byte < 0x80
            if fresh:
                numbers.append(value)
                value = 0
        if not fresh or not numbers:
            raise inner.fault("an object identifier ends early")
        top = min(numbers[0] // 40, 2)
        return ".".join(map(str, (top, numbers[0] - 40 * top, *numbers[1:])))

    def bits(self) -> bytes:
        """Return the bytes of the next element, a string of whole bytes of bits: no bit of it is unused.

        What says how many are unused is signed by nobody where the string is a signature.
        """
        inner = self.element(BIT_STRING)
        found = self.data[inner.at : inner.end]
        if found[:1] != b"\0":
            raise inner.fault("a string of bits has unused bits, or none at all")
        return found[1:]

    def named_bits(self) -> frozenset[int]:
        """Return the numbers of the bits that are set in the next element (11.2.2)."""
        inner = self.element(BIT_STRING)
        found = self.data[inner.at : inner.end]
        value = int.from_bytes(found[1:], "big")
        # The unused bits are zero, and some bit of the last byte is set. The last used one would have to be
        # as well, which it is not in the key usage of AMD's ASKs and ASVKs (03 02 01 04).
        wrong = not value or found[0] > 7 or not found[-1] or value & (1 << found[0]) - 1
        if found != b"\0" and wrong:
            raise inner.fault("a string of named bits is not in its shortest form")
        size = 8 * len(found[1:])
        return frozenset(bit for bit in range(size) if value >> (size - 1 - bit) & 1)

    def text(self) -> str:
        """Return the next element, a text of one of the kinds in TEXTS."""
        encoding = TEXTS.get(self.tag)
        if encoding is None:
            raise self.fault("a text is expected")
        inner = self.element(self.data[self.at])
        try:
            return self.data[inner.at : inner.end].decode(encoding)
        except UnicodeDecodeError:
            raise inner.fault(f"a text is not {encoding.upper()}") from None

    def time(self) -> datetime:
        """Return the next element, a time to the second in UTC (11.7 and 11.8; RFC 5280, 4.1.2.5)."""
        years = TIMES.get(self.tag)
        if years is None:
            raise self.fault("a time is expected")
        inner = self.element(self.data[self.at])
        found = self.data[inner.at : inner.end]
        digits, zone = found[:-1], found[-1:]
        if len(digits) != years + 10 or not digits.isdigit() or zone != b"Z":
            raise inner.fault("a time is none to the second, in UTC")
        year = int(digits[:years])
        if years == 2:
            # RFC 5280, 4.1.2.5.1: of 1950 to 2049.
            year += 2000 if year < 50 else 1900
        month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(years, len(digits), 2))
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        except ValueError:
            raise inner.fault("there is no such time") from None

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.at != self.end:
            raise self.fault("more follows than there should be")

    def fault(self, what: str) -> SevbuildError:
        """Return what to raise of the bytes here."""
        return SevbuildError(f"{self.source}: {what}, at offset {self.at}")

    def _header(self, tag: int) -> Reader:
        """Return the span of the contents of the next element."""
        data, at, end = self.data, self.at, self.end
        if end - at < 2:
            raise self.fault("it ends early")
        if data[at] != tag:
            raise self.fault(f"tag 0x{data[at]:02x} is where 0x{tag:02x} is expected")
        size = data[at + 1]
        start = at + 2
        if size >= 0x80:
            count = size & 0x7F
            start += count
            # Four bytes of length are more than any certificate has; none at all is BER's indefinite form.
            if not 1 <= count <= 4 or start > end:
                raise self.fault("the length of an element is none")
            size = int.from_bytes(data[at + 2 : start], "big")
            # 10.1: the shortest form.
            if size < 0x80 or not size >> 8 * (count - 1):
                raise self.fault("the length of an element is not in its shortest form")
        if size > end - start:
            raise self.fault("an element is longer than what holds it")
        return Reader(data, self.source, start, start + size)

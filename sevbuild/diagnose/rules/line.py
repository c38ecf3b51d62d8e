"""One command line that may be the measured one."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.image.kernel_hashes import cmdline_digest

__all__ = ["Line"]


class Line(NamedTuple):
    """A command line, and the SHA-256 that is measured of it.

    `text` is the line as a manifest can have it, None where none can. `name` tells it from the others.
    """

    name: str
    digest: bytes
    text: bytes | None
    says: str
    source: str
    weight: int

    @classmethod
    def of(cls, name: str, text: bytes, says: str, source: str, weight: int) -> Line:
        """Return a line that is hashed with the NUL that ends it, as QEMU does."""
        return cls(name, cmdline_digest(text), None if b"\0" in text else text, says, source, weight)

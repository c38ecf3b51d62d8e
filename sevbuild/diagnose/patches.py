"""Pages with the bytes of a change patched in, which takes a fraction of what laying them out does."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.diagnose.setup import Tail

__all__ = ["FREE", "Bits", "Patch", "bits_between", "patch_between", "patched", "turned"]

FREE = frozenset(("cpu", "guest-features"))
"""The axes of which each sets registers that the other does not: those of the signature, SEV_FEATURES."""


Bits = tuple[int, bytes]
"""Bits that are turned over: the offset of the first byte with any, and all up to the last."""


class Patch(NamedTuple):
    """What a change does to the pages of a tail."""

    pages: tuple[Bits, ...]


def patch_between(tail: Tail, other: Tail) -> Patch | None:
    """Return what makes one tail the other, None where more than bytes of their pages differs."""
    if (tail.gpa, len(tail.pages), tail.further is None) != (
        other.gpa,
        len(other.pages),
        other.further is None,
    ):
        return None
    return Patch(tuple(bits_between(*pages) for pages in zip(_pages(tail), _pages(other), strict=True)))


def patched(tail: Tail, patch: Patch) -> Tail:
    """Return a tail with a patch made."""
    pages = tuple(turned(*each) for each in zip(_pages(tail), patch.pages, strict=True))
    if tail.further is None:
        return Tail(tail.gpa, pages, None)
    return Tail(tail.gpa, pages[:-1], pages[-1])


def _pages(tail: Tail) -> tuple[bytes, ...]:
    return tail.pages if tail.further is None else (*tail.pages, tail.further)


def bits_between(page: bytes, other: bytes) -> Bits:
    """Return what makes one page the other, which is as long."""
    bits = (int.from_bytes(page, "big") ^ int.from_bytes(other, "big")).to_bytes(len(page), "big")
    turned_over = bits.lstrip(b"\0")
    return (len(bits) - len(turned_over), turned_over.rstrip(b"\0")) if turned_over else (0, b"")


def turned(page: bytes, change: Bits) -> bytes:
    """Return a page with bits turned over."""
    start, bits = change
    end = start + len(bits)
    turned = int.from_bytes(page[start:end], "big") ^ int.from_bytes(bits, "big")
    return page[:start] + turned.to_bytes(len(bits), "big") + page[end:]

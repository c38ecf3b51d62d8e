"""What speaks against a launch digest being that of a running guest."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "Doubt"]

KINDS = ("not-established", "cannot-boot")


class Doubt(NamedTuple):
    """Why a digest may not be that of a running guest.

    `kind` is `not-established` (what the loader does is not known for certain) or `cannot-boot` (the
    loader, or the processor, would stop).
    """

    kind: str
    reason: str

"""What documents have of one input: its role, name, size and digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sevbuild.guest.inputs import FoundInput

__all__ = ["InputRecord", "record_of"]


class InputRecord(NamedTuple):
    """One input: `size` is None where only the digest is known; `algorithm` is sha256 or seed."""

    role: str
    name: str
    size: int | None
    algorithm: str
    digest: bytes


def record_of(found: FoundInput) -> InputRecord:
    """Return the record of an input that enters a launch digest by its own bytes."""
    declared, digest = found.declared, found.digest or b""
    algorithm = "sha256" if len(digest) == 32 else "seed"
    return InputRecord(declared.role.name, declared.basename, found.size, algorithm, digest)

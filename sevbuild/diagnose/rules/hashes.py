"""How kernel hashes are changed: those of a launch that is laid out, or of a loader's own kernel."""

from __future__ import annotations

from collections.abc import Callable

from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.image.kernel_hashes import KernelHashes

__all__ = ["hashed", "hashes_of", "with_hashes"]


def hashes_of(setup: Setup) -> KernelHashes | None:
    """Return the kernel hashes that a launch is given, None without any."""
    if isinstance(setup, LaidOut):
        return setup.inputs.kernel_hashes
    return setup.kernel_hashes if isinstance(setup, FileLaunch) else None


def with_hashes(setup: Setup, hashes: KernelHashes | None) -> Setup:
    """Return a launch with other kernel hashes."""
    if isinstance(setup, LaidOut):
        return setup._replace(inputs=setup.inputs._replace(kernel_hashes=hashes))
    return setup._replace(kernel_hashes=hashes) if isinstance(setup, FileLaunch) else setup


def hashed(name: str, digest: Callable[[], bytes]) -> Callable[[Setup], Setup]:
    """Return what replaces one digest of the kernel hashes; it has no effect where none are launched.

    `digest` computes it (32 bytes), once, when it is first wanted.
    """
    found: list[bytes] = []

    def apply(setup: Setup) -> Setup:
        hashes = hashes_of(setup)
        if hashes is None:
            return setup
        if not found:
            found.append(digest())
        return with_hashes(setup, hashes._replace(**{name: found[0]}))

    return apply

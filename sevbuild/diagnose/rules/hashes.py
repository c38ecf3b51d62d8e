"""How kernel hashes are changed: those of a launch that is laid out, or of a loader's own kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sevbuild.diagnose.departures import ONE_HASH, Later
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.applying import hashing
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.image.kernel_hashes import KernelHashes

__all__ = ["hashed", "hashes_of"]


def hashes_of(setup: Setup) -> KernelHashes | None:
    """Return the kernel hashes that a launch is given, None without any."""
    if isinstance(setup, LaidOut):
        return setup.inputs.kernel_hashes
    return setup.kernel_hashes if isinstance(setup, FileLaunch) else None


def hashed(
    name: Literal["kernel", "initrd", "cmdline"], compute: Callable[[], bytes]
) -> Callable[[Setup], Setup]:
    """Return what replaces one digest of the kernel hashes; it has no effect where none are launched.

    `compute` gives it (32 bytes), once, when a launch first wants it.
    """
    digest = Later(compute)
    of_laid_out = hashing(f"{ONE_HASH}{name}", digest)

    def apply(setup: Setup) -> Setup:
        if isinstance(setup, FileLaunch) and setup.kernel_hashes is not None:
            return setup._replace(kernel_hashes=setup.kernel_hashes._replace(**{name: digest()}))
        return of_laid_out(setup)

    return apply

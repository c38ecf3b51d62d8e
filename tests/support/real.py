"""Real software that a test may need: absent, it skips, unless .ci/run says that it must be there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.shared import ROOT

__all__ = [
    "QEMU",
    "newest_file",
    "peer_program",
    "real_file",
    "real_kernels",
    "require",
    "require_peer",
    "tool",
]

QEMU = shutil.which("qemu-system-x86_64")


def require(present: object, what: str) -> None:
    """Skip the test for want of `what`, or fail it where SEVBUILD_REQUIRE_REAL=1."""
    if present:
        return
    message = f"{what} is not on this machine; .ci/run installs it"
    if os.environ.get("SEVBUILD_REQUIRE_REAL") == "1":
        pytest.fail(message)
    pytest.skip(message)


def require_peer(present: object, what: str) -> None:
    """Skip the test for want of what others publish, in CI too: no registry need have it (docs/peers.md)."""
    if not present:
        pytest.skip(f"{what} is not on this machine; .ci/peers fetches it where it can (docs/peers.md)")


def real_file(path: str) -> Path:
    """Return a file that a distribution package installs."""
    require(Path(path).exists(), path)
    return Path(path)


def newest_file(path: str) -> Path:
    """Return a file of Debian's newest suite: unpacked by .ci/run, or installed on such a machine."""
    found = [place for place in (ROOT / ".cache" / "newest" / path, Path("/") / path) if place.exists()]
    require(found, f"{path} of Debian's newest suite")
    return found[0]


def tool(name: str) -> list[str]:
    """Return the command of a tool that checks: beside this Python, in .cache/bin, or on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    unpacked = ROOT / ".cache" / "bin" / name
    found = [
        place for place in (beside, str(unpacked), shutil.which(name)) if place and os.path.exists(place)
    ]
    require(found, name)
    return [found[0]]


def peer_program(name: str) -> str:
    """Return a program of others to run beside ours; without it the test skips, in CI too (docs/peers.md)."""
    places = (os.environ.get("SEVBUILD_PEERS"), str(ROOT / ".cache" / "bin"), os.environ.get("PATH"))
    found = shutil.which(name, path=os.pathsep.join(filter(None, places)))
    if found is None:
        pytest.skip(f"{name} is neither in $SEVBUILD_PEERS nor in .cache/bin nor on PATH (docs/peers.md)")
    return found


def real_kernels() -> list[Path]:
    """Return Linux kernels: unpacked by .ci/run, or the machine's own."""
    found = [*ROOT.glob(".cache/kernel/boot/vmlinuz-*"), *Path("/boot").glob("vmlinuz-*")]
    require(found, "a Linux kernel")
    return found

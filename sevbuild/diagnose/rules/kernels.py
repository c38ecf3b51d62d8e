"""Rules of the kernel hashes as a whole, of the kernel and of the initrd."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.departures import KERNEL_HASHES as HASHES_DEPARTURE
from sevbuild.diagnose.rules.applying import departing
from sevbuild.diagnose.rules.hashes import hashes_of
from sevbuild.diagnose.rules.weights import KERNEL_HASHES, SWEPT
from sevbuild.diagnose.setup import LaidOut

__all__ = ["kernel_changes"]

_OFF = "github.com/AMDESE/AMDSEV issues 93, 142 and 262: kernel-hashes=on was left out, or an ordinary OVMF"
_EMPTY = "QEMU 10.2 target/i386/sev.c: what an empty -kernel, no -initrd and no -append are hashed to"
_ZEROS = "a loader that writes the page of the table without a table in it"


def kernel_changes(start: Start) -> Iterator[Change]:
    """Yield the changes of axis kernel-hashes for a start that measures a kernel."""
    if hashes_of(start.setup) is None or not isinstance(start.setup, LaidOut):
        return
    off = (Edit("kernel.hashes", "false"),)
    for value, says, source, weight, edits in (
        ("off", "no kernel hashes", _OFF, KERNEL_HASHES, off),
        ("empty", "the kernel hashes of nothing", _EMPTY, KERNEL_HASHES + 5, ()),
        ("zeros", "no kernel hashes, and zeros on their page", _ZEROS, SWEPT + 10, ()),
    ):
        apply = departing({HASHES_DEPARTURE: value})
        yield Change("kernel-hashes", value, "body", apply, says, source, weight, edits)

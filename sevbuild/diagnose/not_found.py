"""What follows from a search that found nothing: what is excluded, what was not covered, what to get next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.hashes import hashes_of
from sevbuild.diagnose.setup import LaidOut, Setup

if TYPE_CHECKING:
    from sevbuild.diagnose.change import Change, Start
    from sevbuild.diagnose.statistics import SearchStatistics

__all__ = ["Searched", "excluded", "next_steps", "not_covered"]

_VMSA_DUMP = (
    "the VMSAs that the host's KVM launched: `echo 'func sev_es_sync_vmsa +p' > "
    "/sys/kernel/debug/dynamic_debug/control` before the launch, then `dmesg > dmesg.txt` and `{command}`"
)
_TRACE = (
    "what QEMU launched: start it with `-trace 'kvm_sev_*'` and its standard error in trace.txt, then "
    "`{command}`"
)
_DUMP = ("--vmsa-dump", "dmesg.txt")
_NAMES = {
    "mode": "mode",
    "order": "order",
    "profile": "profile",
    "loader": "loader",
    "firmware": "firmware image",
    "sections": "order of sections",
    "page-types": "page type",
    "svsm": "place of the SVSM",
    "kernel-hashes": "kernel hashes on or off",
    "kernel": "kernel",
    "initrd": "initrd",
    "cmdline": "command line",
    "cpu": "CPU",
    "guest-features": "SEV_FEATURES",
    "registers": "initial register",
    "entry": "place where vCPUs start",
    "measured-vcpus": "number of measured vCPUs",
    "vmsa-gpa": "address of the VMSAs",
}


_WORDS = {2: "two", 3: "three", 4: "four"}


class Searched(NamedTuple):
    """What a search without a match started from, which changes it had, and what it tried.

    `suspects` tells that firmware images or releases were among the changes, `dumped` that the VMSAs of the
    launch were given. `words` are those of a command line that name the guest, then what was expected, then
    options that say which launch of the guest is meant.
    """

    starts: Sequence[Start]
    changes: Sequence[Change]
    suspects: bool
    statistics: SearchStatistics
    words: tuple[str, ...] = ("GUEST", "EXPECTED")
    dumped: bool = False

    @property
    def held_to(self) -> tuple[str, ...]:
        """The words that name the guest for `replay`, none where it is a document: that has no contents."""
        known = all(start.where or isinstance(start.setup, FileLaunch) for start in self.starts)
        return (self.words[0], *self.words[2:]) if known else ()


def excluded(searched: Searched, given: str = "") -> tuple[str, ...]:
    """Return what is proved by the stages that were completed, nothing for those that were not.

    `given` says what every launch had in common, for which there is another word than its image.
    """
    completed = searched.statistics.completed
    if not any(stage.every for stage in completed):
        return ()
    parts = _parts(searched.starts)
    axes = {change.axis for change in searched.changes}
    names = [name for axis, name in _NAMES.items() if axis in axes]
    counts = max(stage.vcpus for stage in completed)
    counted = not given and counts > 1 and any(_has_counts(start.setup) for start in searched.starts)
    what = [f"no vCPU count from 1 to {counts}"] if counted else []
    what += [f"no other {', '.join(names[:-1])}{' or ' if names[1:] else ''}{names[-1]}"] if names else []
    if what:
        known = f"{' and '.join(what)} that is known gives this digest by itself"
        found = [f"{known} {given or _with(searched)}: {parts}"]
    else:
        found = [f"nothing is known to differ in launches {given or _with(searched)}: {parts}"]
    most = max((stage.changes for stage in completed if stage.every), default=0)
    if most > 1:
        found.append(f"nor do any {_WORDS.get(most, str(most))} of these together")
    return tuple(found)


def _has_counts(setup: Setup) -> bool:
    """Tell whether other numbers of vCPUs were tried: where each enters the digest, and starts."""
    return setup.takes_more_vcpus if isinstance(setup, FileLaunch) else setup.mode != "sev"


def not_covered(searched: Searched) -> tuple[str, ...]:
    """Return what was not tried, and what cannot be."""
    return tuple(_not_covered(searched))


def next_steps(searched: Searched) -> tuple[str, ...]:
    """Return what to get, the most telling first."""
    return tuple(_next_steps(searched))


def _with(searched: Searched) -> str:
    """Return what every launch that was tried had in common."""
    setups = [start.setup for start in searched.starts]
    if all(isinstance(setup, FileLaunch) for setup in setups):
        return "with this IGVM file"
    what = "this firmware" if not searched.suspects else "this firmware or a candidate"
    return f"with {what} and kernel" if any(map(hashes_of, setups)) else f"with {what}"


def _parts(starts: Sequence[Start]) -> str:
    """Return what is left to be another."""
    setups = [start.setup for start in starts]
    if all(isinstance(setup, FileLaunch) for setup in setups):
        return "the IGVM file differs"
    if any(map(hashes_of, setups)):
        return "firmware or kernel hashes differ"
    return "the firmware differs"


def _not_covered(searched: Searched) -> Iterator[str]:
    if not searched.statistics.stages:
        yield "one change: nothing was tried in the time that there was"
    for stage in searched.statistics.stages:
        if not stage.completed:
            yield f"{stage.name}: {stage.left}"
    laid_out = any(isinstance(start.setup, LaidOut) for start in searched.starts)
    if laid_out and not searched.suspects:
        yield "no other firmware was tried: it is the most frequent cause"
    if any(map(hashes_of, (start.setup for start in searched.starts))):
        yield (
            "QEMU 7.1 and 7.2 append 32 random bytes to the kernel at each launch (the RNG seed of the "
            "machines pc-q35-7.2 and pc-i440fx-7.2): such a digest differs each time. The cure is "
            "`-machine pc-q35-7.1`, or QEMU 8"
        )
        yield (
            "a kernel, an initrd or a command line of other contents: their bytes cannot be guessed, only "
            "what is known to be added or dropped"
        )
    lines = [start.material.cmdline or b"" for start in searched.starts]
    if any(re.search(rb"(?:^| )nr_cpus=", line) for line in lines):
        yield "nr_cpus of the command line beyond the counts that were tried: Kata takes it from the host"


def _next_steps(searched: Searched) -> Iterator[str]:
    laid_out = any(isinstance(start.setup, LaidOut) for start in searched.starts)
    if laid_out and not searched.suspects:
        yield "the firmware file that the host starts, or the folder it is in: `--firmware PATH`"
    if any(map(hashes_of, (start.setup for start in searched.starts))):
        yield "kernel, initrd and command line as they were launched: `--kernel`, `--initrd`, `--cmdline FILE`"
    if not searched.dumped and any(start.setup.mode != "sev" for start in searched.starts):
        yield _VMSA_DUMP.format(command=shlex.join(("sevbuild", "explain", *searched.words, *_DUMP)))
    yield _TRACE.format(command=shlex.join(("sevbuild", "replay", "trace.txt", *searched.held_to)))
    if searched.statistics.stages and not searched.statistics.stages[-1].completed:
        yield "more time: `--budget SECONDS`"

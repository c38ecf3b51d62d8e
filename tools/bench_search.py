"""Measure the search for a launch digest: against raw hashing, in two processes, and what it holds.

Each question is answered in a process of its own, `python tools/bench_search.py snp` and so on.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256, sha384
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sevbuild.diagnose.search import Limits, search
from sevbuild.launch.mode import Mode
from tests.support.near_misses import many_changes, start_of

_PAIRS = 7
_RAW = 1 << 19
_ENDLESS = 1e6


def _searched(mode: Mode, number: int, processes: int, axes: tuple[str, ...]) -> int:
    """Search for what is not there, and return how many launches were tried."""
    changes = [change for change in many_changes(number) if change.axis in axes]
    wanted = os.urandom(48 if mode == "snp" else 32)
    outcome = search([start_of(mode)], lambda _: changes, wanted, Limits(_ENDLESS, processes=processes))
    return outcome.statistics.launches


def _timed(work: Callable[[], int], clock: Callable[[], float]) -> float:
    """Return how often a second the work was done."""
    start = clock()
    done = work()
    return done / (clock() - start)


def rate(mode: Mode) -> float:
    """Return launches a second on one processor to hashes a second: of PAGE_INFO for SNP, of a page else."""
    block, hashed = (bytes(112), sha384) if mode == "snp" else (bytes(4096), sha256)
    count = _RAW if mode == "snp" else _RAW >> 3

    def raw() -> int:
        for _ in range(count):
            hashed(block).digest()
        return count

    def tails() -> int:
        return _searched(mode, 48 if mode == "snp" else 16, 1, ("cpu", "guest-features"))

    tails()
    pairs = [(_timed(tails, time.process_time), _timed(raw, time.process_time)) for _ in range(_PAIRS)]
    return statistics.median(ours / theirs for ours, theirs in pairs)


def divided() -> float:
    """Return launches a second in two processes to those in one, by the clock on the wall."""

    def tails(processes: int) -> float:
        return _timed(lambda: _searched("snp", 96, processes, ("cpu", "guest-features")), time.perf_counter)

    return statistics.median(tails(2) / tails(1) for _ in range(_PAIRS))


def peak(number: int) -> tuple[int, int]:
    """Return how many launches were tried, of so many values of three settings, and the peak in KiB."""
    launches = _searched("snp", number, 2, ("cpu", "guest-features", "cmdline"))
    return launches, max(resource.getrusage(who).ru_maxrss for who in _WHO)


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def asked(python: str, *question: str) -> list[float]:
    """Return the answer to a question, from a process of its own."""
    command = [python, str(Path(__file__)), *question]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in result.stdout.split()]


def search_ratios(python: str) -> tuple[float, float, float, float]:
    """Return the ratios of the rates for SNP and SEV-ES, of two processes to one, and of memory.

    The last is the peak with more than 10^8 launches tried to that with 10^6.
    """
    (snp,), (es,), (two,) = (asked(python, name) for name in ("snp", "sev-es", "two"))
    (few, small), (many, large) = asked(python, "peak", "20"), asked(python, "peak", "112")
    if not few > 1e6 or not many > 1e8:
        sys.exit(f"too few launches were tried: {few:.0f} and {many:.0f}")
    return snp, es, two, large / small


if __name__ == "__main__":
    question, *rest = sys.argv[1:] or ("all",)
    if question == "peak":
        print(*peak(int(rest[0])))
    elif question == "two":
        print(divided())
    elif question == "all":
        for name, ratio in zip(("snp", "sev-es", "two", "peak"), search_ratios(sys.executable), strict=True):
            print(name, f"{ratio:.3f}")
    else:
        print(rate("snp" if question == "snp" else "sev-es"))

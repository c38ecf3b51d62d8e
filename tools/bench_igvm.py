"""Measure a 512 MiB IGVM file against raw SHA-384 of its measured pages: time and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RAW = """
import os, time
from hashlib import sha384
data = os.urandom(1 << 20)
view = memoryview(data)
start = time.perf_counter()
for _ in range({mib}):
    for at in range(0, 1 << 20, 4096):
        sha384(view[at:at + 4096]).digest()
print(time.perf_counter() - start)
"""


def igvm_ratios(command: Sequence[str], folder: Path, count: int = 7, mib: int = 512) -> tuple[float, float]:
    """Return the median ratio of time, whole command to raw hashing, and that of memory to a 32 MiB file.

    `command` is the program. The file stands in the page cache after the first, uncounted run.
    """
    sys.path.insert(0, str(ROOT))
    from tests.support.igvm import write_large

    files = {size: folder / f"bench{size}.igvm" for size in (32, mib)}
    for size, path in files.items():
        write_large(str(path), size, os.urandom)
    runs: dict[int, Callable[[], tuple[float, int]]] = {
        size: lambda path=path: _run([*command, "measure", "--quiet", "--loader", "qemu", str(path)])  # type: ignore[misc]
        for size, path in files.items()
    }
    for run in runs.values():
        run()
    times = []
    for _ in range(count):
        raw = subprocess.run(
            [sys.executable, "-c", RAW.format(mib=mib)], check=True, capture_output=True, text=True
        )
        times.append(runs[mib]()[0] / float(raw.stdout))
    return statistics.median(times), runs[mib]()[1] / runs[32]()[1]


def _run(command: Sequence[str]) -> tuple[float, int]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed ({process.returncode}): {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_maxrss


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sevbuild-bench-") as name:
        time_ratio, memory_ratio = igvm_ratios([sys.executable, "-m", "sevbuild"], Path(name))
    print(f"512 MiB IGVM file: time / raw SHA-384 page by page   {time_ratio:.3f} (<= 1.1)")
    print(f"512 MiB IGVM file: peak memory / 32 MiB IGVM file    {memory_ratio:.3f} (<= 1.05)")

"""Hash the pages of a large file in processes of their own, ahead of the chain that needs them in order.

The chain is one hash after the other and cannot be split; the pages it is made of can be hashed anywhere.
Threads gain little here: a page is hashed in microseconds, and handing over the interpreter costs as much.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.page_type import PAGE_SIZE, PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import Contents, RegionData
from sevbuild.progress import Meter

__all__ = ["PageWorkers", "usable_cpus"]

Block = tuple[RegionData, int, int]
"""Contents, and the first and the last page (exclusive) of them."""

_BLOCK_PAGES = 256  # as many as the chain asks for at a time
_WORTH_PAGES = 4096  # 16 MiB: below, starting a process costs more than it gains
_DIGEST = 48


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PageWorkers(PageHasher):
    """A page hasher as its base is, that hashes what it was told to expect ahead, in order.

    `close` leaves no process behind. Where processes cannot help, or one fails, pages are
    hashed here; the digests are the same. `show` gives what shows how many bytes of them are hashed.
    """

    __slots__ = ("_done", "_expected", "_meter", "_pipes", "_processes", "_show", "_shown", "_total")

    def __init__(self, show: Callable[[], AbstractContextManager[Meter]] | None = None) -> None:
        super().__init__()
        self._show = show
        self._shown = ExitStack()
        self._meter: Meter | None = None
        self._expected: deque[tuple[Block, int]] = deque()
        self._pipes: list[int] = []
        self._processes: list[int] = []

    def close(self) -> None:
        """End the processes, and hash here from now on."""
        # A worker that is still busy finds its pipe closed, and ends.
        for pipe in self._pipes:
            os.close(pipe)
        for process in self._processes:
            os.waitpid(process, 0)
        self._pipes, self._processes = [], []
        self._expected.clear()
        self._shown.close()

    def start(self, plans: Sequence[LaunchPlan], workers: int | None = None) -> None:
        """Begin to hash the pages of SNP plans in the order in which their replay will ask for them.

        `workers` is the number of processes, by default one a processor.
        """
        blocks = _blocks(plans)
        count = usable_cpus() if workers is None else workers
        pages = sum(last - first for _, first, last in blocks)
        if self._show is not None and pages:
            self._meter = self._shown.enter_context(self._show())
            self._done, self._total = 0, pages * PAGE_SIZE
        # A fork copies one thread alone, and whatever locks the others hold.
        if count < 2 or pages < _WORTH_PAGES or not hasattr(os, "fork") or threading.active_count() > 1:
            return
        for number in range(count):
            reading, writing = os.pipe()
            process = os.fork()
            if not process:  # pragma: no cover - runs in a process of its own
                _run(writing, blocks[number::count], [*self._pipes, reading])
            os.close(writing)
            self._pipes.append(reading)
            self._processes.append(process)
        self._expected.extend((block, index % count) for index, block in enumerate(blocks))

    def _hash(self, data: Contents, first: int, last: int) -> list[bytes]:
        digests = self._hash_pages(data, first, last)
        if self._meter is not None and not isinstance(data, bytes | memoryview):
            self._done += (last - first) * PAGE_SIZE
            self._meter(self._done, self._total)
        return digests

    def _hash_pages(self, data: Contents, first: int, last: int) -> list[bytes]:
        if self._expected:
            (expected, begin, end), worker = self._expected[0]
            if data is expected and (first, last) == (begin, end):
                self._expected.popleft()
                digests = self._receive(worker, (last - first) * _DIGEST)
                if digests is not None:
                    return [digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST)]
                self._expected.clear()
        return super()._hash(data, first, last)

    def _receive(self, worker: int, size: int) -> bytes | None:
        """Return the next bytes of a worker, None where it ended before."""
        parts = []
        while size:
            part = os.read(self._pipes[worker], size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _blocks(plans: Sequence[LaunchPlan]) -> list[Block]:
    """Return what replaying the plans hashes, in that order: contents of each region once."""
    seen: set[RegionData] = set()
    blocks: list[Block] = []
    for plan in plans:
        if plan.mode != "snp":
            continue
        for update in plan.updates:
            data = update.data
            if data is None or isinstance(data, bytes | memoryview) or update.page_type != PageType.NORMAL:
                continue
            if data not in seen:
                seen.add(data)
                pages = len(data) // PAGE_SIZE
                blocks += [
                    (data, start, min(start + _BLOCK_PAGES, pages)) for start in range(0, pages, _BLOCK_PAGES)
                ]
    return blocks


def _work(pipe: int, blocks: Sequence[Block]) -> None:
    """Write the page digests of blocks to a pipe."""
    hasher = PageHasher()
    for data, first, last in blocks:
        rest = memoryview(b"".join(hasher.contents(data, first, last)))
        while rest:
            rest = rest[os.write(pipe, rest) :]


def _run(pipe: int, blocks: Sequence[Block], inherited: list[int]) -> None:
    """Work, and end this process whatever happens: nothing of the parent's may run twice.

    Why a worker ended is not asked: what it did not hash is hashed, or fails, where that is wanted.
    """
    try:
        for descriptor in inherited:
            os.close(descriptor)
        _work(pipe, blocks)
    finally:
        os._exit(0)

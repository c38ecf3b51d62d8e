"""Work divided among processes: pieces go out one by one, and nothing but numbers comes back."""

from __future__ import annotations

import os
import select
import signal
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import NamedTuple

from sevbuild.guest.page_workers import usable_cpus

__all__ = ["Numbers", "Pool", "usable_processes"]

Numbers = tuple[int, ...]
"""What goes to a worker, and what comes back: whole numbers from 0, below 2^64."""

_AHEAD = 2  # a worker has the next piece at hand when it is done with one
_COUNT = struct.Struct("<I")


def usable_processes(wanted: int | None = None) -> int:
    """Return how many processes can work: one a processor, 1 where this process cannot be copied.

    A fork copies one thread alone, and whatever locks the others hold.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return 1
    return max(usable_cpus() if wanted is None else wanted, 1)


class _Worker(NamedTuple):
    """A process, what it is asked through, and what it answers through."""

    process: int
    asking: int
    answers: int
    given: deque[Numbers]


class Pool:
    """Processes that work on pieces which they are given, until `close`, which leaves none behind.

    `work` takes and gives numbers; what else it needs, a worker has from the moment of its start. Whatever a
    worker that ended did not do is done here; `lost` counts these.
    """

    def __init__(self, work: Callable[[Numbers], Numbers], processes: int) -> None:
        self._work = work
        self._workers: list[_Worker] = []
        self.lost = 0
        try:
            for _ in range(processes):
                self._start()
        except OSError:
            # As many as the machine has room for.
            return
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> int:
        """Return how many processes work: this one where there is no other."""
        return max(len(self._workers), 1)

    def close(self) -> None:
        """End the processes, whatever they are at."""
        workers, self._workers = self._workers, []
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker.process, signal.SIGKILL)
            _let_go(worker)

    def _start(self) -> None:
        pipes = [*os.pipe()]
        try:
            pipes += os.pipe()
            process = os.fork()
        except OSError:
            for pipe in pipes:
                os.close(pipe)
            raise
        asked, asking, answers, answering = pipes
        if not process:  # pragma: no cover - runs in a process of its own
            inherited = [asking, answers]
            inherited += [pipe for worker in self._workers for pipe in (worker.asking, worker.answers)]
            _run(self._work, asked, answering, inherited)
        os.close(asked)
        os.close(answering)
        self._workers.append(_Worker(process, asking, answers, deque()))

    def results(self, pieces: Iterable[Numbers]) -> Iterator[tuple[Numbers, Numbers]]:
        """Yield each piece with its result, as they come; the order of pieces is that in which they begin.

        No more is taken of `pieces` than is worked on, so whoever stops has wasted little.
        """
        waiting = iter(pieces)
        while True:
            undone = self._give(waiting)
            busy = {worker.answers: worker for worker in self._workers if worker.given}
            for pipe in _readable(busy):
                result = _receive(pipe)
                if result is None:
                    undone += self._lose(busy[pipe])
                else:
                    yield busy[pipe].given.popleft(), result
            # Nobody is left to work on the rest, or somebody to work on more.
            for piece in undone if self._workers else chain(undone, waiting):
                yield piece, self._work(piece)
            if not busy and not undone:
                return

    def _give(self, waiting: Iterator[Numbers]) -> list[Numbers]:
        """Have every worker at work as far as there are pieces; return those of workers that ended."""
        undone: list[Numbers] = []
        for worker in list(self._workers):
            for piece in islice(waiting, _AHEAD - len(worker.given)):
                worker.given.append(piece)
                if not _send(worker.asking, piece):
                    undone += self._lose(worker)
                    break
        return undone

    def _lose(self, worker: _Worker) -> list[Numbers]:
        """Let go of a worker that ended, and return what it was given and did not do."""
        self.lost += 1
        self._workers.remove(worker)
        _let_go(worker)
        return list(worker.given)


def _let_go(worker: _Worker) -> None:
    """Close the pipes of a worker that ends, and wait for its end."""
    os.close(worker.asking)
    os.close(worker.answers)
    # Whoever ignores the end of children has nobody left to wait for.
    with suppress(ChildProcessError):
        os.waitpid(worker.process, 0)


def _readable(pipes: Collection[int]) -> list[int]:
    """Return those of some pipes that have an answer, or an end; wait for one, where there are any."""
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    return [pipe for pipe, _ in poll.poll()] if pipes else []


def _send(pipe: int, numbers: Sequence[int]) -> bool:
    """Write numbers to a pipe; tell whether somebody was there to read them."""
    rest = memoryview(_COUNT.pack(len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers))
    try:
        while rest:
            rest = rest[os.write(pipe, rest) :]
    except BrokenPipeError:
        return False
    return True


def _receive(pipe: int) -> Numbers | None:
    """Return the next numbers of a pipe, None where its other end was closed before."""
    head = _read(pipe, _COUNT.size)
    if head is None:
        return None
    (count,) = _COUNT.unpack(head)
    body = _read(pipe, 8 * count)
    return None if body is None else struct.unpack(f"<{count}Q", body)


def _read(pipe: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(pipe, size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _serve(work: Callable[[Numbers], Numbers], asked: int, answering: int) -> None:
    """Answer until nobody asks any more."""
    while (piece := _receive(asked)) is not None:
        if not _send(answering, work(piece)):
            return


def _run(work: Callable[[Numbers], Numbers], asked: int, answering: int, inherited: list[int]) -> None:
    """Work, and end this process whatever happens: nothing of the parent's may run twice.

    Why a worker ended is not asked: what it did not do is done, or fails, where that is wanted. An interrupt
    is for the parent, which ends its workers.
    """
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        _serve(work, asked, answering)
    finally:
        os._exit(0)

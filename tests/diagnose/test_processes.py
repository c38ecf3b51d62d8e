"""Pieces of work in processes: all are done, whatever becomes of a process, and none outlives the pool."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

import pytest

from sevbuild.diagnose import processes
from sevbuild.diagnose.processes import Numbers, Pool, usable_processes
from tests.support.shared import ROOT

PIECES = [(number, number + 1) for number in range(50)]


def _add(numbers: Numbers) -> Numbers:
    return (sum(numbers), 1 << 63)


def _in_child(act: Callable[[Numbers], None]) -> Callable[[Numbers], Numbers]:
    """Return work that does something else to begin with, wherever it is not this process."""
    parent = os.getpid()

    def work(numbers: Numbers) -> Numbers:
        if os.getpid() != parent:
            act(numbers)
        return _add(numbers)

    return work


def _ids(pool: Pool) -> list[int]:
    return [worker.process for worker in pool._workers]


def _are_gone(ids: list[int]) -> bool:
    for process in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    return bool(ids)


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_every_piece_has_its_result(number: int) -> None:
    with closing(Pool(_add, number)) as pool:
        assert pool.processes == max(number, 1)
        ids = _ids(pool)
        results = dict(pool.results(PIECES))
    assert results == {piece: _add(piece) for piece in PIECES}
    assert pool.lost == 0
    assert number == 0 or _are_gone(ids)


def test_pieces_are_taken_as_they_are_worked_on() -> None:
    """An endless search is ended by whoever takes its results."""
    taken = []

    def pieces() -> Iterator[Numbers]:
        for number in count():
            taken.append(number)
            yield (number,)

    with closing(Pool(_add, 2)) as pool:
        results = pool.results(pieces())
        for _ in range(3):
            next(results)
        assert len(taken) <= 3 + 2 * 2


@pytest.mark.parametrize("when", [0, 7, 49])
def test_what_a_killed_process_did_not_do_is_done(when: int) -> None:
    def die(numbers: Numbers) -> None:
        if numbers[0] == when:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(Pool(_in_child(die), 2)) as pool:
        results = dict(pool.results(PIECES))
        assert pool.lost == 1
        ids = _ids(pool)
        assert len(ids) == 1
    assert results == {piece: _add(piece) for piece in PIECES}
    assert _are_gone(ids)


def test_all_is_done_where_every_process_is_killed() -> None:
    def die(numbers: Numbers) -> None:
        if numbers[0] > 10:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(Pool(_in_child(die), 3)) as pool:
        assert dict(pool.results(PIECES)) == {piece: _add(piece) for piece in PIECES}
        assert pool.lost == 3


def test_a_process_that_is_gone_before_it_is_asked() -> None:
    with closing(Pool(_add, 2)) as pool:
        first = _ids(pool)[0]
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert dict(pool.results(PIECES)) == {piece: _add(piece) for piece in PIECES}
        assert pool.lost == 1


def test_a_fault_of_the_work_is_a_fault_here() -> None:
    """A worker that fails is asked no more, and its piece fails where somebody sees it."""

    def fail(numbers: Numbers) -> Numbers:
        if numbers[0] == 20:
            raise ZeroDivisionError
        return _add(numbers)

    with closing(Pool(fail, 2)) as pool:
        ids = _ids(pool)
        with pytest.raises(ZeroDivisionError):
            list(pool.results(PIECES))
    assert _are_gone(ids)


def test_a_pool_that_is_closed_at_work_leaves_nothing() -> None:
    def linger(_: Numbers) -> None:
        time.sleep(60)

    begin = time.monotonic()
    pool = Pool(_in_child(linger), 2)
    ids = _ids(pool)
    results = pool.results(PIECES)
    pool._give(iter(PIECES))
    pool.close()
    results.close()  # type: ignore[attr-defined]
    pool.close()
    assert _are_gone(ids)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("after", [0, 1])
def test_a_machine_without_room_for_more_has_fewer(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    fork, calls = os.fork, count()

    def refuse() -> int:
        if next(calls) >= after:
            raise OSError(errno.EAGAIN, "no more")
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    with closing(Pool(_add, 3)) as pool:
        assert len(_ids(pool)) == after
        assert dict(pool.results(PIECES)) == {piece: _add(piece) for piece in PIECES}
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_an_interrupt_while_processes_start_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, calls, ids = os.fork, count(), list[int]()

    def interrupt() -> int:
        if next(calls):
            raise KeyboardInterrupt
        ids.append(fork())
        return ids[0]

    monkeypatch.setattr(os, "fork", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Pool(_add, 2)
    assert _are_gone(ids)


def test_children_may_be_ignored() -> None:
    """A program that ignores SIGCHLD has no children to wait for."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with closing(Pool(_add, 2)) as pool:
            assert len(dict(pool.results(PIECES))) == len(PIECES)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_how_many_processes_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cpus", lambda: 6)
    assert usable_processes() == 6
    assert usable_processes(3) == 3
    assert usable_processes(0) == 1
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert usable_processes(3) == 1
    stop.set()
    thread.join()
    monkeypatch.delattr(os, "fork")
    assert usable_processes(3) == 1


class _EndedError(BaseException):
    """The end of a process, as a test of its own sees it."""


def test_a_worker_answers_until_nobody_asks_and_holds_no_pipe_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(_: int) -> None:
        raise _EndedError

    kept: dict[int, object] = {}
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(signal, "signal", kept.__setitem__)
    (asked, asking), (answers, answering), others = os.pipe(), os.pipe(), os.pipe()
    assert processes._send(asking, (1, 2))
    assert processes._send(asking, (3,))
    os.close(asking)
    with pytest.raises(_EndedError):
        processes._run(_add, asked, answering, [*others])
    assert [processes._receive(answers) for _ in range(2)] == [(3, 1 << 63), (3, 1 << 63)]
    assert kept == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_DFL}
    os.close(answering)
    assert processes._receive(answers) is None
    for pipe in others:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pipe)
    os.close(asked)
    os.close(answers)


def test_a_worker_ends_where_nobody_listens() -> None:
    (asked, asking), (answers, answering) = os.pipe(), os.pipe()
    processes._send(asking, (1,))
    os.close(answers)
    processes._serve(_add, asked, answering)
    for pipe in (asked, asking, answering):
        os.close(pipe)


def test_half_an_answer_is_none() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\x02\0\0\0" + bytes(8))
    os.close(writing)
    assert processes._receive(reading) is None
    os.close(reading)


INTERRUPTED = """
import os, signal, sys, time
from contextlib import closing
from sevbuild.diagnose.processes import Pool
# Whatever runs in the background of a shell inherits that interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
parent = os.getpid()
def work(numbers):
    if os.getpid() != parent:
        time.sleep(60)
    return numbers
with closing(Pool(work, 2)) as pool:
    print(*(worker.process for worker in pool._workers), flush=True)
    list(pool.results([(1,)] * 4))
"""


def test_an_interrupt_ends_the_processes() -> None:
    """Of the terminal's: it reaches the whole group, of which the workers leave it to the parent."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    ids = [int(word) for word in process.stdout.readline().split()]
    assert len(ids) == 2
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == 1
    assert _are_gone(ids)

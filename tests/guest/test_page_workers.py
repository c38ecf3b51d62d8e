"""Pages hashed ahead in processes of their own, and a large file that is never held."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.fs import FileSource
from sevbuild.guest import page_workers
from sevbuild.guest.page_workers import PageWorkers, usable_cpus
from sevbuild.igvm.headers import GuestPolicy, PageData, PageFlags
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import LoadRequest
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.reader import read_igvm
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.launch.page_digest import PageHasher
from sevbuild.launch.plan import LaunchPlan
from sevbuild.measure.tree import LaunchTree
from tests.support.igvm import BSP, SNP, write_file, write_large
from tests.support.shared import ROOT


def _plans(path: Path, *names: str) -> list[LaunchPlan]:
    source = FileSource(str(path))
    file, maker = read_igvm(source), UpdateMaker(source)
    return [load(file, LOADERS[name], maker).plan for name in names]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.igvm"
    write_large(str(path), 20, os.urandom)
    return path


def test_workers_give_the_digests_of_one_process(large: Path) -> None:
    plans = _plans(large, "igvm-reference", "qemu")
    expected = [LaunchTree().digest(plan) for plan in plans]
    hasher = PageWorkers()
    hasher.start(plans, 3)
    assert len(hasher._processes) == 3
    tree = LaunchTree(hasher)
    tree.announce(plans)
    assert [tree.digest(plan) for plan in plans] == expected
    assert not hasher._expected
    hasher.close()
    assert not hasher._processes


def test_a_worker_that_fails_is_made_up_for(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plan,) = _plans(large, "qemu")
    expected = LaunchTree().digest(plan)

    def fail(*_: object) -> None:
        os._exit(1)

    monkeypatch.setattr(page_workers, "_run", fail)
    hasher = PageWorkers()
    hasher.start([plan], 2)
    assert LaunchTree(hasher).digest(plan) == expected
    hasher.close()


def test_workers_that_nobody_asks_end(large: Path) -> None:
    (plan,) = _plans(large, "qemu")
    hasher = PageWorkers()
    hasher.start([plan], 2)
    hasher.close()
    assert LaunchTree(hasher).digest(plan) == LaunchTree().digest(plan)


def test_no_process_outlives_the_work(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def linger(*_: object) -> None:
        time.sleep(0.1)
        os._exit(0)

    monkeypatch.setattr(page_workers, "_run", linger)
    hasher = PageWorkers()
    hasher.start(_plans(large, "qemu"), 2)
    processes = list(hasher._processes)
    assert len(processes) == 2
    hasher.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_plans_may_be_replayed_in_another_order_than_they_were_announced_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_workers, "_WORTH_PAGES", 512)
    plans = []
    for name in ("one", "other"):
        path = tmp_path / name
        write_large(str(path), 2, os.urandom)
        plans += _plans(path, "qemu")
    expected = [LaunchTree().digest(plan) for plan in plans]
    assert expected[0] != expected[1]
    hasher = PageWorkers()
    hasher.start(plans, 2)
    assert len(hasher._processes) == 2
    tree = LaunchTree(hasher)
    assert [tree.digest(plan) for plan in reversed(plans)] == expected[::-1]
    hasher.close()


def test_a_process_is_started_for_as_many_pages_as_are_worth_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.igvm"
    write_large(str(path), 2)
    for worth, started in ((512, 2), (513, 0)):
        monkeypatch.setattr(page_workers, "_WORTH_PAGES", worth)
        hasher = PageWorkers()
        hasher.start(_plans(path, "qemu"), 2)
        assert len(hasher._processes) == started
        hasher.close()


def test_the_processors_counted_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or a job of CI may have fewer than the machine; not every system tells."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 6} if process == 0 else {1})
    assert usable_cpus() == 3
    monkeypatch.setattr(sys, "platform", "darwin")
    assert usable_cpus() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_each_byte_of_the_file_that_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Not the kernel hashes, which lie in no file, nor what the other modes hash by themselves."""
    monkeypatch.setattr(page_workers, "_WORTH_PAGES", 2)
    unmeasured = PageData(0x1000, 1, None, PageFlags.UNMEASURED)
    pages = [PageData(0x100000 + 4096 * number, 1, number.to_bytes(4096, "little")) for number in range(300)]
    path = write_file(
        tmp_path, SNP, GuestPolicy(0x30000, 1), unmeasured, PageData(0x10000, 1, b"1"), *pages, BSP
    )
    source = FileSource(str(path))
    request = LoadRequest(kernel_hashes=KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32))
    plan = load(read_igvm(source), LOADERS["cloud-hypervisor-kvm"], UpdateMaker(source), request).plan
    assert [update.origin for update in plan.updates[:2]] == ["page data", "kernel hashes"]
    shown: list[tuple[int, int | None]] = []
    ended: list[bool] = []

    @contextmanager
    def show() -> Iterator[Callable[[int, int | None], None]]:
        yield lambda have, total: shown.append((have, total))
        ended.append(True)

    hasher = PageWorkers(show)
    hasher.start([plan._replace(mode="sev"), plan], workers)
    assert LaunchTree(hasher).digest(plan) == LaunchTree().digest(plan)
    assert shown == [(256 << 12, 300 << 12), (300 << 12, 300 << 12)]
    hasher.close()
    assert ended


def test_when_no_process_is_started(large: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.igvm"
    write_large(str(small), 1)
    hasher = PageWorkers()
    hasher.start(_plans(small, "qemu"), 2)
    hasher.start(_plans(large, "qemu"), 1)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    hasher.start(_plans(large, "qemu"), 2)
    stop.set()
    thread.join()
    assert not hasher._processes
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def test_what_a_worker_writes(large: Path) -> None:
    (plan,) = _plans(large, "qemu")
    blocks = page_workers._blocks([plan, plan._replace(mode="sev"), plan])
    assert [(first, last) for _, first, last in blocks] == [(n * 256, n * 256 + 256) for n in range(20)]
    reading, writing = os.pipe()
    page_workers._work(writing, blocks[:2])
    os.close(writing)
    digests = os.read(reading, 1 << 20)
    os.close(reading)
    data, _, _ = blocks[0]
    assert digests == b"".join(PageHasher().contents(data, 0, 512))


class _EndedError(BaseException):
    """The end of a process, as a test of its own sees it."""


def test_a_worker_ends_whatever_happens_and_holds_no_pipe_of_others(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds another's pipe open lets it write for ever where nobody reads."""

    def end(_: int) -> None:
        raise _EndedError

    monkeypatch.setattr(os, "_exit", end)
    (plan,) = _plans(large, "qemu")
    blocks = page_workers._blocks([plan])
    for size, written in ((None, 256 * 48), (0, 0)):
        if size is not None:
            os.truncate(large, size)
        reading, writing = os.pipe()
        others = os.pipe()
        with pytest.raises(_EndedError):
            page_workers._run(writing, blocks[:1], [*others])
        os.close(writing)
        assert len(os.read(reading, 1 << 20)) == written
        os.close(reading)
        for descriptor in others:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)


_MEASURE = """
import resource, sys
from sevbuild.cli import main
try:
    main(["measure", "--quiet", *sys.argv[1:]])
except SystemExit as end:
    assert not end.code
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children))
"""


def _peak(path: Path, *flags: str) -> int:
    """Return the peak resident KiB of measuring a file, workers included, as a light process sees it."""
    command = [sys.executable, "-c", _MEASURE, str(path), *flags]
    # A child's peak counts that of the process it was forked from: this one may be large.
    shell = ["sh", "-c", '"$@"', "sh", *command]
    result = subprocess.run(shell, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(result.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["qemu", "all"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, loader: str) -> None:
    peaks = {}
    for mib in (24, 96):
        path = tmp_path / f"{mib}.igvm"
        block = os.urandom(1 << 20)
        write_large(str(path), mib, lambda size, block=block: block[:size])  # type: ignore[misc]
        peaks[mib] = min(_peak(path, "--loader", loader) for _ in range(2))
    assert peaks[96] < peaks[24] + 4096, peaks


def test_a_file_that_shrinks_while_it_is_read(large: Path) -> None:
    (plan,) = _plans(large, "qemu")
    os.truncate(large, 8 << 20)
    hasher = PageWorkers()
    hasher.start([plan], 2)
    with pytest.raises(SevbuildError, match=r"large\.igvm: the file ends \d+ bytes too early"):
        LaunchTree(hasher).digest(plan)
    hasher.close()
    with pytest.raises(SevbuildError, match=r"cannot read .*missing"):
        FileSource(str(large) + "missing")


@pytest.mark.slow
def test_a_file_of_many_pieces_is_measured_in_time(tmp_path: Path) -> None:
    """Pages that do not follow each other are one launch update each; no context is kept for every one."""
    pages = [PageData(0x2000 * (number * 7919 % 20011), 1, b"\1") for number in range(20000)]
    path = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), *pages)
    (plan,) = _plans(path, "igvm-reference")
    assert len(plan.updates) == 20000
    tree = LaunchTree()
    digest = tree.digest(plan)
    assert [after for _, after in tree.trace(plan)][-1] == digest

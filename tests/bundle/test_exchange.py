"""Whatever stops a build, the folder is the old bundle or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sevbuild.bundle.verify import verify_bundle
from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.exchange import interrupted, staging
from tests.bundle.support import build, contents, manifest_of
from tests.support.cli import run
from tests.support.device import real_fsync
from tests.support.shared import ROOT

pytestmark = pytest.mark.slow

KILLS = 50


class FailingDisk(Disk):
    """Fail at step number `at`, counted from 0, or at it and every later one; `kinds` remembers the steps.

    What brings files to the device is a step that does nothing: no test pulls the plug.
    """

    def __init__(self, at: int = -1, *, onward: bool = False, exchange: bool = True) -> None:
        self.kinds: list[str] = []
        self._at = at
        self._onward = onward
        self._exchange = exchange
        self._lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name == "kinds":
            return found
        return self._stepped(name, found)

    def _stepped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            with self._lock:
                number = len(self.kinds)
                self.kinds.append(name)
            if number == self._at or (self._onward and 0 <= self._at <= number):
                raise OSError(5, "injected")
            if name == "exchange" and not self._exchange:
                return False
            return None if name in ("sync_one", "flush") else method(*arguments)

        return step


def _any(_folder: str, _shown: str) -> None:
    """Let every folder be replaced."""


def _leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("onward", [False, True], ids=["once", "onward"])
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_failure_at_any_step_leaves_old_or_new(tmp_path: Path, *, exchange: bool, onward: bool) -> None:
    dist = tmp_path / "dist"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    manifest = manifest_of(tmp_path / "a")
    build(manifest, dist)
    old = contents(dist)
    changed = manifest_of(tmp_path / "b", guest={"version": "2"})
    build(changed, tmp_path / "new")
    new = contents(tmp_path / "new")
    counting = FailingDisk(exchange=exchange)
    build(changed, dist, disk=counting)
    assert contents(dist) == new
    assert {"exchange", "sync", "append", "remove"} <= set(counting.kinds)
    assert ("rename" in counting.kinds) == (not exchange)
    outcomes = set()
    build(manifest, dist, disk=FailingDisk())
    for at in range(len(counting.kinds)):
        assert contents(dist) == old
        # Removing what was exchanged may fail without a word: the new bundle is in place.
        with contextlib.suppress(SevbuildError):
            build(changed, dist, disk=FailingDisk(at, onward=onward, exchange=exchange))
        if not dist.exists():
            # Only where two renames failed one after the other: nothing that anybody may have put there
            # comes back unasked, but it is there, whole, and named.
            left = interrupted(str(dist))
            assert left is not None
            assert onward
            assert f"verify {left}, then move it back" in run("verify", dist).err
            assert run("verify", left).status == 0
            os.rename(left, dist)
        outcomes.add("old" if contents(dist) == old else "new")
        assert contents(dist) in (old, new), counting.kinds[at]
        build(manifest, dist, disk=FailingDisk())
        assert _leftovers(tmp_path) == []
    assert outcomes == {"old", "new"}


@pytest.mark.parametrize("onward", [False, True])
def test_a_failure_of_a_first_build_leaves_nothing_or_all(tmp_path: Path, *, onward: bool) -> None:
    manifest = manifest_of(tmp_path)
    counting = FailingDisk()
    build(manifest, tmp_path / "dist", disk=counting)
    whole = contents(tmp_path / "dist")
    for at in range(len(counting.kinds)):
        place = tmp_path / f"dist{at}"
        with pytest.raises(SevbuildError, match="injected"):
            build(manifest, place, disk=FailingDisk(at, onward=onward))
        assert not place.exists() or contents(place) == whole
        build(manifest, place, disk=FailingDisk())
    assert _leftovers(tmp_path) == []


def test_everything_is_on_the_device_before_it_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one run that waits for it: elsewhere `fsync` returns at once (tests/conftest.py)."""
    synced: set[str] = set()
    placed: list[str] = []

    def sync(descriptor: int) -> None:
        real_fsync(descriptor)
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))

    class Placing(Disk):
        def exchange(self, first: str, second: str) -> bool:
            self._look(first)
            return super().exchange(first, second)

        def rename(self, source: str, path: str) -> None:
            self._look(source)
            super().rename(source, path)

        def _look(self, stage: str) -> None:
            placed.append(stage)
            assert {stage, *map(str, Path(stage).rglob("*"))} <= synced

    monkeypatch.setattr(os, "fsync", sync)
    manifest = manifest_of(tmp_path)
    for _ in range(2):
        synced.clear()
        build(manifest, tmp_path / "dist", disk=Placing())
        assert str(tmp_path) in synced
    assert len(placed) == 2
    verify_bundle(str(tmp_path / "dist"))


LOOP = """
import os, sys
from sevbuild.output.disk import Disk
from sevbuild.bundle.write import build_bundle
from sevbuild.guest.guest import load_guest

class Renames(Disk):
    def exchange(self, first, second):
        return False

# A kill loses nothing that was written, synced or not: more of the steps are met while none waits.
os.fsync = lambda _descriptor: None
disk = Renames() if sys.argv[4] == "renames" else Disk()
print("ready", flush=True)
while True:
    for manifest in sys.argv[1:3]:
        build_bundle(load_guest(manifest), sys.argv[3], disk=disk)
"""


@pytest.mark.parametrize("how", ["exchange", "renames"])
def test_kill_at_random_moments(tmp_path: Path, how: str) -> None:
    """Fifty kills meet the exchange, half as many the two renames, which the next build completes."""
    kills = KILLS if how == "exchange" else KILLS // 2
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    manifests = [manifest_of(tmp_path / "a"), manifest_of(tmp_path / "b", guest={"version": "2"})]
    whole = []
    for manifest in manifests:
        build(manifest, tmp_path / "whole")
        whole.append(contents(tmp_path / "whole"))
    dist = tmp_path / "out" / "dist"
    build(manifests[0], dist)
    moments = iter([random.Random(f"{how}{kill}").uniform(0, 0.12) for kill in range(kills)])
    command = [sys.executable, "-c", LOOP, *map(str, manifests), str(dist), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(next(moments))
            process.kill()
        if how == "renames" and not dist.exists():
            left = interrupted(str(dist))
            assert left is not None
            os.rename(left, dist)
        assert contents(dist) in whole
        verify_bundle(str(dist))
    build(manifests[0], dist)
    assert contents(dist) == whole[0]
    assert _leftovers(dist.parent) == []


class _Late(Disk):
    """Have somebody do something to the place just before a step."""

    def __init__(self, what: Callable[[], object], *, exchange: bool) -> None:
        self._what = what
        self._exchange = exchange

    def exchange(self, first: str, second: str) -> bool:
        self._do()
        return self._exchange and super().exchange(first, second)

    def rename(self, source: str, path: str) -> None:
        self._do()
        super().rename(source, path)

    def _do(self) -> None:
        what, self._what = self._what, lambda: None
        what()


@pytest.mark.parametrize("exchange", [True, False])
def test_what_came_into_a_folder_since_it_was_checked_is_not_removed(
    tmp_path: Path, *, exchange: bool
) -> None:
    manifest = manifest_of(tmp_path)
    dist = tmp_path / "dist"
    build(manifest, dist)

    def put() -> None:
        (dist / "mine").write_text("mine")

    with pytest.raises(SevbuildError, match=rf"{dist} contains mine, which is not part of the bundle"):
        build(manifest, dist, disk=_Late(put, exchange=exchange))
    assert (dist / "mine").read_text() == "mine"
    assert _leftovers(tmp_path) == []
    (dist / "mine").unlink()
    verify_bundle(str(dist))


class _Once(Disk):
    """Exchange, or rename, so many times and then no more."""

    def __init__(self, times: int, *, exchange: bool) -> None:
        self._left = times
        self._exchange = exchange

    def exchange(self, first: str, second: str) -> bool:
        if not self._exchange:
            return False
        self._use()
        return super().exchange(first, second)

    def rename(self, source: str, path: str) -> None:
        if not self._exchange:
            self._use()
        super().rename(source, path)

    def _use(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "injected")


def _publish_new(disk: Disk, place: Path, check: Callable[[str, str], object]) -> None:
    with staging(disk, str(place), check) as stage:
        (Path(stage.folder) / "new").touch()
        stage.publish()


def test_a_place_that_somebody_removes_is_free(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()

    def remove() -> None:
        (place / "old").unlink()
        place.rmdir()

    _publish_new(_Late(remove, exchange=True), place, _any)
    assert [path.name for path in place.iterdir()] == ["new"]
    assert _leftovers(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("undone", [True, False])
def test_an_exchange_is_undone_whatever_the_second_look_meets(
    tmp_path: Path, *, exchange: bool, undone: bool
) -> None:
    """Where even that fails, what was in the place is kept and named: it may be somebody's."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    looks: list[str] = []

    def check(folder: str, _shown: str) -> None:
        looks.append(folder)
        if folder != str(place):
            raise OSError(13, "looked at and not seen")

    disk = _Once((2 if exchange else 4) if undone else (1 if exchange else 2), exchange=exchange)
    with pytest.raises(SevbuildError) as caught:
        _publish_new(disk, place, check)
    assert looks[:2] == [str(place)] * 2
    if undone:
        assert caught.value.message == f"cannot write {place}: looked at and not seen"
        assert [path.name for path in place.iterdir()] == ["old"]
        assert _leftovers(tmp_path) == []
        return
    assert caught.value.message == f"cannot undo the exchange of {place}: injected"
    (kept,) = [path for path in tmp_path.iterdir() if (path / "old").exists()]
    assert caught.value.hint == f"what was there is now {kept}"
    with staging(Disk(), str(place), lambda _folder, _shown: None):
        assert (kept / "old").exists()


def test_a_free_place_that_another_run_takes_is_exchanged(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    build(manifest, tmp_path / "other")

    def take() -> None:
        (tmp_path / "other").rename(tmp_path / "dist")

    build(manifest, tmp_path / "dist", disk=_Late(take, exchange=True))
    verify_bundle(str(tmp_path / "dist"))
    assert _leftovers(tmp_path) == []


def test_what_a_kill_left_aside_is_removed_once_something_is_in_its_place(tmp_path: Path) -> None:
    """Unless it is not ours, whatever it is called."""
    manifest = manifest_of(tmp_path)
    dist = tmp_path / "dist"
    build(manifest, dist)
    dist.rename(tmp_path / f".dist.sevbuild-old-{'a' * 16}")
    (tmp_path / f".dist.sevbuild-old-{'b' * 16}").mkdir()
    (tmp_path / f".dist.sevbuild-old-{'b' * 16}" / "mine").touch()
    assert interrupted(str(dist)) == str(tmp_path / f".dist.sevbuild-old-{'a' * 16}")
    build(manifest, dist)
    assert interrupted(str(dist)) is None
    assert _leftovers(tmp_path) == [f".dist.sevbuild-old-{'b' * 16}"]


def test_a_run_leaves_the_folder_of_another_alone(tmp_path: Path) -> None:
    place = str(tmp_path / "dist")
    with staging(Disk(), place, _any) as first, staging(Disk(), place, _any) as second:
        assert os.path.isdir(first.folder)
        assert first.folder != second.folder
    assert list(tmp_path.iterdir()) == []


def test_an_output_behind_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    build(manifest, tmp_path / "link")
    build(manifest, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "bundle.json").is_file()


def test_an_exchange_that_fails_for_another_reason_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="No such file"):
        Disk().exchange(str(tmp_path / "a"), str(tmp_path / "absent"))


def test_other_systems_have_no_exchange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    build(manifest, tmp_path / "dist")
    before = contents(tmp_path / "dist")
    (tmp_path / "b").mkdir()
    monkeypatch.setattr(sys, "platform", "other")
    assert not Disk().exchange("a", "b")
    # More files than are synced one by one elsewhere.
    fleet = manifest_of(tmp_path / "b", vcpu={"count": "1-20"})
    build(fleet, tmp_path / "fleet")
    assert len(contents(tmp_path / "fleet")) > 80
    build(manifest, tmp_path / "dist")
    assert contents(tmp_path / "dist") == before

"""A folder is held alone, for a time that ends; what others left is known from what is theirs."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.locks import Patience, hold, holder_of, lock, unlock
from sevbuild.output.temporary import clear_new, new_file, new_folder


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    place = str(tmp_path)
    with hold(place, Patience()):
        assert holder_of(place).startswith(f"process {os.getpid()} (")
        with (
            pytest.raises(
                SevbuildError, match=f"process {os.getpid()} .* has made no progress for 0.2 s"
            ) as caught,
            hold(place, Patience(0.2, said.append)),
        ):
            pass
    assert "SEVBUILD_LOCK_TIMEOUT" in (caught.value.hint or "")
    assert len(said) == 1
    assert holder_of(place) == "another process"
    with hold(place, Patience(0)):
        pass


def test_the_environment_says_how_long_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold(str(tmp_path), Patience()):
        for seconds, message in (
            ("0.1", "for 0.1 s"),
            ("soon", "SEVBUILD_LOCK_TIMEOUT must be a positive number"),
        ):
            monkeypatch.setenv("SEVBUILD_LOCK_TIMEOUT", seconds)
            with pytest.raises(SevbuildError, match=message), hold(str(tmp_path), Patience()):
                pass


def test_who_waits_goes_by_the_folder_that_is_there_then(tmp_path: Path) -> None:
    """Another folder was put in the place meanwhile: the lock of the old one is worth nothing."""
    place = tmp_path / "place"
    place.mkdir()
    entered = threading.Event()

    def wait() -> None:
        with hold(str(place), Patience(20)):
            entered.set()

    waiting = threading.Thread(target=wait)
    with hold(str(place), Patience()):
        waiting.start()
        time.sleep(0.1)
        assert not entered.is_set()
        place.rename(tmp_path / "old")
        place.mkdir()
        # The new one is free, though the old one is still held.
        assert entered.wait(20)
    waiting.join()


def test_what_is_absent_or_no_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("absent", "file", "file/below"):
        with hold(str(tmp_path / name), Patience(0)), hold(str(tmp_path / name), Patience(0)):
            pass


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        del descriptor, operation
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert lock(descriptor, str(tmp_path)) == "unknown"
    unlock(descriptor)
    with hold(str(tmp_path), Patience(0)):
        pass
    made = new_file(Disk(), str(tmp_path / "out"))
    # What may be in use stays.
    clear_new(Disk(), str(tmp_path / "out"))
    assert os.path.exists(made.path)
    unlock(made.descriptor)


def test_a_lock_is_of_the_file_at_its_path(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    descriptor, other = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    assert lock(descriptor, str(path)) == "ours"
    assert lock(other, str(path)) == "held"
    unlock(descriptor)
    path.unlink()
    assert lock(other, str(path)) == "gone"
    path.touch()
    assert lock(other, str(path)) == "gone"
    os.close(other)


def test_nobody_is_named_where_the_system_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert holder_of(str(tmp_path / "absent")) == "another process"
    real = open

    def refuse(path: object, *arguments: object, **more: object) -> object:
        if str(path).startswith("/proc/"):
            raise PermissionError(path)
        return real(path, *arguments, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", refuse)
    with hold(str(tmp_path), Patience()):
        assert holder_of(str(tmp_path)) == "another process"


def test_names_are_random_and_made_once(tmp_path: Path) -> None:
    place = str(tmp_path / "out")
    made = [new_file(Disk(), place) for _ in range(20)] + [new_folder(Disk(), place) for _ in range(20)]
    assert len({one.path for one in made}) == 40
    # All are in use.
    clear_new(Disk(), place)
    assert len(list(tmp_path.iterdir())) == 40
    for one in made:
        unlock(one.descriptor)
    clear_new(Disk(), place)
    assert list(tmp_path.iterdir()) == []


def test_only_what_we_would_have_made_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "out")
    digits = "0123456789abcdef"
    kept = [
        f".out.sevbuild-new-{digits[:-1]}",
        f".out.sevbuild-new-{digits}0",
        f".other.sevbuild-new-{digits}",
    ]
    kept += [f".out.sevbuild-new-{digits.upper()}", f".out.sevbuild-old-{digits}", ".out.sevbuild-new-"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "mine").touch()
    (tmp_path / f".out.sevbuild-new-{'1' * 16}").symlink_to("victim")
    os.mkfifo(tmp_path / f".out.sevbuild-new-{'2' * 16}")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    left = tmp_path / f".out.sevbuild-new-{'3' * 16}"
    left.mkdir()
    (left / "link").symlink_to("../victim")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    clear_new(Disk(), place)
    # Another user's.
    assert left.exists()
    monkeypatch.undo()
    clear_new(Disk(), place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


class _Swept(Disk):
    """Have another run clear up just when something was made, some times."""

    def __init__(self, place: str, times: int) -> None:
        self._left = times
        self._place = place

    def make_private_folder(self, path: str) -> None:
        super().make_private_folder(path)
        self._sweep()

    def create_plain(self, path: str) -> int:
        descriptor = super().create_plain(path)
        self._sweep()
        return descriptor

    def _sweep(self) -> None:
        if self._left:
            self._left -= 1
            clear_new(Disk(), self._place)


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_what_another_run_cleared_is_made_again(tmp_path: Path, make: object) -> None:
    assert callable(make)
    place = str(tmp_path / "out")
    made = make(_Swept(place, 3), place)
    assert os.path.exists(made.path)
    unlock(made.descriptor)
    clear_new(Disk(), place)
    with pytest.raises(FileExistsError, match="no free name"):
        make(_Swept(place, 1000), place)
    assert list(tmp_path.iterdir()) == []

"""A folder of small files is complete or absent, and takes the place of nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.output.folder import write_folder
from tests.bundle.test_exchange import FailingDisk

FILES = {"open": b"one", "secret": b"two"}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_complete_or_absent_at_every_step(tmp_path: Path) -> None:
    place = tmp_path / "new" / "out"
    counting = FailingDisk()
    write_folder(str(place), FILES, private=["secret"], disk=counting)
    assert {name: (place / name).read_bytes() for name in _names(place)} == FILES
    assert "create_private" in counting.kinds
    kept = 0
    for at, kind in enumerate(counting.kinds):
        other = tmp_path / f"at-{at}" / "out"
        with pytest.raises(SevbuildError, match="injected"):
            write_folder(str(other), FILES, private=["secret"], disk=FailingDisk(at))
        if other.exists():
            # The folder was in its place: what failed is what comes after that.
            assert _names(other) == sorted(FILES), kind
            kept += 1
        elif other.parent.exists():
            assert _names(other.parent) == [], kind
    assert kept <= 1


def test_only_this_user_reads_what_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_folder(str(tmp_path / "out"), FILES, private=["secret"])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {"open": 0o644, "secret": 0o600}


def test_nothing_is_replaced(tmp_path: Path) -> None:
    empty, taken, file = tmp_path / "empty", tmp_path / "taken", tmp_path / "file"
    empty.mkdir()
    taken.mkdir()
    (taken / "mine").write_text("mine")
    file.write_text("mine")
    write_folder(str(empty), FILES)
    assert _names(empty) == sorted(FILES)
    for place in (empty, taken, file):
        with pytest.raises(SevbuildError, match="already exists"):
            write_folder(str(place), FILES)
    assert _names(taken) == ["mine"]
    assert file.read_text() == "mine"
    assert _names(tmp_path) == ["empty", "file", "taken"]

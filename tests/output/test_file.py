"""Single files are complete or absent, and only what was named is written to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.output.disk import Disk
from sevbuild.output.file import make_folder, write_file, write_files
from tests.bundle.test_exchange import FailingDisk
from tests.support.shared import ROOT


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_is_complete_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "out"
    counting = FailingDisk()
    write_file(str(path), b"one", disk=counting)
    assert counting.kinds == ["create_plain", "append", "flush", "rename"]
    for onward in (False, True):
        for at, kind in enumerate(counting.kinds):
            write_file(str(path), b"old", disk=FailingDisk())
            with pytest.raises(SevbuildError, match=r"cannot write .*/out: injected"):
                write_file(str(path), b"new", disk=FailingDisk(at, onward=onward))
            assert path.read_bytes() == b"old", kind
            # What could not be removed at the time, the next run removes.
            write_file(str(path), b"old", disk=FailingDisk())
            assert _names(tmp_path) == ["out"]


def test_no_file_comes_into_its_place_before_all_are_written(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a", "b", "c")]
    write_files(dict.fromkeys(paths, b"old"))
    counting = FailingDisk()
    write_files(dict.fromkeys(paths, b"old"), disk=counting)
    assert counting.kinds[-3:] == ["rename"] * 3
    for at in range(len(counting.kinds) - 3):
        with pytest.raises(SevbuildError, match="injected"):
            write_files(dict.fromkeys(paths, b"new"), disk=FailingDisk(at))
        assert [Path(path).read_bytes() for path in paths] == [b"old"] * 3
    assert _names(tmp_path) == ["a", "b", "c"]


def test_the_mode_is_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(str(tmp_path / "out"), b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_link_is_followed_unless_that_is_unwanted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/real")
    write_file(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"
    write_file(str(tmp_path / "link"), b"other", follow=False)
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to("folder/absent")
    write_file(str(tmp_path / "dangling"), b"made")
    assert (tmp_path / "folder" / "absent").read_bytes() == b"made"
    assert _names(tmp_path / "folder") == ["absent", "real"]


class _NoLinks(Disk):
    def link(self, source: str, path: str) -> None:
        del source
        raise PermissionError(1, "no links here", path)


@pytest.mark.parametrize("disk", [Disk(), _NoLinks()], ids=["links", "no links"])
def test_nothing_is_replaced_where_that_was_not_asked_for(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "out"
    write_file(str(path), b"one", replace=False, disk=disk)
    assert path.read_bytes() == b"one"
    with pytest.raises(SevbuildError, match="out already exists"):
        write_file(str(path), b"two", replace=False, disk=disk)
    assert path.read_bytes() == b"one"
    assert _names(tmp_path) == ["out"]
    (tmp_path / "dangling").symlink_to("absent")
    write_file(str(tmp_path / "dangling"), b"", replace=False, follow=True, disk=disk)
    with pytest.raises(SevbuildError, match="dangling already exists"):
        write_file(str(tmp_path / "dangling"), b"", replace=False, follow=False, disk=disk)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (
        ("absent/out", "No such file"),
        ("folder", "Is a directory"),
        ("folder/" + 300 * "x", "File name too long"),
        ("loop", ""),
    ):
        path = str(tmp_path / name)
        if name == "loop":
            write_file(path, b"", follow=False)
            continue
        with pytest.raises(SevbuildError) as caught:
            write_file(path, b"")
        assert caught.value.message.startswith(f"cannot write {path}: {why}")
    with pytest.raises(SevbuildError, match=r"cannot make .*loop/folder: Not a directory"):
        make_folder(str(tmp_path / "loop" / "folder"))
    assert _names(tmp_path / "folder") == []


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in (255 * "x", 127 * "ü"):
        write_file(str(tmp_path / name), b"one")
        write_file(str(tmp_path / name), b"two")
        assert (tmp_path / name).read_bytes() == b"two"
    assert len(_names(tmp_path)) == 2


def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_file(str(tmp_path / "pipe"), b"through it" * 50_000)
    reader.join(10)
    assert found == [b"through it" * 50_000]
    write_file("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(SevbuildError, match="cannot write /dev/full: No space left on device"):
        write_file("/dev/full", b"x")
    assert _names(tmp_path) == ["pipe"]


def test_our_own_output_is_written_through(tmp_path: Path) -> None:
    """What else the shell puts there, before and after, stays."""
    script = "import sys; from sevbuild.output.file import write_file; write_file(sys.argv[1], b'ours\\n')"
    for name in ("/dev/stdout", str(tmp_path / "out")):
        command = f'{{ echo before; "$0" -c "$1" "$2"; echo after; }} > {tmp_path}/out'
        subprocess.run(
            ["sh", "-c", command, sys.executable, script, name], check=True, env={"PYTHONPATH": str(ROOT)}
        )
        assert (tmp_path / "out").read_text() == "before\nours\nafter\n"
    assert _names(tmp_path) == ["out"]

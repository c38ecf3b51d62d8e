"""Files of others stay: no output takes their place unasked, and none is taken for an output of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


def _guest(folder: Path, **tables: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    return write_manifest(folder, firmware={"path": "OVMF.fd"}, **tables)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _sums(folder: Path, *names: str) -> None:
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    (folder / "SHA256SUMS").write_text("".join(lines))


def _listed_only(folder: Path) -> str:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  notes.txt\n")
    return "notes.txt"


def _listed_folder(folder: Path) -> str:
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "1.jpg").write_text("mine")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  photos\n")
    return "photos"


def _own_sums(folder: Path) -> str:
    """Make a folder that somebody sums up as we do; it has no reference values."""
    folder.mkdir()
    (folder / "release-notes.md").write_text("mine")
    _sums(folder, "release-notes.md")
    return "release-notes.md"


def _added_and_summed(folder: Path) -> str:
    """Make a release to which a file was added, and the sums of which were made anew."""
    assert run("publish", "-q", _guest(folder.parent), "-o", folder).status == 0
    (folder / "OVMF.fd").write_bytes(b"the only copy")
    _sums(folder, *(path.name for path in folder.iterdir() if path.name != "SHA256SUMS"))
    return "OVMF.fd"


def _edited(folder: Path) -> str:
    assert run("publish", "-q", _guest(folder.parent), "-o", folder).status == 0
    (folder / "release-notes.md").write_text("written by hand for hours")
    return "release-notes.md"


def _unreadable_values(folder: Path) -> str:
    folder.mkdir()
    (folder / "reference-values.json").write_text('{"results": "of something else"}')
    _sums(folder, "reference-values.json")
    return "reference"


def _linked(folder: Path) -> str:
    """Make a release one file of which is a link to somebody's."""
    assert run("publish", "-q", _guest(folder.parent), "-o", folder).status == 0
    (folder / "launch-digests.hex").rename(folder.parent / "digests")
    (folder / "launch-digests.hex").symlink_to("../digests")
    return "launch-digests.hex"


@pytest.mark.parametrize(
    "make",
    [_listed_only, _listed_folder, _own_sums, _added_and_summed, _edited, _unreadable_values, _linked],
    ids=lambda make: make.__name__[1:],
)
def test_publish_replaces_only_what_is_a_release_through_and_through(
    tmp_path: Path, make: Callable[[Path], str]
) -> None:
    folder = tmp_path / "release"
    named = make(folder)
    before = _contents(folder)
    result = run("publish", "-q", _guest(tmp_path), "-o", folder)
    assert _contents(folder) == before
    assert result.status == 2
    message = result.err.removeprefix("error: ").removeprefix("cannot replace the release that is there: ")
    assert message.startswith((f"{folder}: ", f"{folder}/"))
    assert named in message


TARGETS = ["manifest", "input", "link", "hard link", "profile", "another manifest", "a manifest being edited"]


@pytest.mark.parametrize("target", [*TARGETS, "lock", "value"])
@pytest.mark.parametrize("verb", ["lock", "export"])
def test_no_file_of_the_guest_is_written_over(tmp_path: Path, verb: str, target: str) -> None:
    if (verb, target) == ("lock", "lock"):
        target = "input"
    (tmp_path / "own.toml").write_text(
        'schema = 1\nname = "own"\nsummary = "s"\nas-of = "today"\nextends = "qemu"\n'
    )
    (tmp_path / "cmdline").write_text("quiet")
    (tmp_path / "kernel").write_bytes(b"kernel")
    manifest = _guest(
        tmp_path, launch={"profile": "own.toml"}, kernel={"path": "kernel", "cmdline": "x", "hashes": False}
    )
    assert run("lock", manifest).status == 0
    (tmp_path / "link").symlink_to("kernel")
    os.link(tmp_path / "kernel", tmp_path / "hard")
    _guest(tmp_path / "other")
    (tmp_path / "edited.toml").write_text("[guest\nname = ")
    path = {
        "manifest": "guest.toml",
        "input": "kernel",
        "link": "link",
        "hard link": "hard",
        "profile": "own.toml",
        "another manifest": "other/guest.toml",
        "a manifest being edited": "edited.toml",
        "lock": "guest.lock",
        "value": "cmdline",
    }[target]
    before = _contents(tmp_path)
    more = ["--format", "hex", "-q"] if verb == "export" else []
    result = run(verb, manifest, "--set", f"kernel.cmdline=@{tmp_path}/cmdline", *more, "-o", tmp_path / path)
    assert _contents(tmp_path) == before
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: {tmp_path / path} is a") or f"{path} is the" in result.err
    assert "--force" in result.err


def test_a_format_of_several_files_is_written_over_no_input(tmp_path: Path) -> None:
    manifest = _guest(tmp_path, kernel={"path": "rvps-payload.json", "cmdline": "x", "hashes": False})
    (tmp_path / "rvps-payload.json").write_bytes(b"a kernel of this name")
    before = _contents(tmp_path)
    result = run("export", "-q", manifest, "--format", "rvps", "-o", f"{tmp_path}/")
    assert _contents(tmp_path) == before
    assert result.status == 2


@pytest.mark.parametrize("target", ["one.json", "guest.toml"])
def test_merge_writes_over_no_document_and_no_manifest(tmp_path: Path, target: str) -> None:
    manifest = _guest(tmp_path)
    for name, version in (("one.json", "1.0.0"), ("two.json", "2.0.0")):
        (tmp_path / name).write_text(
            run("measure", "-q", manifest, "--set", f"guest.version={version}", "-f", "json").out
        )
        assert json.loads((tmp_path / name).read_text())["guest"]["version"] == version
    before = _contents(tmp_path)
    result = run("merge", tmp_path / "one.json", tmp_path / "two.json", "-o", tmp_path / target)
    assert _contents(tmp_path) == before
    assert result.status == 2
    assert "--force" in result.err


def test_a_planted_old_folder_is_not_adopted(tmp_path: Path) -> None:
    """An empty place stays so when a build fails, and what lies beside a bundle is not removed."""
    manifest = _guest(tmp_path, kernel={"path": "absent", "cmdline": "x"})
    planted = tmp_path / ".dist.sevbuild-old"
    planted.mkdir()
    (planted / "mine").write_text("planted")
    assert run("build", manifest, "-o", tmp_path / "dist").status == 2
    assert not (tmp_path / "dist").exists()
    assert run("build", "-q", _guest(tmp_path), "-o", tmp_path / "dist").status == 0
    assert run("build", "-q", _guest(tmp_path), "-o", tmp_path / "dist").status == 0
    assert (planted / "mine").read_text() == "planted"

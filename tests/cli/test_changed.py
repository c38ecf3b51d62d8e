"""`check --changed`: which manifests a change concerns, in a repository and without one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import Result, run
from tests.support.guests import write_manifest

FIRMWARE = Path(__file__).resolve().parents[2] / "guests" / "hello" / "hello.fd"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a guest in each of two folders; the second has a profile of its own."""
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        (place / "OVMF.fd").write_bytes(FIRMWARE.read_bytes())
        launch = {"mode": "snp", "profile": "own.toml" if name == "two" else "qemu"}
        write_manifest(place, launch=launch, firmware={"path": "OVMF.fd"})
    (tmp_path / "two" / "own.toml").write_text(
        'schema = 1\nname = "own"\nextends = "base.toml"\nsummary = "s"\nas-of = "now"\n'
    )
    (tmp_path / "two" / "base.toml").write_text(
        'schema = 1\nname = "base"\nextends = "qemu"\nsummary = "s"\nas-of = "now"\n'
    )
    monkeypatch.chdir(tmp_path)
    for variable in ("GIT_DIR", "PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def _git(*arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _commit(folder: Path) -> str:
    _git("init", "--quiet", str(folder))
    _git("add", "--all")
    _git("commit", "--quiet", "--message", "m")
    return _git("rev-parse", "HEAD")


def _checked(*changed: str, options: tuple[str, ...] = ()) -> list[str]:
    ended = run("check", "--quiet", *options, "--changed", "--", *changed)
    assert ended.status == 0, ended.err
    return [line.partition(":")[0] for line in ended.out.splitlines()]


@pytest.mark.parametrize("repository", [True, False])
def test_what_a_change_concerns(folder: Path, *, repository: bool) -> None:
    if repository:
        _commit(folder)
    one, two = "one/guest.toml", "two/guest.toml"
    for changed, concerned in (
        (["one/OVMF.fd"], [one]),
        (["./one/../one/OVMF.fd"], [one]),
        (["two/own.toml"], [two]),
        (["two/base.toml"], [two]),
        (["one/guest.lock"], [one]),
        ([one], [one]),
        (["two/OVMF.fd", one], [one, two]),
        (["nothing.txt"], []),
        ([], []),
    ):
        assert _checked(*changed) == concerned, changed


def test_an_input_that_is_a_link(folder: Path) -> None:
    """Both the link and what it leads to are what the guest is made of."""
    (folder / "build").mkdir()
    (folder / "one" / "OVMF.fd").rename(folder / "build" / "OVMF.fd")
    (folder / "one" / "OVMF.fd").symlink_to("../build/OVMF.fd")
    assert _checked("build/OVMF.fd") == _checked("one/OVMF.fd") == ["one/guest.toml"]


def test_what_was_deleted_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _commit(folder)
    (folder / "one" / "OVMF.fd").unlink()
    assert _checked() == []
    _git("add", "--all")
    ended = run("check", "--quiet", "--changed")
    assert (ended.status, ended.out) == (2, "")
    assert "one/OVMF.fd" in ended.err
    after = _commit(folder)
    assert _checked() == []
    monkeypatch.setenv("PRE_COMMIT_FROM_REF", before)
    monkeypatch.setenv("PRE_COMMIT_TO_REF", after)
    assert run("check", "--quiet", "--changed").status == 2


def test_paths_are_those_of_this_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commit(folder)
    monkeypatch.chdir(folder / "two")
    assert _checked("../one/OVMF.fd") == ["../one/guest.toml"]
    assert _checked("OVMF.fd") == ["guest.toml"]


def test_only_manifests_are_checked(folder: Path) -> None:
    """By the usual name, or by what stands in it; a broken one too, but no TOML of something else."""
    for name, text in {
        "Cargo.toml": '[package]\nname = "x"\n',
        "other.toml": 'schema = "x"\n[tool]\nx = 1\n',
        "broken.toml": "[x\n",
        "notes.md": 'This is a guest:\n[guest]\nname = "x"\n',
        "other.lock": 'schema = 1\nsevbuild = "0.1.0"\n',
    }.items():
        (folder / name).write_text(text)
    assert _checked("Cargo.toml", "other.toml", "broken.toml", "notes.md", "other.lock", "two/own.toml") == [
        "two/guest.toml"
    ]
    for name, text in {"guest.toml": "", "a.toml": "schema = 2\n", "b.toml": "[guest]\nname = [\n"}.items():
        (folder / name).write_text(text)
        ended = run("check", "--quiet", "--changed", "--", name)
        assert (ended.status, ended.out) == (2, "")
        assert f"error: {name}" in ended.err


def _changed(*words: str) -> Result:
    return run("check", *words, "--changed", "--", "one/OVMF.fd", "two/OVMF.fd")


def test_what_was_not_looked_into_is_said(folder: Path) -> None:
    (folder / "one" / "guest.toml").write_text("schema = 2\n")
    ended = _changed()
    assert ended.status == 0
    said = "one/guest.toml: note: not checked, because what it names is unknown: one/guest.toml:1: schema"
    assert said in ended.err
    assert ended.out == "two/guest.toml: 1 target, 0 warnings\n"


def test_a_manifest_without_a_lock_is_held_to_none(folder: Path) -> None:
    assert run("lock", "two/guest.toml").status == 0
    ended = _changed("--locked")
    assert ended.status == 0
    assert "one/guest.toml: note: it has no lock" in ended.err
    assert ended.out.startswith("two/guest.toml: ")
    _commit(folder)
    os.unlink("two/guest.lock")
    _git("add", "--all")
    ended = run("check", "--quiet", "--locked", "--changed")
    assert (ended.status, ended.out) == (1, "")
    assert _changed("--lock", "two/guest.lock").status == 2

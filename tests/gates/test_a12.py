"""A12: different means launched differently; what is only called otherwise is said, and passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


def _guest(folder: Path, **tables: dict[str, Any]) -> Path:
    image = standard_firmware()
    for name in ("OVMF.fd", "renamed.fd"):
        (folder / name).write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel")
    base: dict[str, dict[str, Any]] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet n=1"},
    }
    return write_manifest(folder, **{**base, **tables})


def _published(folder: Path) -> Path:
    path = folder / "values.json"
    path.write_text(run("measure", "-q", _guest(folder), "--format", "json").out)
    return path


CALLED_OTHERWISE = [
    ({"guest": {"version": "2"}}, "guest.version: 1 -> 2"),
    ({"firmware": {"path": "renamed.fd"}}, "input firmware name: OVMF.fd -> renamed.fd"),
    ({"launch": {"policy": 0x30000}}, "origins.policy: default of mode snp -> manifest"),
    ({"launch": {"guest-features": 1}}, "origins.guest_features: profile qemu -> manifest"),
    (
        {"kernel": {"path": "kernel", "cmdline": "quiet n={vcpus}"}},
        "kernel.cmdline: quiet n=1 -> quiet n={vcpus}",
    ),
]


@pytest.mark.parametrize(("tables", "said"), CALLED_OTHERWISE)
def test_what_is_called_otherwise_is_a_note(tmp_path: Path, tables: dict[str, Any], said: str) -> None:
    published = _published(tmp_path)
    manifest = _guest(tmp_path, **tables)
    result = run("verify", published, "--against", manifest)
    assert (result.status, result.out) == (0, "1 target: 1 equal\n"), result.err
    assert said in result.err
    expected = run("measure", manifest, "--expect", published)
    assert (expected.status, said in expected.err) == (0, True)
    assert run("verify", "-q", published, "--against", manifest).err == ""


@pytest.mark.parametrize(("tables", "said"), CALLED_OTHERWISE)
def test_diff_shows_it_and_says_that_the_launch_is_the_same(
    tmp_path: Path, tables: dict[str, Any], said: str
) -> None:
    published = _published(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(run("measure", "-q", _guest(tmp_path, **tables), "--format", "json").out)
    result = run("diff", published, other)
    assert result.status == 1
    assert said in result.out
    assert result.out.splitlines()[-1] == "same launch values"
    document = json.loads(run("diff", published, other, "--format", "json").out)
    assert (document["equal"], document["same_launch_values"]) == (False, True)
    # With another launch beside it nothing of the kind is said.
    launch = {**tables.get("launch", {}), "policy": 0x20000}
    other.write_text(run("measure", "-q", _guest(tmp_path, **{**tables, "launch": launch}), "-f", "json").out)
    assert "same launch values" not in run("diff", published, other).out
    assert json.loads(run("diff", published, other, "-f", "json").out)["same_launch_values"] is False


def test_the_name_of_the_guest_is_a_difference(tmp_path: Path) -> None:
    published = _published(tmp_path)
    manifest = _guest(tmp_path, guest={"name": "other"})
    for arguments in (
        ["verify", "-q", published, "--against", manifest],
        ["measure", "-q", manifest, "--expect", published],
    ):
        result = run(*arguments)
        assert result.status == 1
        assert "guest.name: " in result.out + result.err


@pytest.mark.parametrize("role", ["firmware", "kernel"])
def test_the_size_of_an_input_is_compared(tmp_path: Path, role: str) -> None:
    published = _published(tmp_path)
    document = json.loads(published.read_text())
    (entry,) = (entry for entry in document["inputs"] if entry["role"] == role)
    entry["size"] += 1
    published.write_text(json.dumps(document))
    manifest = tmp_path / "guest.toml"
    for arguments in (
        ["verify", "-q", published, "--against", manifest],
        ["measure", "-q", manifest, "--expect", published],
    ):
        result = run(*arguments)
        assert result.status == 1, result.err
        assert f"input {role} {entry['name']} size: " in result.out + result.err
    (tmp_path / "other.json").write_text(run("measure", "-q", manifest, "-f", "json").out)
    assert "size: " in run("diff", published, tmp_path / "other.json").out

"""Two targets never share a label, and a label is of characters that nothing takes for anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


def _profile(path: Path, name: str, gpa: int) -> str:
    path.write_text(
        f'schema = 1\nname = {json.dumps(name)}\nextends = "qemu"\nsummary = "ours"\nas-of = "2026"\n'
        f'[launch]\nvmsa-gpa = {gpa:#x}\n[sources]\n"launch.vmsa-gpa" = "ours"\n'
    )
    return path.name


def _run(folder: Path, verb: str, profiles: list[str]) -> Result:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    manifest = write_manifest(folder, firmware={"path": "OVMF.fd"}, launch={"profile": profiles})
    more = ["-o", folder / "release"] if verb == "publish" else []
    return run(verb, manifest, *more)


@pytest.mark.parametrize("verb", ["measure", "lock", "publish"])
def test_a_profile_by_path_takes_no_shipped_name(tmp_path: Path, verb: str) -> None:
    mine = _profile(tmp_path / "mine.toml", "qemu", 0x1000)
    result = _run(tmp_path, verb, ["qemu", mine])
    assert (result.status, result.out) == (2, "")
    assert "mine.toml:2: name: qemu is a shipped profile" in result.err
    assert _run(tmp_path, verb, [mine]).status == 2
    _profile(tmp_path / "mine.toml", "qemu-of-ours", 0x1000)
    assert _run(tmp_path, verb, ["qemu", mine]).status == 0


@pytest.mark.parametrize("verb", ["measure", "lock"])
def test_two_profiles_of_one_name_make_no_two_targets_of_one_label(tmp_path: Path, verb: str) -> None:
    one, other = (_profile(tmp_path / f"{gpa}.toml", "ours", gpa * 4096) for gpa in (1, 2))
    result = _run(tmp_path, verb, [one, other])
    assert (result.status, result.out) == (2, "")
    assert "guest.toml:3: launch.profile: snp/ours/EPYC-v4/vcpus1 would be two targets" in result.err


@pytest.mark.parametrize(
    "name", ["", "Ours", "-ours", ".ours", "our/s", "our s", "ours\n", "\x1b[31mours", "ours\u202e", "öurs"]
)
def test_the_name_of_a_profile_is_one_that_a_label_can_carry(tmp_path: Path, name: str) -> None:
    result = _run(tmp_path, "measure", [_profile(tmp_path / "mine.toml", name, 0x1000)])
    assert (result.status, result.out) == (2, "")
    assert "mine.toml:2: name: must match [a-z0-9][a-z0-9._-]*" in result.err
    assert run("profiles", tmp_path / "mine.toml").status == 2

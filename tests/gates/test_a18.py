"""A run held to a lock names what it was told to set that no lock holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

KERNEL = {"path": "kernel", "cmdline": "quiet"}
UNHELD = [
    "launch.policy=0xb0000",
    "launch.guest-features=0x21",
    "launch.order=canonical",
    "kernel.hashes=false",
]


def _locked(folder: Path, **tables: object) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "kernel").write_bytes(bytes(0x1FE) + b"\x55\xaa\xeb\x66HdrS\x0f\x02" + bytes(0x400))
    manifest = write_manifest(folder, firmware={"path": "OVMF.fd"}, **tables)  # type: ignore[arg-type]
    assert run("lock", manifest).status == 0
    return manifest


@pytest.mark.parametrize("setting", UNHELD)
@pytest.mark.parametrize("verb", ["measure", "plan", "check"])
def test_what_a_lock_does_not_hold_is_named(tmp_path: Path, setting: str, verb: str) -> None:
    manifest, path = _locked(tmp_path, kernel=KERNEL), setting.partition("=")[0]
    result = run(verb, "--locked", manifest, "--set", setting)
    assert result.status == 0, result.err
    assert f"--set {path}: warning: {tmp_path}/guest.lock does not cover it" in result.err


def test_a_count_is_named_where_no_command_line_holds_it(tmp_path: Path) -> None:
    manifest = _locked(tmp_path)
    result = run("measure", "--locked", manifest, "--set", "vcpu.count=2")
    assert result.status == 0
    assert "--set vcpu.count: warning:" in result.err


def test_a_lock_that_is_checked_names_it_too(tmp_path: Path) -> None:
    manifest = _locked(tmp_path)
    result = run("lock", "--check", manifest, "--set", "launch.policy=0xb0000")
    assert result.status == 0
    assert "--set launch.policy: warning:" in result.err

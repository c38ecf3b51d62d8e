"""`sevbuild qemu-args` and `sevbuild import`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.launches import launching_guest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    launching_guest(
        tmp_path,
        launch={"guest-features": 0x21},
        kernel={"path": "vmlinuz", "cmdline": "a 'b'"},
        vcpu={"count": [1, 2]},
    )
    return tmp_path / "guest.toml"


LABEL = "snp/qemu/EPYC-v4/vcpus2"


def test_each_format_has_the_launch(manifest: Path) -> None:
    shell = run("qemu-args", manifest, "--target", LABEL)
    assert shell.status == 0
    assert "    -append 'a '\\''b'\\''' \\\n" in shell.out
    assert "SEV_FEATURES must be 0x21" in shell.err
    arguments = run("qemu-args", manifest, "--target", LABEL, "--format", "json", "-q")
    assert json.loads(arguments.out)[7] == "2"
    assert not arguments.err
    domain = run("qemu-args", manifest, "--target", LABEL, "--format", "libvirt", "--folder", "/srv")
    assert f"{manifest.parent}/OVMF.fd</loader>" in domain.out


def test_one_target_at_a_time(manifest: Path) -> None:
    result = run("qemu-args", manifest)
    assert result.status == 2
    assert "--target LABEL" in result.err
    assert run("qemu-args", manifest, "--set", "vcpu.count=1").status == 0
    assert run("qemu-args", manifest, "--set", "vcpu.count=1", "--set", "launch.profile=ec2").status == 2


def test_what_qemu_args_prints_is_imported_again(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "launch.json").write_text(run("qemu-args", manifest, "--target", LABEL, "-f", "json").out)
    (tmp_path / "sub").mkdir()
    there = tmp_path / "sub" / "guest.toml"
    result = run("import", tmp_path / "launch.json", "-o", there)
    assert (result.status, result.out) == (0, "")
    assert "guest.version: note: a command line has no version" in result.err
    again = run("qemu-args", there, "-q", "-f", "json")
    assert again.out == (tmp_path / "launch.json").read_text()
    assert "exists" in run("import", tmp_path / "launch.json", "-o", there).err
    assert run("import", tmp_path / "launch.json", "-o", there, "--force", "-q").err == ""
    piped = run("import", stdin=(tmp_path / "launch.json").read_text())
    assert "# Imported from standard input.\n" in piped.out


def test_relative_paths_start_from_the_manifest(tmp_path: Path) -> None:
    words = ["qemu-kvm", "-bios", "dir/OVMF.fd", "-cpu", "EPYC"]
    result = run("import", "-o", tmp_path / "guest.toml", "-q", "--", *words)
    assert result.status == 0, result.err
    path = Path.cwd() / "dir" / "OVMF.fd"
    text = (tmp_path / "guest.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("path = "))
    assert (tmp_path / line.split('"')[1]).resolve() == path


def test_a_command_after_two_dashes() -> None:
    words = ["sev-snp-measure", "--mode", "sev", "--ovmf", "OVMF.fd"]
    result = run("import", "--", *words)
    assert result.status == 0
    assert 'mode = "sev"' in result.out
    assert run("import", "--", "ls", "-l").status == 2
    assert run("import", "-", stdin="").status == 2

"""The files that we build, read and measured by other programs, where they are (docs/peers.md)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sevbuild.guest.guest import Guest
from sevbuild.guest.igvm import igvm_file
from tests.support.firmware import make_firmware
from tests.support.guests import guest_of
from tests.support.real import peer_program

SECTIONS = [(0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]


def _guest(folder: Path, mode: str) -> Guest:
    image = make_firmware(size=0x10000, sections=SECTIONS, hash_table=(0x810C00, 0x400), fill=b"firmware")
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel")
    return guest_of(
        folder,
        launch={"mode": mode, "profile": "qemu-igvm"},
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdline": "quiet"},
        vcpu={"count": [1, 3], "model": "EPYC-Milan"},
    )


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("mode", "platform"), [("snp", "sev-snp"), ("sev-es", "sev-es"), ("sev", "sev")])
def test_igvmmeasure_has_our_digest(tmp_path: Path, mode: str, platform: str) -> None:
    program = peer_program("igvmmeasure")
    guest = _guest(tmp_path, mode)
    for item in guest.measure():
        path = tmp_path / "guest.igvm"
        path.write_bytes(igvm_file(guest, item.target, guest.laid_out(item.target)))
        said = _call(program, "--platform", platform, str(path), "measure", "--bare")
        assert said.strip().lower() == item.digest.hex(), item.target.label


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_the_igvm_crate_reads_our_files(tmp_path: Path, mode: str) -> None:
    """`igvm-inspect` of virtfw-igvm-tools reads with the igvm crate, which QEMU reads with as well."""
    program = peer_program("igvm-inspect")
    guest = _guest(tmp_path, mode)
    for target in guest.targets:
        path = tmp_path / "guest.igvm"
        path.write_bytes(igvm_file(guest, target, guest.laid_out(target)))
        said = _call(program, str(path))
        assert f"platform: {mode.upper().replace('-', '_').replace('SNP', 'SEV_SNP')}" in said
        assert "PageData: gpa 0x810000, type NORMAL" in said
        assert said.count("VpContext") == (0 if mode == "sev" else target.vcpus)

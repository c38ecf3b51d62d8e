"""Debian's own firmware and kernel, in every mode, against sev-snp-measure on the same files."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.image.lint import lint_firmware
from sevbuild.image.ovmf import parse_firmware
from sevbuild.image.verifier import kernel_hash_verifier
from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import digest_of, write_manifest
from tests.support.kernels import newc
from tests.support.peer import peer_digest
from tests.support.real import newest_file, real_file, real_kernels

SMALL = "/usr/share/OVMF/OVMF_CODE.fd"
LARGE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
WHOLE = "/usr/share/ovmf/OVMF.fd"
FIRMWARES = [SMALL, LARGE, WHOLE]
AMDSEV = "usr/share/ovmf/OVMF.amdsev.fd"
LAUNCHES = [
    ("snp", "qemu", "QEMU"),
    ("snp", "ec2", "ec2"),
    ("snp", "gce", "gce"),
    ("sev-es", "qemu-es-init2", "QEMU"),
    ("sev", "qemu", "QEMU"),
]


def _initrd(folder: Path, kernel: Path) -> None:
    """Write a compressed archive of the files that stand beside a kernel: a real initrd in form and size."""
    files = {
        path.name: path.read_bytes()
        for path in sorted(kernel.parent.iterdir())
        if path.is_file() and path.name.startswith(("System.map", "config", "vmlinuz"))
    }
    (folder / "initrd").write_bytes(gzip.compress(newc(files), 1, mtime=0))


@pytest.mark.parametrize(("mode", "profile", "vmm"), LAUNCHES)
@pytest.mark.parametrize("path", FIRMWARES)
def test_the_peer_agrees_on_firmware_of_debian(
    tmp_path: Path, path: str, mode: str, profile: str, vmm: str
) -> None:
    """OVMF_CODE_4M.fd of bookworm has no SEV metadata: SNP cannot boot it, though the peer has a digest."""
    shutil.copy(real_file(path), tmp_path / "OVMF.fd")
    bootable = mode != "snp" or parse_firmware((tmp_path / "OVMF.fd").read_bytes()).metadata.sections
    for model, count in (("EPYC-v4", 1), ("EPYC-Milan", 3)):
        tables: dict[str, Any] = {
            "launch": {"mode": mode, "profile": profile},
            "firmware": {"path": "OVMF.fd"},
            "vcpu": {"model": model, "count": count},
        }
        signature = 0x800F12 if model == "EPYC-v4" else 0xA00F11
        peer = peer_digest(tmp_path, mode, vmm=vmm, vcpus=count, signature=signature)
        if bootable:
            assert digest_of(tmp_path, **tables) == peer
        else:
            with pytest.raises(SevbuildError, match="no SEV metadata"):
                digest_of(tmp_path, **tables)


@pytest.mark.parametrize(("mode", "profile", "vmm"), LAUNCHES)
@pytest.mark.parametrize("amdsev", [True, False])
def test_the_peer_agrees_on_a_real_kernel(
    tmp_path: Path, mode: str, profile: str, vmm: str, *, amdsev: bool
) -> None:
    """Debian's generic OVMF takes no kernel hashes, so a table with their section stands behind it."""
    kernel = real_kernels()[0]
    if amdsev:
        shutil.copy(newest_file(AMDSEV), tmp_path / "OVMF.fd")
    else:
        ovmf = real_file(LARGE).read_bytes()
        tail = standard_firmware()
        (tmp_path / "OVMF.fd").write_bytes(ovmf[: -len(tail)] + tail)
    shutil.copy(kernel, tmp_path / "kernel")
    _initrd(tmp_path, kernel)
    cmdline = "root=/dev/vda1 ro console=ttyS0"
    tables: dict[str, Any] = {
        "launch": {"mode": mode, "profile": profile},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": cmdline},
        "initrd": {"path": "initrd"},
        "vcpu": {"model": "EPYC-v4", "count": 2},
    }
    peer = peer_digest(tmp_path, mode, vmm=vmm, vcpus=2, kernel="kernel", initrd="initrd", append=cmdline)
    assert digest_of(tmp_path, **tables) == peer


@pytest.mark.parametrize("path", FIRMWARES)
def test_what_debians_generic_firmware_can_do(path: str) -> None:
    data = real_file(path).read_bytes()
    firmware = parse_firmware(data)
    # Its volumes can be read, and hold nothing that checks kernel hashes.
    verifier = kernel_hash_verifier(data)
    assert verifier is False
    found = {(finding.topic, finding.level) for finding in lint_firmware(firmware, verifier=verifier)}
    boots_snp = "ok" if firmware.metadata.sections else "error"
    assert {("snp", boots_snp), ("smp", "ok"), ("kernel-hashes", "warning")} <= found


def test_the_commands_on_real_files(tmp_path: Path) -> None:
    firmware = real_file(SMALL)
    shown = json.loads(run("inspect", firmware, "--format", "json").out)
    assert [section["kind"] for section in shown["sections"]].count("cpuid") == 1
    path = write_manifest(tmp_path, firmware={"path": str(firmware)})
    assert run("check", path).status == 0
    kernel: dict[str, Any] = {"path": str(real_kernels()[0])}
    result = run("measure", write_manifest(tmp_path, firmware={"path": str(firmware)}, kernel=kernel))
    assert result.status == 2
    assert "AmdSevX64.dsc" in result.err
    with pytest.raises(SevbuildError, match="kernel"):
        digest_of(tmp_path, firmware={"path": str(firmware)}, kernel=kernel)


def test_the_amdsev_build_verifies() -> None:
    data = newest_file(AMDSEV).read_bytes()
    assert kernel_hash_verifier(data) is True
    found = {(f.topic, f.level) for f in lint_firmware(parse_firmware(data), verifier=True)}
    assert {("snp", "ok"), ("smp", "ok"), ("kernel-hashes", "ok")} <= found

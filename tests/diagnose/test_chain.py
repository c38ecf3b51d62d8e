"""The independent chain agrees with sev-snp-measure where both can speak, and its every field enters."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.diagnose.cases.hosts import EC2, GCE
from tests.support import chain
from tests.support.chain import Launch, digest
from tests.support.peer import peer_digest
from tests.support.real import newest_file, real_file, real_kernels
from tests.support.shared import ROOT

AMDSEV = "usr/share/ovmf/OVMF.amdsev.fd"


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    text = (ROOT / "tests" / "support" / "chain.py").read_text()
    assert text.count("\n") <= 120
    imported = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "struct", "collections.abc", "hashlib", "typing", "uuid"}


@pytest.mark.parametrize("vcpus", [1, 3])
@pytest.mark.parametrize(
    ("mode", "vmm", "host"),
    [
        ("snp", "QEMU", {}),
        ("snp", "ec2", EC2),
        ("snp", "gce", GCE),
        ("sev-es", "QEMU", {"fpu": True}),
        ("sev", "QEMU", {}),
    ],
)
def test_the_peer_agrees(tmp_path: Path, mode: str, vmm: str, host: dict[str, Any], vcpus: int) -> None:
    firmware, kernel = newest_file(AMDSEV), real_kernels()[0]
    (tmp_path / "initrd").write_bytes(b"070701 initrd")
    launch = Launch(
        mode=mode,
        firmware=firmware.read_bytes(),
        hashes=chain.hashes(kernel.read_bytes(), b"070701 initrd", b"console=ttyS0"),
        vcpus=vcpus,
        signature=0xA00F11,
        **host,
    )
    more: dict[str, Any] = {"firmware": str(firmware), "vmm": vmm, "vcpus": vcpus, "signature": 0xA00F11}
    direct: dict[str, Any] = {"kernel": str(kernel), "initrd": "initrd", "append": "console=ttyS0"}
    assert digest(launch) == peer_digest(tmp_path, mode, **direct, **more)
    assert digest(launch._replace(hashes=None)) == peer_digest(tmp_path, mode, **more)
    if mode == "snp":
        featured = launch._replace(features=0x21, hashes=None)
        assert digest(featured) == peer_digest(tmp_path, mode, features=0x21, **more)


@pytest.mark.parametrize("path", ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/ovmf/OVMF.fd"])
def test_the_peer_agrees_on_generic_firmware(tmp_path: Path, path: str) -> None:
    firmware = real_file(path)
    launch = Launch(firmware=firmware.read_bytes(), vcpus=2)
    assert digest(launch) == peer_digest(tmp_path, "snp", firmware=str(firmware), vcpus=2)


def test_what_the_peer_cannot_say_changes_the_digest() -> None:
    """The fields that only the chain has each enter: a field that did not would prove nothing."""
    launch = Launch(firmware=newest_file(AMDSEV).read_bytes(), vcpus=2)
    others: list[dict[str, Any]] = [
        {"types": {1: 4}},
        {"types": {0x10: 1}},
        {"last": (3,)},
        {"ascending": True},
        {"measured": 1},
        {"gpa": 0xFFFFFFFFFF000},
        {"vmsa": {0x408: struct.pack("<I", 0)}},
        {"bsp": {0x012: b"\x9a"}},
        {"reset": 0x80B008},
        {"sections": chain.sections_of(launch.firmware)[:-1]},
    ]
    found = {digest(launch), *(digest(launch._replace(**other)) for other in others)}
    assert len(found) == len(others) + 1

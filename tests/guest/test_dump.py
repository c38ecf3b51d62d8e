"""VMSAs as files, under the names that other tools take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.guest.dump import vmsa_files
from sevbuild.guest.guest import Guest
from sevbuild.launch.region_data import chunks
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of


def _guest(folder: Path, **tables: Any) -> Guest:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    return guest_of(folder, firmware={"path": "OVMF.fd"}, **tables)


def _pages(guest: Guest) -> list[bytes]:
    """Return the VMSAs of the first target, vCPU by vCPU."""
    return [b"".join(chunks(update.data or b"")) for update in guest.plan(guest.targets[0]).vmsas]


def test_the_boot_processor_has_a_file_and_every_other_vcpu_one_between_them(tmp_path: Path) -> None:
    guest = _guest(tmp_path, vcpu={"count": 4})
    first, *others = _pages(guest)
    assert first != others[0]
    assert vmsa_files("vmsas", guest.measure()) == {
        "vmsas/vmsa0.bin": first,
        "vmsas/vmsa1.bin": others[0],
    }
    assert set(others) == {others[0]}


def test_one_vcpu_has_one_file(tmp_path: Path) -> None:
    guest = _guest(tmp_path)
    assert vmsa_files("", guest.measure()) == {"vmsa0.bin": _pages(guest)[0]}


def test_several_targets_have_a_folder_each(tmp_path: Path) -> None:
    for modes in (["snp", "sev-es"], ["snp", "sev-es", "sev"]):
        guest = _guest(tmp_path, launch={"mode": modes})
        files = vmsa_files("vmsas", guest.measure())
        # Mode sev launches no VMSA.
        assert [*files] == [
            "vmsas/snp_qemu_EPYC-v4_vcpus1/vmsa0.bin",
            "vmsas/sev-es_qemu_EPYC-v4_vcpus1/vmsa0.bin",
        ]
        assert {len(data) for data in files.values()} == {4096}


def test_without_a_vmsa_there_is_nothing_to_write(tmp_path: Path) -> None:
    guest = _guest(tmp_path, launch={"mode": "sev"})
    with pytest.raises(SevbuildError, match="no target has a VMSA"):
        vmsa_files("vmsas", guest.measure())

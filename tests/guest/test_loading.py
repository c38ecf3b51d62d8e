"""From a path to a guest, and to its targets: what is read when, and what is said where nothing can be."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from sevbuild import fs
from sevbuild.errors import SevbuildError
from sevbuild.guest import inputs
from sevbuild.guest.guest import load_guest
from sevbuild.launch.snp_guest import SnpGuest
from sevbuild.launch.update import LaunchUpdate
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import guest_of, write_manifest

FIRMWARE = {"path": "OVMF.fd"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with firmware, kernel and SVSM."""
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    (tmp_path / "svsm.bin").write_bytes(standard_svsm())
    return tmp_path


def _failure(path: Path | str) -> SevbuildError:
    with pytest.raises(SevbuildError) as caught:
        load_guest(str(path))
    return caught.value


def test_where_there_is_no_manifest_the_hint_says_what_to_do(folder: Path) -> None:
    absent = _failure(folder / "a guest.toml")
    assert absent.message.startswith("cannot read ")
    assert absent.hint == f"`sevbuild init '{folder / 'a guest.toml'}'` writes one to start from"
    assert _failure(folder).hint == "a manifest is a file"
    manifest = write_manifest(folder, firmware=FIRMWARE)
    assert _failure(folder).hint == f"a manifest is a file, such as {manifest}"
    (folder / "odd.toml").write_bytes(b"\xff\0\xfe")
    odd = _failure(folder / "odd.toml")
    assert odd.message.endswith("odd.toml:1: not UTF-8 text")
    assert odd.hint == "a manifest is TOML; `sevbuild inspect` recognizes many other files"


def test_a_better_hint_than_that_stays(folder: Path) -> None:
    (folder / "guest.toml").write_text("schema = 1\n", encoding="utf-16")
    assert _failure(folder / "guest.toml").hint == "it looks like UTF-16: save it as UTF-8"


def test_targets_are_picked_by_their_labels(folder: Path) -> None:
    guest = guest_of(folder, firmware=FIRMWARE, vcpu={"count": [1, 2, 3]})
    assert guest.select([]) == guest.targets
    assert [target.vcpus for target in guest.select(["vcpus3", "vcpus1"])] == [3, 1]
    with pytest.raises(SevbuildError, match="no target matches 'vcpus4'"):
        guest.select(["vcpus4"])


def test_checking_inputs_lays_out_every_target(folder: Path) -> None:
    """The firmware itself is in order; its table of kernel hashes is too small for a kernel."""
    (folder / "OVMF.fd").write_bytes(standard_firmware(hash_table=(0x810C00, 16)))
    tables: dict[str, Any] = {"firmware": FIRMWARE, "kernel": {"path": "kernel"}}
    with pytest.raises(SevbuildError, match=r"^sev/qemu/EPYC-v4/vcpus1: "):
        guest_of(folder, launch={"mode": "sev"}, **tables).check_inputs()
    guest_of(folder, launch={"mode": "sev"}, firmware=FIRMWARE).check_inputs()


@pytest.mark.parametrize("mode", ["snp", "sev-es"])
def test_the_seed_of_a_target_is_its_launch_digest_after_the_firmware(folder: Path, mode: str) -> None:
    guest = guest_of(folder, firmware=FIRMWARE, launch={"mode": mode})
    (target,) = guest.targets
    update, digest = next(guest.trace(target))
    assert update.origin == "firmware"
    assert guest.seed(target) == digest
    canonical = guest_of(folder, firmware=FIRMWARE, launch={"mode": mode, "order": "canonical"})
    with pytest.raises(SevbuildError, match="the firmware is not launched first"):
        canonical.seed(canonical.targets[0])


@pytest.mark.parametrize(("size", "gpa"), [(0, 0xFFFED000), (0x1000, 0xFFFEC000)])
def test_an_svsm_lies_below_the_variable_store_that_lies_below_the_firmware(
    folder: Path, size: int, gpa: int
) -> None:
    svsm = {"path": "svsm.bin", "vars-size": size}
    guest = guest_of(folder, firmware=FIRMWARE, launch={"profile": "svsm-qemu"}, svsm=svsm)
    placed = guest.svsm(guest.manifest.variants[0])
    assert placed is not None
    assert placed.gpa == gpa


def test_the_kernel_is_hashed_while_the_firmware_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other here: one after the other, neither would come to its end."""
    meeting = threading.Barrier(2, timeout=10)
    met: set[str] = set()
    hash_files, launch_update = fs.hash_files, SnpGuest.launch_update

    def meet(what: str) -> None:
        if what not in met:
            met.add(what)
            meeting.wait()

    def hash_kernel(*arguments: Any, **options: Any) -> Any:
        meet("kernel")
        return hash_files(*arguments, **options)

    def launch(self: SnpGuest, update: LaunchUpdate) -> None:
        if update.origin == "firmware":
            meet("firmware")
        launch_update(self, update)

    monkeypatch.setattr(inputs, "hash_files", hash_kernel)
    monkeypatch.setattr(SnpGuest, "launch_update", launch)
    assert guest_of(folder, firmware=FIRMWARE, kernel={"path": "kernel"}).measure()
    assert met == {"firmware", "kernel"}

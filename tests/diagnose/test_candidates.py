"""Files and releases that are suspected become changes, and what could not be taken is said."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sevbuild.diagnose import candidates
from sevbuild.diagnose.candidates import Asked, find_candidates
from sevbuild.diagnose.change import Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.launches import Launches
from sevbuild.diagnose.setup import LaidOut
from sevbuild.diagnose.starts import subject_of_guest
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile
from sevbuild.guest.guest import load_guest
from sevbuild.igvm.headers import PageData
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from tests.cli.test_explain import OTHER, guest_in
from tests.support.cli import run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import guest_of
from tests.support.igvm import BSP, SNP, write_file


def starts_of(manifest: Path) -> tuple[Start, ...]:
    return subject_of_guest(load_guest(str(manifest)), []).starts


def test_a_file_that_lies_twice_is_one(tmp_path: Path) -> None:
    guest = guest_in(tmp_path)
    (tmp_path / "one.fd").write_bytes(OTHER)
    (tmp_path / "two.fd").write_bytes(OTHER)
    asked = Asked(firmware=[str(tmp_path / "one.fd"), str(tmp_path / "two.fd")])
    found = find_candidates(asked, starts_of(guest), str(tmp_path))
    (change,) = found.changes
    assert change.says == f"the firmware {tmp_path}/one.fd"
    assert found.notes == (f"{tmp_path}/two.fd: the same as the firmware {tmp_path}/one.fd",)


def test_what_cannot_be_read_beside_what_can(tmp_path: Path) -> None:
    guest = guest_in(tmp_path)
    (tmp_path / "other.fd").write_bytes(OTHER)
    broken = bytearray(OTHER)
    broken[-50:-48] = b"\xff\xff"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "broken.fd").write_bytes(broken)
    asked = Asked(firmware=[str(tmp_path / "missing.fd"), str(folder), str(tmp_path / "other.fd")])
    found = find_candidates(asked, starts_of(guest))
    assert len(found.changes) == 1
    assert found.notes[0] == f"--firmware: cannot read {tmp_path}/missing.fd: No such file or directory"
    assert found.notes[1].startswith(f"{folder}/broken.fd: ")


def test_folders_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = guest_in(tmp_path)
    folder = tmp_path / "many"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(bytes(OTHER[:-1]) + name.encode())
    monkeypatch.setattr(candidates, "_MOST_BYTES", len(OTHER) * 2)
    found = find_candidates(Asked(firmware=[str(folder)]), starts_of(guest))
    assert len(found.changes) == 2
    assert found.notes == (f"{folder}: the images before {folder}/c were taken, for their size",)
    monkeypatch.setattr(candidates, "_MOST_VISITED", 2)
    stopped = find_candidates(Asked(firmware=[str(folder)]), starts_of(guest))
    assert stopped.notes == (f"--firmware: {folder}: more than 2 files; name a folder inside it",)
    with pytest.raises(SevbuildError, match="no usable candidate") as refused:
        find_candidates(Asked(firmware=[str(tmp_path / "nothing")]), starts_of(guest))
    assert refused.value.exit_code == 2
    deep = tmp_path / "deep"
    below = deep
    for _ in range(12):
        below /= "x"
    below.mkdir(parents=True)
    (below / "other.fd").write_bytes(OTHER)
    monkeypatch.setattr(candidates, "_MOST_VISITED", 100)
    with pytest.raises(SevbuildError, match="no usable candidate") as empty:
        find_candidates(Asked(firmware=[str(deep)]), starts_of(guest))
    assert list(empty.value.details) == [f"{deep}: no file is in it, down to 8 folders"]
    beside = find_candidates(Asked(firmware=[str(below / "other.fd"), str(deep)]), starts_of(guest))
    assert beside.notes == (f"{deep}: no file is in it, down to 8 folders",)


def test_a_line_is_taken_with_and_without_its_end(tmp_path: Path) -> None:
    guest = guest_in(tmp_path)
    path = tmp_path / "line"
    for data, lines in ((b"a b", [b"a b"]), (b"a b\r\n", [b"a b", b"a b\r\n"])):
        path.write_bytes(data)
        found = find_candidates(Asked(cmdline=[str(path)]), starts_of(guest), str(tmp_path))
        assert [change.value for change in found.changes] == [cmdline_digest(line).hex() for line in lines]
        edits = [[(edit.key, edit.value) for edit in change.edits] for change in found.changes]
        by_file = [("kernel.cmdline", None), ("kernel.cmdline-file", json.dumps(str(path)))]
        by_text = [("kernel.cmdline", '"a b"'), ("kernel.cmdline-file", None)]
        assert edits == ([by_file] if len(lines) == 1 else [by_text, by_file])


def test_an_svsm_moves_with_its_firmware(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "svsm.bin").write_bytes(standard_svsm())
    larger = bytes(4096) + standard_firmware()
    (tmp_path / "larger.fd").write_bytes(larger)
    tables: dict[str, Any] = {
        "launch": {"profile": "svsm-qemu"},
        "svsm": {"path": "svsm.bin", "vars-size": 0x84000},
    }
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, **tables)
    (start,) = subject_of_guest(guest, []).starts
    found = find_candidates(Asked(firmware=[str(tmp_path / "larger.fd")]), [start])
    applied = found.changes[0].apply(start.setup)
    wanted = guest_of(tmp_path, firmware={"path": "larger.fd"}, **tables).measure()[0].digest
    assert Launches().digest(applied) == wanted
    values = tmp_path / "values.json"
    values.write_text(run("measure", "-q", tmp_path / "guest.toml", "-f", "json").out)
    # The seed of a launch with an SVSM is of both, and stands for neither.
    assert find_candidates(Asked(releases=[str(values)]), [start]).changes == ()


def test_a_firmware_that_leaves_no_place_for_an_svsm_is_no_launch(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "svsm.bin").write_bytes(standard_svsm())
    (tmp_path / "larger.fd").write_bytes(bytes(4096) + standard_firmware())
    guest = guest_of(
        tmp_path,
        firmware={"path": "OVMF.fd"},
        launch={"profile": "svsm-qemu"},
        svsm={"path": "svsm.bin", "vars-size": (1 << 32) - len(standard_firmware()) - len(standard_svsm())},
    )
    (start,) = subject_of_guest(guest, []).starts
    (change,) = find_candidates(Asked(firmware=[str(tmp_path / "larger.fd")]), [start]).changes
    with pytest.raises(SevbuildError, match="no place for the SVSM"):
        change.apply(start.setup)


def test_a_seed_does_not_place_an_svsm(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "svsm.bin").write_bytes(standard_svsm())
    plain = guest_of(tmp_path, firmware={"path": "OVMF.fd"})
    values = tmp_path / "values.json"
    values.write_text(run("measure", "-q", tmp_path / "guest.toml", "-f", "json").out)
    tables: dict[str, Any] = {
        "launch": {"profile": "svsm-qemu"},
        "svsm": {"path": "svsm.bin", "vars-size": 0x84000},
    }
    (start,) = subject_of_guest(guest_of(tmp_path, firmware={"path": "OVMF.fd"}, **tables), []).starts
    assert plain.targets
    changes = find_candidates(Asked(releases=[str(values)]), [start]).changes
    for change in changes:
        with pytest.raises(SevbuildError, match="an SVSM requires the firmware file"):
            change.apply(start.setup)


def test_kernels_of_a_loader_that_writes_their_hashes(tmp_path: Path) -> None:
    file = ForeignFile(str(write_file(tmp_path, SNP, PageData(0x10000, 1, b"\xaa" * 4096), BSP)))
    hashes = KernelHashes(sha256(b"k").digest(), EMPTY_INITRD_DIGEST, cmdline_digest(b""))
    setup = FileLaunch(file, "cloud-hypervisor-kvm", "snp", 1, None, hashes)
    (tmp_path / "kernel").write_bytes(b"other")
    start = Start("x", setup, b"")
    (change,) = find_candidates(Asked(kernel=[str(tmp_path / "kernel")]), [start]).changes
    applied = change.apply(setup)
    assert isinstance(applied, FileLaunch)
    assert applied.kernel_hashes == hashes._replace(kernel=sha256(b"other").digest())
    with pytest.raises(SevbuildError, match="inside its IGVM file"):
        find_candidates(Asked(firmware=[str(tmp_path / "kernel")]), [start])


def test_a_bundle_is_taken_by_its_files(tmp_path: Path) -> None:
    guest = guest_in(tmp_path, kernel={"path": "vmlinuz", "cmdline": "first"})
    bundle = tmp_path / "bundle"
    assert run("build", "-q", guest, "-o", bundle, "--set", "firmware.path=OVMF.fd").status == 0
    (tmp_path / "OVMF.fd").write_bytes(OTHER)
    starts = starts_of(guest)
    found = find_candidates(Asked(releases=[str(bundle)]), starts)
    (change,) = found.changes
    applied = change.apply(starts[0].setup)
    assert isinstance(applied, LaidOut)
    assert change.value == sha256(standard_firmware()).hexdigest()
    (bundle / "inputs" / "firmware.fd").write_bytes(OTHER)
    bent = find_candidates(Asked(releases=[str(bundle)]), starts)
    assert bent.notes[0] == f"{bundle}/inputs/firmware.fd: not the file that the bundle lists"


def test_a_document_is_taken_by_its_release(tmp_path: Path) -> None:
    guest = guest_in(tmp_path)
    names = []
    for version, line in (("1", "first"), ("2", "second")):
        name = tmp_path / f"{version}.json"
        settings = ["--set", f"guest.version={version}", "--set", f"kernel.cmdline={line}"]
        name.write_text(run("measure", "-q", guest, *settings, "-f", "json").out)
        names.append(name)
    merged = tmp_path / "merged.json"
    merged.write_text(run("merge", *names).out)
    for asked in (Asked(releases=[str(merged)]), Asked(releases=[str(name) for name in names])):
        found = find_candidates(asked, starts_of(guest))
        assert [change.says for change in found.changes] == [
            "the command line of release 1",
            "the command line of release 2",
        ]
    (tmp_path / "broken.json").write_text("{")
    folder = find_candidates(Asked(releases=[str(tmp_path)]), starts_of(guest))
    assert len(folder.changes) == 2
    assert any("broken.json" in note for note in folder.notes)

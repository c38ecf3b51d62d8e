"""Evidence by its path: files, standard input, and the folder that changes while it is read."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from sevbuild import fs
from sevbuild.appraise.evidence import describe_evidence_at, evidence_at, holds_evidence
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import authority
from tests.support.evidence import table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return what Linux has of one report."""
    home = authority()
    parts = {
        "outblob": home.report(),
        "auxblob": table({"VCEK": home.vcek.der}),
        "generation": b"1\n",
        "provider": b"sev_guest\n",
        "inblob": b"",
    }
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_folder_of_configfs_tsm_is_read(folder: Path) -> None:
    found = evidence_at(str(folder))
    assert holds_evidence(str(folder))
    assert (found.form, found.report, found.notes) == ("tsm", (folder / "outblob").read_bytes(), ())
    assert [one.source for one in found.certificates] == [f"{folder}: auxblob: VCEK"]
    assert describe_evidence_at(f"{folder}/")["name"] == folder.name


def test_a_copy_of_the_report_alone_will_do(folder: Path) -> None:
    for name in ("auxblob", "generation", "provider", "inblob"):
        (folder / name).unlink()
    assert evidence_at(str(folder)).certificates == ()


@pytest.mark.parametrize(("changes", "read"), [(1, True), (2, True), (3, False)])
def test_parts_are_of_one_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: int, read: bool
) -> None:
    """Somebody asks for another report each time the table is read, until they are done."""
    left = [changes]
    real = fs.read_file

    def read_file(path: str, limit: int) -> bytes:
        data = real(path, limit)
        if path.endswith("auxblob") and left[0]:
            left[0] -= 1
            (folder / "generation").write_text(f"{9 - left[0]}\n")
            (folder / "outblob").write_bytes(authority().report(guest_svn=changes - left[0]))
        return data

    monkeypatch.setattr("sevbuild.appraise.evidence.read_file", read_file)
    if read:
        assert evidence_at(str(folder)).report[4] == changes
        return
    with pytest.raises(SevbuildError, match="another report was asked for while this one was read"):
        evidence_at(str(folder))


def test_other_folders_are_none(tmp_path: Path, folder: Path) -> None:
    (folder / "provider").write_text("tdx_guest\n")
    with pytest.raises(SevbuildError, match="provider 'tdx_guest' makes no SNP reports, sev_guest does"):
        evidence_at(str(folder))
    (tmp_path / "empty").mkdir()
    assert not holds_evidence(str(tmp_path / "empty"))
    with pytest.raises(SevbuildError, match="a folder of configfs-tsm has an outblob"):
        evidence_at(str(tmp_path / "empty"))


def test_files_and_standard_input_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = authority().report()
    (tmp_path / "report").write_bytes(report)
    assert holds_evidence(str(tmp_path / "report"))
    assert evidence_at(str(tmp_path / "report")).report == report
    (tmp_path / "other").write_bytes(b"other")
    assert not holds_evidence(str(tmp_path / "other"))
    os.mkfifo(tmp_path / "pipe")
    assert not holds_evidence(str(tmp_path / "pipe"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(report)))
    assert evidence_at("-").report == report
    with pytest.raises(SevbuildError, match=r"cannot read .*none: No such file"):
        evidence_at(str(tmp_path / "none"))

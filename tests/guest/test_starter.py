"""`init` writes a manifest to start from, and what it needs, and replaces nothing unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.guest.starter import TEMPLATES, read_template, write_template


def test_a_template_is_written_with_what_it_is_measured_from(tmp_path: Path) -> None:
    path = tmp_path / "new" / "guest.toml"
    assert write_template("hello", str(path)) == [str(path), str(path.parent / "hello.fd")]
    assert path.read_text() == read_template("hello")
    assert load_guest(str(path)).measure()


def test_a_template_can_be_written_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_template("snp", "guest.toml") == ["guest.toml"]
    assert [path.name for path in tmp_path.iterdir()] == ["guest.toml"]


@pytest.mark.parametrize("name", ["guest.toml", "hello.fd"])
def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path, name: str) -> None:
    kept = tmp_path / name
    kept.write_bytes(b"mine")
    path = str(tmp_path / "guest.toml")
    with pytest.raises(SevbuildError, match=f"{name} already exists") as caught:
        write_template("hello", path)
    assert caught.value.hint == "--force replaces it; - as the path prints it instead"
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(kept, b"mine")]
    write_template("hello", path, force=True)
    assert kept.read_bytes() != b"mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_that_leads_nowhere_is_there(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").symlink_to("absent")
    with pytest.raises(SevbuildError, match="already exists"):
        write_template("snp", str(tmp_path / "guest.toml"))
    assert not (tmp_path / "absent").exists()


def test_an_unknown_template_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SevbuildError, match="unknown template 'helo'") as caught:
        write_template("helo", str(tmp_path / "guest.toml"))
    assert caught.value.hint == "there are hello, snp, sev-es, fleet, ec2, gce"
    assert all(read_template(name) for name in TEMPLATES)

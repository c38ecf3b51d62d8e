"""A path in a manifest is what the operating system opens, as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest


@pytest.mark.parametrize("table", ["firmware", "kernel", "initrd", "igvm", "launch"])
def test_a_path_that_begins_with_a_tilde_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in (tmp_path / "home", tmp_path / "~"):
        folder.mkdir()
        # It is the kernel, too, which is no text.
        (folder / "OVMF.fd").write_bytes(standard_firmware(fill=b"\0"))
        (folder / "mine.toml").write_text(
            'schema = 1\nextends = "qemu"\nname = "m"\nsummary = ""\nas-of = ""\n'
        )
    key = "profile" if table == "launch" else "path"
    tables: dict[str, dict[str, Any]] = {
        "firmware": {"path": "home/OVMF.fd"},
        "kernel": {"path": "home/OVMF.fd", "hashes": False},
    }
    if table == "igvm":
        del tables["firmware"], tables["kernel"]
    name = "mine.toml" if table == "launch" else "OVMF.fd"
    path = write_manifest(tmp_path, **{**tables, table: {**tables.get(table, {}), key: f"~/{name}"}})
    result = run("check", path)
    assert result.status == 2
    assert "guest.toml:" in result.err
    assert f"{table}.{key}" in result.err
    assert f"./~/{name}" in result.err
    path.write_text(path.read_text().replace(f'"~/{name}"', f'"./~/{name}"'))
    if table != "igvm":
        assert run("check", path).status == 0


def test_a_dollar_is_literal_and_what_cannot_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES", str(tmp_path))
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    manifest = write_manifest(tmp_path, firmware={"path": "$IMAGES/OVMF.fd"})
    result = run("check", manifest)
    assert result.status == 2
    assert "cannot read" in result.err
    assert "$ in it is taken literally" in result.err
    (tmp_path / "$IMAGES").mkdir()
    (tmp_path / "OVMF.fd").rename(tmp_path / "$IMAGES" / "OVMF.fd")
    assert run("check", manifest).status == 0


def test_a_way_back_through_a_link_is_the_one_of_the_operating_system(tmp_path: Path) -> None:
    (tmp_path / "else" / "where").mkdir(parents=True)
    (tmp_path / "link").symlink_to("else/where")
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(fill=b"beside"))
    (tmp_path / "else" / "OVMF.fd").write_bytes(standard_firmware(fill=b"behind"))
    found = run("measure", "-q", write_manifest(tmp_path, firmware={"path": "link/../OVMF.fd"}))
    behind = run("measure", "-q", write_manifest(tmp_path, firmware={"path": "else/OVMF.fd"}))
    assert found.status == behind.status == 0
    assert found.out == behind.out

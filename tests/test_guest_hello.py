"""guests/hello: its firmware is what its script makes, and its tables are what a hypervisor reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sevbuild.image.ovmf import check_sections, parse_firmware
from tests.support.shared import ROOT

FOLDER = ROOT / "guests" / "hello"


def _script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "make_firmware.py"), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_firmware_is_what_its_script_makes(tmp_path: Path) -> None:
    assert _script("--check").returncode == 0
    assert _script(tmp_path / "new.fd").returncode == 0
    assert (tmp_path / "new.fd").read_bytes() == (FOLDER / "hello.fd").read_bytes()
    (tmp_path / "new.fd").write_bytes(b"other")
    changed = _script("--check", tmp_path / "new.fd")
    assert changed.returncode == 1
    assert "is not what this script makes" in changed.stderr
    assert _script("--check", tmp_path / "absent.fd").returncode == 1


def test_its_tables_are_whole() -> None:
    firmware = parse_firmware((FOLDER / "hello.fd").read_bytes())
    assert len(firmware.data) == 0x10000
    metadata = firmware.metadata
    assert {section.kind for section in metadata.sections or ()} == {1, 2, 3, 4, 0x10}
    assert check_sections(metadata.sections or ()) is None
    assert metadata.hash_table is not None
    assert metadata.secret is not None
    # Application processors park inside of the image.
    assert metadata.reset is not None
    offset = metadata.reset - firmware.gpa
    assert firmware.data[offset : offset + 2] == b"\xfa\xf4"
    # At the reset vector stands a jump that stays within 64 KiB.
    assert firmware.data[-16] == 0xE9

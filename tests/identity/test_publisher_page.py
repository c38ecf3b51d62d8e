"""Every command of docs/id-block.md runs, those for an HSM with SoftHSM and OpenSC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.identity.test_id_block import IGNORED
from tests.support.cli import run
from tests.support.real import require
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "id-block.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
HSM = next(index for index, text in enumerate(BLOCKS) if "softhsm2-util" in text)
ENGINES = [*Path("/usr/lib").glob("*/engines-*/pkcs11.so")]


def _shell(folder: Path, blocks: list[str]) -> None:
    """Run examples one after the other in a folder that has the guest of guests/hello."""
    for name in ("guest.toml", "hello.fd"):
        shutil.copy(ROOT / "guests" / "hello" / name, folder / name)
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n"
    )
    beside = os.path.dirname(sys.executable)
    environment = {
        **os.environ,
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
        "SOFTHSM2_CONF": str(folder / "softhsm2.conf"),
    }
    text = "set -eu -o pipefail\n" + "\n".join(blocks)
    result = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_every_command_without_an_hsm(tmp_path: Path) -> None:
    require(shutil.which("openssl"), "openssl")
    _shell(tmp_path, BLOCKS[:HSM])
    _build_with_them(tmp_path)


@pytest.mark.slow
def test_every_command_with_an_hsm(tmp_path: Path) -> None:
    require(shutil.which("pkcs11-tool"), "opensc")
    require(shutil.which("softhsm2-util"), "softhsm2")
    require(ENGINES, "libengine-pkcs11-openssl")
    _shell(tmp_path, BLOCKS)
    _build_with_them(tmp_path)
    found = run("id-block", "verify", tmp_path / "id-blocks")
    assert "author-key-signature  pass" in found.out
    der = BLOCKS[HSM].replace("-i id-blocks", "--signature-format openssl -i id-blocks")
    (tmp_path / "der").mkdir()
    _shell(tmp_path / "der", [*BLOCKS[:HSM], der])
    assert (tmp_path / "der" / "id-blocks" / "id-block.sig").read_bytes()[:1] == b"\x30"


def _build_with_them(folder: Path) -> None:
    """Hold what was signed elsewhere to what a bundle takes."""
    manifest = folder / "guest.toml"
    manifest.write_text(manifest.read_text() + '\n[id-block]\nsigned = "id-blocks"\n')
    assert run("build", "-q", "-o", folder / "dist", manifest).status == 0
    assert run("verify", folder / "dist").status == 0


def test_the_table_of_bytes_is_the_one_that_is_tested() -> None:
    rows = re.findall(r"^\| 0x(\w+)-0x(\w+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [int(end, 16) + 1 for _, end, *_ in rows] == [*(int(start, 16) for start, *_ in rows[1:]), 0x1000]
    for author in (False, True):
        ignored = {at for start, end in IGNORED[author] for at in range(start, end)}
        said = set()
        for row in rows:
            word = row[2 + author]
            assert word in ("read", "ignored", "in the key's digest", "signed by the author")
            if word in ("ignored", "in the key's digest"):
                said |= set(range(int(row[0], 16), int(row[1], 16) + 1))
        assert said == ignored

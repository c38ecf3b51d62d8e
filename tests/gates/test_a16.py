"""Every path in a bundle's libvirt.xml is below /bundle/, and the file says how that is replaced."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bundle.support import manifest_of
from tests.support.cli import run

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def paths_of(xml: str) -> list[str]:
    """Return every path of a domain: firmware, kernel, initrd and what QEMU's arguments name as a file."""
    root = ET.fromstring(xml)  # noqa: S314 - written by the program under test
    found = [root.findtext(f"os/{name}") for name in ("loader", "kernel", "initrd")]
    for argument in root.iter(f"{QEMU}arg"):
        match = re.search(r"(?:^|,)file=([^,]+)", argument.attrib["value"])
        found.append(match[1] if match else None)
    return [path for path in found if path is not None]


@pytest.mark.parametrize(
    ("tables", "count"),
    [
        ({}, 3),
        ({"launch": {"mode": "sev-es", "policy": None}}, 3),
        ({"launch": {"mode": "sev", "policy": None}, "kernel": None, "initrd": None}, 1),
        ({"launch": {"profile": "qemu-igvm"}}, 3),
    ],
    ids=["snp", "sev-es", "sev", "igvm"],
)
def test_every_path_exists_in_the_bundle(tmp_path: Path, tables: dict[str, Any], count: int) -> None:
    if "policy" in tables.get("launch", {}):
        tables["launch"] = {"mode": tables["launch"]["mode"], "policy": 5 if count == 3 else 1}
    bundle = tmp_path / "dist"
    assert run("build", manifest_of(tmp_path, **tables), "-o", bundle).status == 0
    domains = sorted(bundle.glob("targets/*/libvirt.xml"))
    assert domains
    for domain in domains:
        found = paths_of(domain.read_text())
        assert len(found) == count
        for path in found:
            assert path.startswith("/bundle/"), path
            assert (bundle / path.removeprefix("/bundle/")).is_file(), path
        # The one line that says how it is replaced is a command, and it does.
        comments = [line for line in domain.read_text().splitlines() if "sed " in line]
        assert len(comments) == 1
        (script,) = re.findall(r"sed '([^']+)' libvirt\.xml", comments[0])
        script = script.replace("/path/to/it/", f"{bundle}/")
        command = [shutil.which("sed") or "sed", script, str(domain)]
        moved = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert all(Path(path).is_file() for path in paths_of(moved))
        assert len(paths_of(moved)) == count
    assert run("verify", bundle).status == 0

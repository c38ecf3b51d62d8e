"""docs/explain.md lists every key of the JSON that `explain` prints, and no other."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from sevbuild.guest.guest import load_guest
from sevbuild.launch.region_data import chunks
from tests.support.amd_ca import authority
from tests.support.cli import run
from tests.support.pages import Step, blocks, run_session
from tests.support.shared import ROOT

PAGE = (ROOT / "docs" / "explain.md").read_text()
HELLO = ROOT / "guests" / "hello" / "guest.toml"
ROWS = re.findall(r"^\| ((?:`[^`|]+`(?:, )?)+) \|", PAGE.partition("## As JSON")[2], re.MULTILINE)
NAMED = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}


def keys(value: Any, path: str = "") -> set[str]:
    """Return the paths of all keys of objects, `[]` for a list; those of an explanation's parts end there."""
    found = set[str]()
    if isinstance(value, list):
        for entry in value:
            found |= keys(entry, f"{path}[]")
    if isinstance(value, dict) and path in ("", "explanations[]"):
        for key, entry in value.items():
            inner = f"{path}.{key}" if path else key
            found |= {f"{inner}[]" if isinstance(entry, list) else inner} | keys(entry, inner)
    return found


def dump(vmsa: bytes) -> str:
    """Return what KVM prints of a VMSA."""
    rows = [vmsa[at : at + 16].hex(" ") for at in range(0, 1648, 16)]
    return "\n".join(["Virtual Machine Save Area (VMSA):", *rows, ""])


def test_the_page_lists_every_key(tmp_path: Path) -> None:
    (target,) = load_guest(str(HELLO)).measure()
    data = target.plan.vmsas[0].data
    assert data is not None
    (tmp_path / "log").write_text(dump(b"".join(chunks(data))))
    four = run("measure", "-q", HELLO, "--set", "vcpu.count=4").out.strip()
    found = run("explain", HELLO, four, "--format", "json")
    dumped = run("explain", HELLO, four, "--vmsa-dump", tmp_path / "log", "--format", "json", "--budget", "1")
    printed = keys(json.loads(found.out)) | keys(json.loads(dumped.out))
    listed = {f"explanations[]{name}" if name.startswith(".") else name for name in NAMED}
    assert printed == listed


def test_the_commands_around_a_kernel_log(tmp_path: Path) -> None:
    (session,) = blocks(PAGE, "With the VMSAs of the kernel log", "sh")
    (command,) = [line for line in session.splitlines() if line.startswith("sevbuild ")]
    shutil.copytree(HELLO.parent, tmp_path / "hello")
    launched = load_guest(str(HELLO), settings={"launch.guest-features": 0x21})
    (target,) = launched.measure()
    data = target.plan.vmsas[0].data
    assert data is not None
    (tmp_path / "hello" / "dmesg.txt").write_text(dump(b"".join(chunks(data))))
    (tmp_path / "hello" / "report.bin").write_bytes(authority().report(measurement=target.digest))
    printed = ("snp/qemu/EPYC-Milan/vcpus1: ...", "...", "...sev_features: ...0x1...0x21", "...")
    assert run_session(tmp_path / "hello", [Step(command, printed)]) == [0]

"""Every command of docs/verifying.md and docs/attestation.md runs, and prints what stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha512
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.amd_ca import authority
from tests.support.evidence import table
from tests.support.pages import blocks
from tests.support.real import require
from tests.support.shared import ROOT, needs_vectors, shared_file

pytestmark = needs_vectors
VERIFYING = (ROOT / "docs" / "verifying.md").read_text()
ATTESTATION = (ROOT / "docs" / "attestation.md").read_text()
REPORTS = "reports/milan-v3-azure-aci"
TITLE = "Is this guest my release?"
AT = "2026-07-01"


class Section(NamedTuple):
    """A part of a page: the vectors by the names it gives them."""

    title: str
    files: dict[str, str]


SECTIONS = (
    Section(
        "Five minutes with a real guest",
        {
            "sev-snp-attestation.json": "publish/dstack/sev-snp-attestation.json",
            "measurement.snp.ingredients.json": "publish/dstack/measurement.snp.ingredients.json",
        },
    ),
    Section("Azure, confidential VMs", {"azure-evidence.json": "reports/azure-hcl-evidence-v2.json"}),
    Section(
        "Azure, containers", {"aci-report.bin": f"{REPORTS}.report.bin", "vcek.der": f"{REPORTS}.vcek.der"}
    ),
    Section(
        "AWS",
        {
            "aws-report.bin": "reports/milan-v3-aws-vlek.report.bin",
            "vlek.der": "reports/milan-v3-aws-vlek.vlek.der",
        },
    ),
    Section(
        "Google Cloud",
        {
            "gce-report.bin": "reports/milan-v2-gcp-automata.report.bin",
            "vcek.der": "reports/milan-v2-gcp-automata.vcek.der",
        },
    ),
)


def shell(folder: Path, text: str, *, status: int = 0) -> str:
    """Return what commands print in a folder; every verdict is of one day."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    joined = text.replace("\\\n", " ")
    dated = "\n".join(
        f"{line} --at {AT}" if line.startswith("sevbuild verify ") and " --at " not in line else line
        for line in joined.splitlines()
    )
    done = subprocess.run(
        ["bash", "-c", f"set -eu -o pipefail\n{dated}"],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_every_command_of_a_section_runs(section: Section, tmp_path: Path) -> None:
    for name, vector in section.files.items():
        shutil.copy(shared_file(vector), tmp_path / name)
    for text in blocks(VERIFYING, section.title, "toml"):
        (name,) = re.findall(r"^# (\S+\.toml)$", text, re.MULTILINE)
        (tmp_path / name).write_text(text)
    commands = "".join(blocks(VERIFYING, section.title, "sh"))
    printed = shell(tmp_path, commands)
    assert printed.count(": verified (") == commands.count("sevbuild verify ") > 0
    said = blocks(VERIFYING, section.title, "text")
    if len(said) > 1:
        # "Without the nonce the same command refuses".
        last = commands[commands.rindex("sevbuild verify ") :]
        printed += shell(tmp_path, last.replace('--report-data "$NONCE"', ""), status=1)
    for line in "".join(said).splitlines():
        assert line in printed


@pytest.mark.slow
def test_the_first_commands_do_what_they_say(tmp_path: Path) -> None:
    """No report of hardware is over the SHA-512 of a key of ours: ours is, under a root of our own."""
    home = authority()
    (tmp_path / "guest-key.pub").write_bytes(b"a public key\n")
    shutil.copy(ROOT / "guests" / "hello" / "reference-values.json", tmp_path)
    values = json.loads((tmp_path / "reference-values.json").read_text())["values"]
    (value,) = [one for one in values if one["mode"] == "snp"][:1]
    raw = home.report(
        measurement=bytes.fromhex(value["digest"]),
        policy=int(value["policy"], 16),
        report_data=sha512(b"a public key\n").digest(),
    )
    (tmp_path / "report.bin").write_bytes(raw + table({"VCEK": home.vcek.der, "ASK": home.ask.der}))
    (tmp_path / "vcek.der").write_bytes(home.vcek.der)
    (tmp_path / "ark.der").write_bytes(home.ark.der)
    first = re.findall(r"^\$ (.*)$", "".join(blocks(VERIFYING, TITLE, "console")), re.MULTILINE)
    second = blocks(VERIFYING, "From a report to a verdict", "sh")
    assert (len(first), len(second)) == (1, 1)
    printed = ""
    for text in (*first, *second):
        printed = shell(tmp_path, f"{text.rstrip()} --root ark.der")
        assert f"target: hello 1.0.0, {value['label']}\n" in printed
    (said,) = blocks(VERIFYING, "From a report to a verdict", "text")
    assert said.removesuffix("...\n") in printed


@pytest.mark.slow
def test_the_commands_on_what_a_report_is(tmp_path: Path) -> None:
    require(shutil.which("jq"), "jq")
    shutil.copy(shared_file(f"{REPORTS}.report.bin"), tmp_path / "report.bin")
    text = "".join(blocks(ATTESTATION, "Attestation reports", "console"))
    printed = shell(tmp_path, "\n".join(re.findall(r"^\$ (.*)$", text, re.MULTILINE)))
    (digest,) = re.findall(r"^MEASUREMENT +([0-9a-f]{96})$", printed, re.MULTILINE)
    assert printed.endswith(f"\n{digest}\n")

"""What locks, bundles and documents say of a profile stays as it was first published."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from sevbuild.bundle.resolve import resolved_profile
from sevbuild.documents.json_text import json_text
from sevbuild.manifest.profile_digest import profile_digest
from sevbuild.manifest.profiles import load_profile, profile_names
from tests.support.cli import run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

PATH = ROOT / "tests" / "data" / "profile-pins.json"
PINS = json.loads(PATH.read_text())
"""By profile, as commit 58ed6f1 has them: the digest of its rules, as locks have it, and the SHA-256 of what
bundles have (`resolved`), `sevbuild profiles` shows (`shown`) and reference values have (`published`).
SEVBUILD_REMAKE_GOLDENS=1 adds a profile that has none; no other pin ever changes."""

HEAD = 'schema = 1\nname = "mine"\nsummary = "s"\nas-of = "now"\n'
QEMU = 'extends = "qemu"\n'
WHOLE = (
    HEAD
    + """
launch = { modes = ["snp"], vmsa-gpa = 0xfffffffff000, measured-vcpus = "bsp", order = "canonical", loader = "qemu", regions = { snp = ["firmware", "sections"] } }
page-types = { snp-sec-mem = "zero", snp-secrets = "secrets", cpuid = "cpuid", svsm-caa = "refuse", kernel-hashes = "normal", kernel-hashes-absent = "zero", unknown = "refuse" }
guest-features = { snp = { default = 0x1, known = 0x1 } }
entry = { bsp = 0xfffffff0, ap = "reset-block" }
initial-state = { efer = 0x1000, rip = "entry-low", sev-features = "guest-features", snp = { mxcsr = 0x1f80 }, ap = { rsi = "entry" } }
"""
)
OWN = {
    "as its parent": HEAD + QEMU,
    "zero register": HEAD + QEMU + "initial-state.r15 = 0\n",
    "registers": HEAD + QEMU + 'initial-state = { rdx = 7, cs = { limit = 1 }, snp = { xcr0 = 3 }, ap = { rsi = "entry" } }\n',
    "features": HEAD + QEMU + "guest-features.snp = { default = 33, known = 33, newer = 0x200 }\n",
    "features that hosts can set": HEAD + QEMU + "guest-features.snp = { known = 0x21, newer = 0x20 }\n",
    "advice": HEAD + QEMU + 'advice = [{ from-signature = 0xa10f00, profile = "gce", reason = "r" }]\n',
    "sources": HEAD + QEMU + 'launch.direct-boot = false\n[sources]\n"launch.direct-boot" = "seen"\n',
    "list loader": HEAD + QEMU + 'launch.list-loader = "ours"\n',
    "no list loader": HEAD + QEMU + 'launch.list-loader = ""\n',
    "no command": HEAD + QEMU + 'command = { launcher = "none", reason = "by hand" }\n',
    "command": HEAD + QEMU + 'command.properties = { legacy-vm-type = "off" }\n',
    "modes": HEAD + QEMU + 'launch.modes = ["snp", "sev"]\n',
    "a mode twice": HEAD + QEMU + 'launch.modes = ["snp", "snp"]\n',
    "launch": HEAD + QEMU + 'launch = { sections-last = ["cpuid"], measured-vcpus = "bsp", vmsa-gpa = 0x1000, order = "canonical" }\n',
    "loader": HEAD + QEMU + 'launch.loader = "igvmmeasure"\n',
    "regions": HEAD + QEMU + 'launch.regions = { sev = ["firmware"], sev-es = ["firmware", "hash-page"] }\n',
    "page types": HEAD + QEMU + 'page-types = { unknown = "refuse", snp-sec-mem = "unmeasured" }\n',
    "entry": HEAD + QEMU + "entry = { bsp = 0x10, ap = 0x20 }\n",
    "root": WHOLE,
    "root of several modes": WHOLE.replace('["snp"]', '["sev", "snp"]').replace("regions = {", 'regions = { sev = ["firmware", "hash-table"],'),
    "child of a file": HEAD.replace("mine", "child") + 'extends = "parent.toml"\nentry.bsp = 0x20\n',
}  # fmt: skip


def _seen(folder: Path, name: str) -> dict[str, str]:
    """Return what is to be pinned of a profile; its published values are from a guest that is measured."""
    shown = run("profiles", name, "-f", "json").out
    profile = load_profile(name)
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    svsm = standard_svsm()
    (folder / "svsm.bin").write_bytes(svsm)
    tables = {"svsm": {"path": "svsm.bin", "vars-size": 0x1000}} if name == "svsm-qemu" else {}
    launch = {"mode": json.loads(shown)["modes"][-1], "profile": name}
    manifest = write_manifest(folder, launch=launch, firmware={"path": "OVMF.fd"}, **tables)
    measured = run("measure", "-q", manifest, "-f", "json")
    assert measured.status == 0, measured.err
    texts = {
        "resolved": resolved_profile(profile),
        "shown": shown,
        "published": json.dumps(json.loads(measured.out)["profiles"], sort_keys=True),
    }
    digests = {key: sha256(text.encode()).hexdigest() for key, text in texts.items()}
    return {"digest": profile_digest(profile).hex(), **digests}


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles_stay_as_they_were_published(tmp_path: Path, name: str) -> None:
    seen = _seen(tmp_path, name)
    if os.environ.get("SEVBUILD_REMAKE_GOLDENS") == "1" and name not in PINS["shipped"]:
        PINS["shipped"][name] = seen
        PATH.write_text(json.dumps(PINS, indent=1, sort_keys=True) + "\n")
    assert seen == PINS["shipped"].get(name), "a new profile is pinned, and an old one never changes"


def test_profiles_are_listed_as_they_are_shown_alone() -> None:
    listed = json.loads(run("profiles", "-f", "json").out)
    shown = [json.loads(run("profiles", name, "-f", "json").out) for name in sorted(PINS["shipped"])]
    # What is shown of each is pinned.
    assert listed == [{key: value for key, value in one.items() if key != "values"} for one in shown]
    assert run("profiles", "-f", "json").out == json_text(listed)


@pytest.mark.parametrize("kind", OWN)
def test_profiles_of_ones_own_stay_what_they_were(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(OWN[kind])
    (tmp_path / "parent.toml").write_text(OWN["registers"])
    assert _seen(tmp_path, "own.toml") == PINS["own"][kind]

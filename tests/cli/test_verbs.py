"""Every other verb, as a person meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sevbuild import __version__
from sevbuild.cli import VERBS
from sevbuild.guest.starter import TEMPLATES
from tests.support.cli import run
from tests.support.firmware import SECTIONS, make_firmware, standard_firmware
from tests.support.guests import write_manifest
from tests.support.kernels import BZIMAGE
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"


def _guest(folder: Path, **tables: Any) -> Path:
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(BZIMAGE)
    base: dict[str, Any] = {"firmware": {"path": "OVMF.fd"}, "kernel": {"path": "kernel", "cmdline": "quiet"}}
    return write_manifest(folder, **{**base, **tables})


def test_help_names_every_verb_and_the_exit_codes() -> None:
    for arguments in (["--help"], ["-h"]):
        result = run(*arguments)
        assert result.status == 0
        for verb in VERBS:
            assert f"  {verb} " in result.out
        assert "Exit codes: 0 done, 1 a mismatch was found, 2" in " ".join(result.out.split())
    assert run().status == 2


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_help(verb: str) -> None:
    result = run(verb, "--help")
    assert result.status == 0
    assert result.out.startswith(f"Usage: sevbuild {verb} ")
    assert result.err == ""


def test_the_version_is_told() -> None:
    assert run("--version").out == f"sevbuild {__version__}\n"
    assert run("measure", "--version").status == 2


def test_an_unknown_verb_is_a_usage_error() -> None:
    result = run("mesure", "x")
    assert (result.status, result.out) == (2, "")
    assert "mesure" in result.err


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "sevbuild", "--version"]
    assert subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.startswith(
        "sevbuild "
    )


def test_a_plan_shows_every_update(tmp_path: Path) -> None:
    path = _guest(tmp_path, vcpu={"count": 2})
    digest = run("measure", "-q", path).out.strip()
    result = run("plan", "-q", path)
    assert result.err == ""
    lines = result.out.splitlines()
    assert lines[0] == "snp/qemu/EPYC-v4/vcpus2: order profile, policy 0x30000, guest features 0x1"
    assert [line.split("  ")[0] for line in lines[2:]] == [str(index) for index in range(7)]
    assert lines[-1].endswith(digest)
    document = json.loads(run("plan", "-q", path, "--format", "json").out)
    assert [(entry["origin"], entry["page_type"]) for entry in document["updates"]] == [
        ("firmware", "normal"),
        ("section 0 (snp-sec-mem)", "zero"),
        ("section 1 (snp-secrets)", "secrets"),
        ("section 2 (cpuid)", "cpuid"),
        ("section 3 (kernel-hashes)", "normal"),
        ("vmsa 0", "vmsa"),
        ("vmsa 1", "vmsa"),
    ]
    assert document["updates"][-1]["launch_digest"] == digest
    assert document["updates"][0] | {"contents_digest": "", "launch_digest": ""} == {
        "index": 0,
        "origin": "firmware",
        "page_type": "normal",
        "gpa": "0xffff0000",
        "length": "0x10000",
        "contents_digest": "",
        "launch_digest": "",
    }
    assert document["updates"][1]["contents_digest"] is None


def test_a_plan_of_sev_names_commands(tmp_path: Path) -> None:
    path = _guest(tmp_path, launch={"mode": ["sev", "sev-es"], "profile": "qemu"})
    sev, sev_es = json.loads(run("plan", "-q", path, "-f", "json").out)
    assert [entry["page_type"] for entry in sev["updates"]] == ["data", "data"]
    assert [entry["page_type"] for entry in sev_es["updates"]] == ["data", "data", "vmsa"]
    assert (sev["guest_features"], sev["algorithm"]) == (None, "sha256")
    both = run("plan", "-q", path).out
    assert "sev/qemu/EPYC-v4/vcpus1: order profile, policy 0x1\n" in both
    one = run("plan", "-q", path, "--target", "sev-es/qemu/EPYC-v4/vcpus1").out
    assert one in both


def test_the_seed_is_the_digest_after_the_firmware(tmp_path: Path) -> None:
    path = _guest(tmp_path)
    seed = run("plan", "-q", path, "--seed").out.strip()
    plan = json.loads(run("plan", "-q", path, "-f", "json").out)
    assert plan["updates"][0]["launch_digest"] == seed
    several = run("plan", "-q", path, "--seed", "--set", "vcpu.count=[1, 2]").out
    assert several == f"{seed}  snp/qemu/EPYC-v4/vcpus1\n{seed}  snp/qemu/EPYC-v4/vcpus2\n"
    canonical = run("plan", path, "--seed", "--set", 'launch.order="canonical"')
    assert canonical.status == 2
    assert "the firmware is not launched first" in canonical.err
    # A manifest of the seed goes on to the same digest, and shows where it starts.
    sections = [{"gpa": gpa, "size": size, "kind": kind} for gpa, size, kind in SECTIONS]
    metadata = {"reset": 0x80B004, "hash-table": 0x810C00, "sections": sections}
    wanted = run("measure", "-q", path).out
    seeded = _guest(tmp_path, firmware={"seed": seed, "metadata": metadata})
    assert run("measure", "-q", seeded).out == wanted
    assert run("plan", "-q", seeded, "--seed").out.strip() == seed
    assert f"goes on from seed {seed}" in run("plan", "-q", seeded).out
    document = json.loads(run("measure", "-q", seeded, "-f", "json").out)
    assert document["inputs"][0] == {"role": "firmware", "name": "", "seed": seed}


def test_check_looks_at_everything_without_a_digest(tmp_path: Path) -> None:
    path = _guest(tmp_path)
    result = run("check", path)
    assert result.status == 0
    assert result.out == f"{path}: 1 target, 1 warning\n"
    assert "if it verifies kernel hashes: no compressed volume to look into" in result.err
    assert run("check", "-q", path).err == ""
    (tmp_path / "kernel").unlink()
    missing = run("check", path)
    assert (missing.status, missing.out) == (2, "")
    none = run("check", path, "--set", 'launch.mode="sev"', "--set", "firmware.path=nowhere")
    assert none.status == 2


def test_measure_lints_when_told(tmp_path: Path) -> None:
    path = _guest(tmp_path)
    assert "compressed volume" not in run("measure", path).err
    assert "compressed volume" in run("measure", path, "--lint").err


def test_check_of_ingredients_has_no_firmware_to_look_into(tmp_path: Path) -> None:
    firmware = {"seed": "ab" * 48, "metadata": {"sections": [{"gpa": 0, "size": 4096, "kind": 2}]}}
    path = write_manifest(tmp_path, firmware=firmware)
    assert run("check", path).out == f"{path}: 1 target, 0 warnings\n"


def test_inspect_shows_a_firmware() -> None:
    result = run("inspect", HELLO / "hello.fd")
    assert result.status == 0
    for part in (
        "hello.fd: firmware",
        "SEV metadata, in launch order",
        "5  kernel-hashes  0x810000",
        "footer table",
        "boots SNP",
    ):
        assert part in result.out
    document = json.loads(run("inspect", HELLO / "hello.fd", "-f", "json").out)
    assert document["name"] == "hello.fd"
    assert {finding["level"] for finding in document["findings"]} <= {"ok", "note", "warning", "error"}


def test_inspect_shows_an_svsm_and_a_bare_image(tmp_path: Path) -> None:
    (tmp_path / "svsm.bin").write_bytes(
        make_firmware(size=0x10000, sections=SECTIONS, reset=None, svsm_entry=0x40)
    )
    assert "SVSM entry point    0x40" in run("inspect", tmp_path / "svsm.bin").out
    (tmp_path / "bare").write_bytes(bytes(0x10000))
    assert "no footer table" in run("inspect", tmp_path / "bare").out


def test_inspect_shows_a_vmsa(tmp_path: Path) -> None:
    run("measure", "-q", HELLO / "guest.toml", "--dump-vmsa", tmp_path)
    result = run("inspect", tmp_path / "vmsa0.bin")
    assert "vmsa0.bin: VMSA" in result.out
    assert "EPYC-Milan" in result.out
    assert "rip" in result.out
    assert "\nrsp " not in result.out
    assert "\nrsp " in run("inspect", tmp_path / "vmsa0.bin", "--all").out
    for words in ((HELLO / "hello.fd",), (tmp_path / "vmsa0.bin", "-f", "json")):
        assert run("inspect", *words, "--all").status == 2
    document = json.loads(run("inspect", tmp_path / "vmsa0.bin", "-f", "json").out)
    assert document["sev_features"] == ["snp-active"]
    page = bytearray((tmp_path / "vmsa0.bin").read_bytes())
    page[0xD8] = 1
    (tmp_path / "odd.bin").write_bytes(page)
    assert "1 reserved bytes are set at 0xd8" in run("inspect", tmp_path / "odd.bin").out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MZ" + bytes(100), "not a firmware image"),
        (b"IGVM" + bytes(100), "unknown format version 0; 1 and 2 are known"),
        (b"text", "a text document"),
        (b"", "an empty file"),
    ],
)
def test_inspect_says_what_a_file_is_not(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(data)
    result = run("inspect", tmp_path / "file")
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_profiles_are_listed_and_shown(tmp_path: Path) -> None:
    listed = run("profiles").out
    assert listed.splitlines()[1].startswith("cloud-hypervisor-kvm ")
    assert len(json.loads(run("profiles", "-f", "json").out)) == 16
    shown = run("profiles", "gce-genoa").out
    assert "extends gce; * marks what differs from it" in shown
    assert "*  launch.vmsa-gpa" in shown
    assert "0xffffffffff000 (parent: 0xfffffffff000)" in shown
    assert "google/gce-tcb-verifier 74582c0 sev/sev.go: Genoa has 52" in shown
    assert "extends" not in run("profiles", "qemu").out.splitlines()[2]
    (tmp_path / "own.toml").write_text(
        'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "s"\nas-of = "now"\n'
    )
    assert run("profiles", tmp_path / "own.toml").out.startswith("mine: s\n")
    assert run("profiles", "nothing").status == 2


def test_cpus_are_listed() -> None:
    lines = run("cpus").out.splitlines()
    assert lines[0].split() == ["model", "signature", "family", "model", "number", "stepping"]
    assert any(line.split() == ["EPYC-Milan", "0x00a00f11", "25", "1", "1"] for line in lines)
    assert len(json.loads(run("cpus", "--format", "json").out)) == len(lines) - 1


def test_the_schema_is_printed() -> None:
    Draft7Validator.check_schema(json.loads(run("schema").out))


@pytest.mark.parametrize("template", TEMPLATES)
def test_init_writes_a_manifest(tmp_path: Path, template: str) -> None:
    path = tmp_path / "new" / "guest.toml"
    result = run("init", path, "--template", template)
    assert (result.status, result.out) == (0, "")
    assert f"wrote {path}" in result.err
    assert path.read_text() == run("init", "-", "-t", template).out
    again = run("init", path, "-t", template)
    assert again.status == 2
    assert "exists" in again.err
    assert run("init", path, "-t", template, "--force").status == 0
    measured = run("measure", "-q", path)
    # The templates of a guest that ships measure at once, the others name what is missing.
    assert measured.status == (0 if template in ("hello", "fleet") else 2)
    if measured.status:
        assert "cannot read" in measured.err


def test_init_refuses_what_it_does_not_know_and_where_it_cannot_write(tmp_path: Path) -> None:
    result = run("init", tmp_path / "x.toml", "-t", "nothing")
    assert result.status == 2
    assert "there are hello, snp, sev-es, fleet, ec2, gce" in result.err
    (tmp_path / "file").touch()
    assert run("init", tmp_path / "file" / "x.toml").status == 2


def test_the_fleet_that_init_writes_is_the_one_that_ships(tmp_path: Path) -> None:
    path = tmp_path / "guest.toml"
    run("init", path, "-t", "fleet")
    assert (
        run("measure", "-q", path).out == run("measure", "-q", ROOT / "guests" / "fleet" / "guest.toml").out
    )


def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.toml"
    assert run("measure", missing).err.splitlines() == [
        f"error: cannot read {missing}: No such file or directory",
        f"  hint: `sevbuild init {missing}` writes one to start from",
    ]
    assert "Is a directory" in run("measure", tmp_path).err
    (tmp_path / "latin.toml").write_bytes(b"schema = 1\n# \xe9\n")
    assert (
        run("measure", tmp_path / "latin.toml").err.splitlines()[0]
        == f"error: {tmp_path / 'latin.toml'}:2: not UTF-8 text"
    )


def test_completion_knows_the_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SEVBUILD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "sevbuild m")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert "measure" in run("m").out

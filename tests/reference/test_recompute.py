"""Digests from ingredients alone: ours, and those that others publish."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import SECTIONS, standard_firmware, standard_svsm
from tests.support.guests import digests_of, write_manifest
from tests.support.shared import ROOT, shared_file

DSTACK = "publish/dstack/measurement.snp.ingredients.json"
MEASUREMENT = slice(0x90, 0xC0)
"""Where an attestation report has the launch digest (SNP ABI table 23)."""

FLEET = ROOT / "guests" / "fleet"

RECORD: dict[str, Any] = {
    "ovmf_hash": "11" * 48,
    "kernel_hash": "22" * 32,
    "initrd_hash": "33" * 32,
    "base_cmdline": "console=ttyS0",
    "sev_hashes_table_gpa": 0x810C00,
    "sev_es_reset_eip": 0x80B004,
    "vcpus": 2,
    "vcpu_type": "EPYC-v4",
    "guest_features": 1,
    "ovmf_sections": [{"gpa": gpa, "size": size, "section_type": kind} for gpa, size, kind in SECTIONS],
}


def _guest(folder: Path, **tables: Any) -> dict[str, Any]:
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel")
    (folder / "initrd").write_bytes(b"initrd")
    kernel = {"path": "kernel", "cmdline": "n={vcpus} {cpu_signature} {{"}
    return {
        "firmware": {"path": "OVMF.fd"},
        "kernel": kernel,
        "initrd": {"path": "initrd"},
        **tables,
    }


def _published(folder: Path, tables: dict[str, Any]) -> Path:
    result = run("measure", "-q", write_manifest(folder, **tables), "--format", "json")
    assert result.status == 0, result.err
    path = folder / "reference-values.json"
    path.write_text(result.out)
    return path


def _file(folder: Path, document: Any) -> Path:
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    return path


def test_the_document_of_dstack_gives_the_measurement_of_the_hardware_report() -> None:
    """Dstack-TEE/dstack 312dc60: its ingredients, and a Milan report with that measurement."""
    reported = shared_file("publish/dstack/extracted-report.bin").read_bytes()[MEASUREMENT].hex()
    result = run("recompute", shared_file(DSTACK))
    assert (result.status, result.out, result.err) == (0, f"{reported}\n", "")
    assert run("recompute", shared_file(DSTACK), "--expect", reported).status == 0
    wrong = run("recompute", shared_file(DSTACK), "--vcpus", 3, "--expect", reported)
    assert (wrong.status, wrong.out) == (1, "")


@pytest.mark.parametrize("key", sorted(RECORD))
def test_every_ingredient_enters(tmp_path: Path, key: str) -> None:
    own = run("recompute", _file(tmp_path, RECORD)).out
    assert len(own) == 97
    other: dict[str, Any] = {
        "base_cmdline": "console=ttyS1",
        "sev_hashes_table_gpa": 0x810C80,
        "sev_es_reset_eip": 0x80B008,
        "vcpus": 3,
        "vcpu_type": "EPYC-Milan",
        "guest_features": 0x21,
        "ovmf_sections": RECORD["ovmf_sections"][::-1],
    }
    value = other.get(key) or RECORD[key][:-1] + "f"
    changed = run("recompute", _file(tmp_path, RECORD | {key: value}))
    assert changed.status == 0, changed.err
    assert changed.out != own


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(("key", "value"), [("gpa", 0x900000), ("size", 0x4000), ("section_type", 99)])
def test_every_section_enters(tmp_path: Path, index: int, key: str, value: int) -> None:
    record = copy.deepcopy(RECORD)
    del record["kernel_hash"]
    own = run("recompute", _file(tmp_path, record)).out
    record["ovmf_sections"][index][key] = value
    changed = run("recompute", _file(tmp_path, record))
    same = key == "section_type" and record["ovmf_sections"][index]["gpa"] in (0x800000, 0x810000)
    # An unknown kind, and kernel hashes without a kernel, are launched as the zero pages they were.
    assert (changed.out == own) == (same and changed.status == 0)


def test_a_foreign_document_is_the_guest_of_its_ingredients(tmp_path: Path) -> None:
    tables = {
        "launch": {"mode": "snp", "profile": "qemu", "guest-features": 1},
        "firmware": {
            "seed": RECORD["ovmf_hash"],
            "metadata": {
                "reset": RECORD["sev_es_reset_eip"],
                "hash-table": RECORD["sev_hashes_table_gpa"],
                "sections": [{"gpa": gpa, "size": size, "kind": kind} for gpa, size, kind in SECTIONS],
            },
        },
        "kernel": {"sha256": RECORD["kernel_hash"], "cmdline": "quiet"},
        "initrd": {"sha256": RECORD["initrd_hash"]},
        "vcpu": {"count": [1, 5], "model": ["EPYC-Milan", "EPYC-Genoa"]},
    }
    lines = {f"{digest}  {label}" for label, digest in digests_of(tmp_path, **tables).items()}
    flags = ("--vcpus", "1,5", "--cpu", "EPYC-Milan", "--cpu", "EPYC-Genoa", "--cmdline", "quiet")
    assert set(run("recompute", _file(tmp_path, RECORD), *flags).out.splitlines()) == lines


def test_a_list_of_records_as_secretvm_has_it(tmp_path: Path) -> None:
    small = {**RECORD, "vm_type": "small", "rootfs_hash": "aa", "artifacts_ver": "v1"}
    large = {**small, "vm_type": "large", "vcpus": 8}
    own = run("recompute", _file(tmp_path, small)).out
    path = _file(tmp_path, [small, large])
    picked = run("recompute", path, "--select", "vm_type=small")
    assert picked.out == own
    assert picked.err.endswith("note: no ingredient, ignored: artifacts_ver, rootfs_hash, vm_type\n")
    assert run("recompute", path, "-q", "--select", "vm_type=small").err == ""
    # The flags alone fit one record.
    assert run("recompute", path, "--vcpus", 2).out == own
    assert run("recompute", path, "--vcpus", 8).out == run("recompute", path, "--select", "vcpus=8").out
    several = run("recompute", path)
    assert (several.status, several.out) == (2, "")
    assert "2 records match" in several.err
    assert "they differ in vcpus, vm_type" in several.err
    assert "no record matches" in run("recompute", path, "--select", "vm_type=huge").err
    assert "did you mean vm_type?" in run("recompute", path, "--select", "vmtype=x").err
    assert run("recompute", _file(tmp_path, [small])).out == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ovmf_hash": "11"}, "$.ovmf_hash: must be 96 hexadecimal digits"),
        ({"initrd_hash": None}, "$.initrd_hash: "),
        ({"vcpus": None}, "$.vcpus: missing: a number is required"),
        ({"vcpus": "many"}, "$.vcpus: must be a number"),
        ({"vcpus": 0}, "$.vcpus: must be 1..4096, got 0"),
        ({"guest_features": None}, "$.guest_features: missing"),
        ({"vcpu_type": "EPYC-Roma"}, "$.vcpu_type: unknown CPU model 'EPYC-Roma'"),
        ({"ovmf_sections": []}, "$.ovmf_sections: must be a list of sections"),
        ({"ovmf_sections": [1]}, "$.ovmf_sections[0]: must be an object"),
        ({"ovmf_sections": [{}]}, "$.ovmf_sections[0].gpa: missing"),
        ({"sev_es_reset_eip": None}, "no SEV-ES reset block"),
        ({"ovmf_sections": RECORD["ovmf_sections"] * 2}, "overlap"),
    ],
)
def test_what_a_foreign_document_lacks_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    result = run("recompute", _file(tmp_path, RECORD | change))
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_numbers_in_strings_are_read(tmp_path: Path) -> None:
    words = {"vcpus": "2", "sev_es_reset_eip": hex(0x80B004)}
    own = run("recompute", _file(tmp_path, RECORD)).out
    assert run("recompute", _file(tmp_path, RECORD | words)).out == own
    unnamed = {key: value for key, value in RECORD.items() if key != "vcpu_type"}
    assert "give it with --cpu" in " ".join(run("recompute", _file(tmp_path, unnamed)).err.split())
    assert run("recompute", _file(tmp_path, unnamed), "--cpu", "0x00800f12").out == own


def test_contrast_digests_of_one_vcpu_are_extended(tmp_path: Path) -> None:
    """The digest of one vCPU and the AP's address give those of any count, as the files do."""
    tables = _guest(tmp_path, vcpu={"count": [1, 2, 6], "model": "EPYC-Milan"})
    tables["kernel"]["cmdline"] = "quiet"
    digests = list(digests_of(tmp_path, **tables).values())
    record = {"ProductName": "Milan", "TrustedMeasurement": digests[0], "APEIP": "0080b004", "CPUs": 6}
    record["Platform"] = "Metal-QEMU-SNP"
    for document in (record, [record], {"ReferenceValues": {"snp": [record]}}):
        result = run("recompute", _file(tmp_path, document))
        assert result.out == digests[2] + "\n"
        assert "note: guest features 0x1 (profile qemu)" in result.err
        assert "ignored: Platform" in result.err
    path = _file(tmp_path, record)
    lines = run("recompute", path, "--vcpus", "1-2").out.splitlines()
    assert [line.split()[0] for line in lines] == digests[:2]
    assert run("recompute", path, "--cpu", "EPYC-Milan").out == digests[2] + "\n"
    for flags, message in (
        (["--cpu", "EPYC-Genoa"], "its CPU model cannot be changed"),
        (["--cmdline", "x"], "its command line cannot be changed"),
    ):
        refused = run("recompute", path, *flags)
        assert (refused.status, refused.out) == (2, "")
        assert message in refused.err
    wrong = run("recompute", _file(tmp_path, record | {"APEIP": "x"}))
    assert "$.APEIP: must be 8 hexadecimal digits" in wrong.err
    prefixed = run("recompute", _file(tmp_path, record | {"TrustedMeasurement": f"sha384:{digests[0]}"}))
    assert "without 'sha384:'" in prefixed.err
    absent = {key: value for key, value in record.items() if key != "APEIP"}
    assert "$.APEIP: missing" in run("recompute", _file(tmp_path, absent)).err


@pytest.mark.parametrize("modes", ['["sev-es"]', '["sev"]'])
def test_a_profile_that_does_not_launch_snp_recomputes_nothing(tmp_path: Path, modes: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        f'schema = 1\nname = "own"\nextends = "qemu"\nsummary = "s"\nas-of = "now"\nlaunch.modes = {modes}\n'
    )
    milan = {"ProductName": "Milan", "TrustedMeasurement": "00" * 48, "APEIP": "0080b004", "CPUs": 2}
    for record in (RECORD, milan):
        result = run("recompute", _file(tmp_path, record), "--profile", own)
        assert (result.status, result.out) == (2, "")
        assert "profile own cannot launch snp" in result.err


@pytest.mark.parametrize("profile", ["qemu", "ec2", "gce"])
def test_our_ingredients_extend_to_any_target(tmp_path: Path, profile: str) -> None:
    launch = {"mode": "snp", "profile": profile}
    tables = _guest(tmp_path, launch=launch, vcpu={"count": 1, "model": "EPYC-v4"})
    path = _published(tmp_path, tables)
    assert run("recompute", path).out == run("measure", "-q", tmp_path / "guest.toml").out
    others = dict(tables, vcpu={"count": [1, 2, 6], "model": ["EPYC-Genoa", "EPYC-Milan"]})
    lines = {f"{digest}  {label}" for label, digest in digests_of(tmp_path, **others).items()}
    flags = ("--vcpus", "1-2,6", "--cpu", "EPYC-Genoa", "--cpu", "EPYC-Milan")
    (tmp_path / "OVMF.fd").unlink()
    (tmp_path / "kernel").unlink()
    assert set(run("recompute", path, *flags).out.splitlines()) == lines


def test_another_command_line_gives_the_digest_of_such_a_guest(tmp_path: Path) -> None:
    tables = _guest(tmp_path)
    path = _published(tmp_path, tables)
    tables["kernel"]["cmdline"] = "quiet"
    (wanted,) = digests_of(tmp_path, **tables).values()
    (tmp_path / "cmdline").write_bytes(b"quiet")
    assert run("recompute", path, "--cmdline", "quiet").out.strip() == wanted
    assert run("recompute", path, "--cmdline-file", tmp_path / "cmdline").out.strip() == wanted
    assert run("recompute", path, "--cmdline", "").out.strip() not in ("", wanted)
    both = run("recompute", path, "--cmdline", "a", "--cmdline-file", tmp_path / "cmdline")
    assert both.status == 2
    (tmp_path / "cmdline").write_bytes(b"a\0")
    assert "contains a NUL" in run("recompute", path, "--cmdline-file", tmp_path / "cmdline").err
    hello = ROOT / "guests" / "hello" / "reference-values.json"
    assert "the guest has no kernel" in run("recompute", hello, "--cmdline", "a").err


def test_an_svsm_is_part_of_the_seed(tmp_path: Path) -> None:
    svsm = standard_svsm()
    (tmp_path / "svsm.bin").write_bytes(svsm)
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    tables: dict[str, Any] = {
        "launch": {"profile": "svsm-qemu"},
        "firmware": {"path": "OVMF.fd"},
        "svsm": {"path": "svsm.bin", "vars-size": 0x1000},
    }
    path = _published(tmp_path, tables)
    lines = [digest for _, digest in digests_of(tmp_path, **tables, vcpu={"count": [1, 4]}).items()]
    assert [line.split()[0] for line in run("recompute", path, "--vcpus", "1,4").out.splitlines()] == lines


def test_the_whole_fleet_from_three_sets_of_ingredients() -> None:
    result = run("recompute", FLEET / "reference-values.json")
    assert result.out == run("measure", "-q", FLEET / "guest.toml").out
    assert result.err == ""
    some = run("recompute", FLEET / "reference-values.json", "--select", "profile=gce", "--select", "vcpus=3")
    assert len(some.out.splitlines()) == 5
    release = run("recompute", FLEET / "reference-values.json", "--select", "release=2.0.0")
    assert "no value matches" in release.err


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ({"mode": "sev"}, "a digest of mode sev is one SHA-256 over firmware and all else"),
        ({"mode": "sev-es"}, "a digest of mode sev-es is one SHA-256 over firmware and all else"),
        ({"mode": "snp", "order": "canonical"}, "in canonical order other data come before the firmware"),
    ],
)
def test_what_cannot_be_extended_says_why(tmp_path: Path, launch: dict[str, Any], message: str) -> None:
    path = _published(tmp_path, _guest(tmp_path, launch={"profile": "qemu", **launch}))
    result = run("recompute", path, "--vcpus", 2)
    assert (result.status, result.out) == (2, "")
    assert message in result.err
    verified = run("verify", path)
    assert verified.status == 2
    assert message in verified.out
    assert "1 target: 1 not checked" in verified.out
    assert run("verify", path, "--against", tmp_path / "guest.toml").status == 0


@pytest.mark.parametrize(
    "path",
    [
        ("ingredients", 0, "seed"),
        ("ingredients", 0, "reset"),
        ("ingredients", 0, "hash_table"),
        ("ingredients", 0, "kernel", "sha256"),
        ("ingredients", 0, "kernel", "initrd_sha256"),
        ("ingredients", 0, "kernel", "cmdline"),
        ("ingredients", 0, "sections", 0, "gpa"),
        ("ingredients", 0, "sections", 1, "gpa"),
        ("profiles", 0, "vmsa_gpa"),
        ("profiles", 0, "initial_state", "g_pat"),
        ("profiles", 0, "initial_state", "snp", "mxcsr"),
        ("values", 0, "guest_features"),
        ("values", 0, "signature"),
    ],
)
def test_changing_any_one_ingredient_of_ours_is_found(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    published = _published(tmp_path, _guest(tmp_path, vcpu={"count": 2}))
    document = json.loads(published.read_text())
    node = document
    for key in path[:-1]:
        node = node[key]
    old = node[path[-1]]
    if path[-1] in ("gpa", "vmsa_gpa"):
        node[path[-1]] = hex(int(old, 16) + 0x100000 * (1 if path[-1] == "gpa" else -1))
    elif path[-1] == "hash_table":
        node[path[-1]] = hex(int(old, 16) + 0x10)
    elif path[-1] == "cmdline":
        node[path[-1]] = old + "!"
    else:
        node[path[-1]] = old[:-1] + ("0" if old[-1] != "0" else "1")
    changed = _file(tmp_path, document)
    result = run("recompute", changed)
    assert result.status == 0
    assert result.out.strip() != run("measure", "-q", tmp_path / "guest.toml").out.strip()
    assert "the document itself says" in result.err
    verified = run("verify", changed)
    assert verified.status == 1
    assert f"    digest: {document['values'][0]['digest']} -> {result.out}" in verified.out
    assert run("verify", changed, "-q", "--against", tmp_path / "guest.toml").status == 1


def test_a_line_that_is_not_that_of_its_digest(tmp_path: Path) -> None:
    tables = _guest(tmp_path)
    tables["kernel"]["cmdline"] = "quiet"
    document = json.loads(_published(tmp_path, tables).read_text())
    document["ingredients"][0]["kernel"]["cmdline"] = "loud"
    assert "cmdline_sha256 is not that of cmdline" in run("recompute", _file(tmp_path, document)).err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--vcpus", "x"], "--vcpus x: not a number or a range"),
        (["--vcpus", "0"], "--vcpus 0: must be within 1..4096"),
        (["--vcpus", "3-2"], "--vcpus 3-2: must be within"),
        (["--cpu", "EPYC-Milano"], "did you mean EPYC-Milan?"),
        (["--select", "vcpus"], "--select vcpus: not of the form KEY=VALUE"),
        (["--select", "vcpu=1"], "did you mean vcpus?"),
        (["--select", "kernel_hashes=true"], "no value matches the selection"),
    ],
)
def test_a_wrong_request_is_an_error(flags: list[str], message: str) -> None:
    result = run("recompute", FLEET / "reference-values.json", *flags)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_documents_of_no_known_kind(tmp_path: Path) -> None:
    documents: list[Any] = [{}, [], [RECORD, 1], 7]
    for document in documents:
        result = run("recompute", _file(tmp_path, document))
        assert result.status == 2
        assert "unknown kind of ingredients" in result.err


def test_documents_without_ingredients_are_read(tmp_path: Path) -> None:
    document = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())
    del document["ingredients"], document["profiles"], document["values"][0]["ingredients"]
    path = _file(tmp_path, document)
    assert "the document has no ingredients of it" in run("recompute", path).err
    assert "1 not checked" in run("verify", path).out
    hello = ROOT / "guests" / "hello" / "guest.toml"
    assert run("verify", path, "--against", hello).out == "1 target: 1 equal\n"


def test_sections_without_end_are_refused(tmp_path: Path) -> None:
    document = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())
    sections = [{"kind": "snp-sec-mem", "number": 1, "gpa": "0x0", "size": "0x100000000"}] * 2
    document["ingredients"][0]["sections"] = sections
    result = run("recompute", _file(tmp_path, document))
    assert (result.status, result.out) == (2, "")
    assert "snp/qemu: the sections are too large; the limit is 0x100000000 bytes in all" in result.err


def test_vcpus_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((ROOT / "guests/hello/reference-values.json").read_text())
    path = tmp_path / "values.json"
    path.write_text(json.dumps(document))
    monkeypatch.setattr("sevbuild.reference.recompute._MOST_VMSAS", 10)
    # A smaller count is part of a larger one's chain, another CPU is not.
    assert run("recompute", path, "--vcpus", "1-10").status == 0
    for words in (["--vcpus", "11"], ["--vcpus", "6", "--cpu", "EPYC-Milan", "--cpu", "EPYC-Genoa"]):
        result = run("recompute", path, *words)
        assert (result.status, result.out) == (2, "")
        assert "the document has too many vCPUs; the limit is 10 in all" in result.err


def test_other_switches_of_a_selection(tmp_path: Path) -> None:
    record = {**RECORD, "debug": False, "note": None}
    path = _file(tmp_path, [record, record | {"debug": True}])
    assert run("recompute", path, "-q", "--select", "debug=true", "--select", "note=null").status == 0
    del record["kernel_hash"]
    assert "the document has no kernel" in run("recompute", _file(tmp_path, record), "--cmdline", "a").err
    named = run(
        "recompute", FLEET / "reference-values.json", "--select", "release=1.0.0", "--select", "vcpus=1"
    )
    assert len(named.out.splitlines()) == 15

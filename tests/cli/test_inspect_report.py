"""`sevbuild inspect` on evidence: each field by its ABI name, and what came with it."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.support.amd_ca import authority
from tests.support.cli import run
from tests.support.evidence import FORMS_OF_OURS, binding, hcl, message, quote, runtime, table
from tests.support.shared import needs_vectors, shared_file


def shown(folder: Path, data: bytes) -> tuple[str, dict[str, Any]]:
    """Return what is printed of evidence, as a table and as JSON."""
    path = folder / "report.bin"
    path.write_bytes(data)
    text, document = run("inspect", path), run("inspect", path, "-f", "json")
    assert (text.status, text.err, document.status) == (0, "", 0)
    return text.out, json.loads(document.out)


@pytest.mark.parametrize("form", FORMS_OF_OURS)
def test_evidence_of_each_form_is_recognized(tmp_path: Path, form: str) -> None:
    report = authority("Turin").report(version=5, launch_mit_vector=0x3F)
    text, document = shown(tmp_path, FORMS_OF_OURS[form](report))
    assert text.startswith("report.bin: ")
    assert ", version 5, Turin\n" in text.splitlines(keepends=True)[0]
    assert document["kind"] == "attestation-report"
    assert document["product"] == "Turin"


def test_each_field_is_shown(tmp_path: Path) -> None:
    home = authority("Turin")
    raw = home.report(
        version=5,
        policy=0x3 << 24 | 0x13A37,
        platform_info=0x65 | 1 << 40,
        vmpl=0xFFFFFFFF,
        key_info=0b00111,
        current_mit_vector=3,
    )
    text, document = shown(tmp_path, raw)
    rows = dict(line.split(maxsplit=1) for line in text.splitlines()[3:-2])
    assert rows["POLICY"] == "0x3013a37 (ABI 58.55 or later, smt, ciphertext-hiding-dram, page-swap-disable)"
    assert rows["PLATFORM_INFO"] == "0x10000000065 (smt, ecc, alias-check-complete, iommu-write-safe, bit 40)"
    assert rows["VMPL"] == "0xffffffff (the host asked for it)"
    assert (rows["AUTHOR_KEY_EN"], rows["MASK_CHIP_KEY"], rows["SIGNING_KEY"]) == ("yes", "yes", "VLEK")
    assert rows["CURRENT_TCB"] == "0xdb00000018000401 (fmc 1, boot-loader 4, tee 0, snp 24, microcode 219)"
    assert (rows["HOST_DATA"], rows["CPUID_FAM_ID"]) == ("32 bytes of zeros", "0x1a")
    assert (rows["CURRENT_VERSION"], rows["CURRENT_MIT_VECTOR"]) == ("1.55.40", "0x3")
    report = document["report"]
    assert {name.upper() for name in report} == set(rows)
    assert report["policy"]["bits"] == ["smt", "ciphertext-hiding-dram", "page-swap-disable"]
    assert report["measurement"] == bytes(range(48)).hex()
    assert report["current_tcb"]["parts"]["fmc"] == 1


def test_what_a_version_does_not_have_is_said(tmp_path: Path) -> None:
    text, document = shown(tmp_path, authority().report(version=2))
    assert ", version 2, no product is named\n" in text
    assert "CPUID_FAM_ID        not in this version\n" in text
    # A chip's id of 64 bytes is of Milan or Genoa, which have one layout.
    assert "REPORTED_TCB        0xdb18000000000004 (boot-loader 4, " in text
    assert document["product"] is None
    text, _document = shown(tmp_path, authority("Turin").report(version=2))
    assert "REPORTED_TCB        0xdb00000018000401 (which parts these are depends on the product)\n" in text


def test_reserved_fields_that_are_set_are_told(tmp_path: Path) -> None:
    raw = bytearray(authority().report())
    raw[0x4C] = 1
    text, document = shown(tmp_path, authority().signed(raw))
    assert "\nreserved, and set: 0x04c\n" in text
    assert document["reserved"] == ["0x04c"]


def test_certificates_are_listed_by_kind(tmp_path: Path) -> None:
    home = authority()
    found: list[dict[str, Any]] = []
    odd = home.ask._replace(subject=(("CN", "x\x1b[31m"),))
    for vek, above, kinds in (
        (home.vcek.der, home.ask.der, ["VCEK", "ASK", "ARK"]),
        (home.vlek.der, home.asvk.der, ["VLEK", "ASVK", "ARK"]),
        (b"\x30\x03", odd.der, [None, None, "ARK"]),
    ):
        data = home.report() + table({"VCEK": vek, "ASK": above, "ARK": home.ark.der})
        text, document = shown(tmp_path, data)
        found = document["certificates"]
        assert [one["kind"] for one in found] == kinds
        assert "\x1b" not in text
    assert found[0]["fault"].endswith(
        "report.bin: certificate table: VCEK: an element is longer than what holds it, at offset 0"
    )
    bent = home.vcek.without("1.3.6.1.4.1.3704.1.2").der
    _text, document = shown(tmp_path, home.report() + table({"VCEK": bent}))
    found = document["certificates"]
    assert "productName" in found[0]["fault"]


def test_what_azure_binds_is_shown_with_its_checks(tmp_path: Path) -> None:
    data = runtime()
    report = hcl(authority().report(report_data=binding(data)), data)
    text, document = shown(tmp_path, report)
    assert "binding  pass         REPORT_DATA is the SHA-256 of the runtime data\n" in text
    assert "quote    not checked  no TPM quote came with the HCL report\n" in text
    assert document["hcl"]["nonce"] is None
    for nonce, said in ((b"nonce", b"nonce".hex()), (b"", "none")):
        evidence = {"hcl_report": b64encode(report).decode(), "tpm_quote": quote(message(nonce))}
        text, document = shown(tmp_path, json.dumps(evidence).encode())
        assert f"nonce of the quote: {said}\n" in text
        assert len(document["hcl"]["pcrs"]) == 24


@needs_vectors
def test_the_folder_of_configfs_tsm_is_shown(tmp_path: Path) -> None:
    report = shared_file("reports/genoa-v5-oak.report.bin").read_bytes()
    (tmp_path / "outblob").write_bytes(report)
    shown = run("inspect", tmp_path)
    assert shown.status == 0
    assert shown.out.startswith(f"{tmp_path.name}: evidence of configfs-tsm, version 5, Genoa\n")
    assert run("inspect", f"{tmp_path}/").out == shown.out


@needs_vectors
def test_every_vector_is_shown() -> None:
    for path in [
        *shared_file("reports").glob("*.report.bin"),
        *shared_file("reports").glob("*evidence*.json"),
        shared_file("publish/veraison/sevsnp-tsm-report.json"),
        *shared_file("publish/dstack").glob("sev*attestation.*"),
    ]:
        found = run("inspect", path)
        assert (found.status, found.err) == (0, "")
        assert "Nothing of this is verified: `sevbuild verify` does that.\n" in found.out


def test_what_is_no_report_is_told(tmp_path: Path) -> None:
    path = tmp_path / "report.bin"
    path.write_bytes(authority().report()[:1183] + b"\1")
    found = run("inspect", path)
    assert found.status == 2
    assert "byte 0x49f is set, where a report has zeros that no signature covers" in found.err


def test_a_report_comes_by_standard_input() -> None:
    found = run("inspect", "-", stdin=authority().report().hex())
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith("stdin: an attestation report, version 3, Milan\n")
    other = run("inspect", "-", stdin="firmware")
    assert (other.status, other.out) == (2, "")
    assert other.err.startswith("error: stdin: no evidence of a guest\n")

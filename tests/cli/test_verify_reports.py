"""`sevbuild verify REPORT`: hardware's reports to AMD's root, targets by name, and every option."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from sevbuild.attest.check_names import CHECKS
from tests.support.cli import Result, run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT, shared_file

MEASUREMENT = slice(0x90, 0xC0)
HELLO = ROOT / "guests" / "hello" / "reference-values.json"
AT = ("--at", "2026-06-01")
LATER = ("--at", "2026-11-01")
REPORTS: dict[str, tuple[str, ...]] = {
    "turin-v5-oak": AT,
    "turin-v5-azure-aci": AT,
    "turin-v5-bitcoin-pir-a": LATER,
    "genoa-v5-oak": AT,
    "genoa-v3-routex": AT,
    "genoa-v3-azure-aci": AT,
    "siena-bergamo-v5-attestation-rs": ("--at", "2026-08-01"),
    "milan-v3-azure-aci": AT,
    "milan-v3-azure-cvm": AT,
    "milan-v3-aws-vlek": ("--at", "2025-06-01", "--vmpl", "1"),
    "milan-v2-gcp-automata": (*AT, "--product", "milan"),
}
"""Every report that has a certificate, and what it takes for it to hold."""


def report_of(name: str) -> Path:
    return shared_file(f"reports/{name}.report.bin")


def measurement(path: Path) -> str:
    return path.read_bytes()[MEASUREMENT].hex()


def given(name: str) -> list[str]:
    """Return the arguments that name a report, its certificate and its launch digest."""
    kind = "vlek" if "vlek" in name else "vcek"
    report, vek = report_of(name), shared_file(f"reports/{name}.{kind}.der")
    return ["verify", str(report), "--certs", str(vek), "--expect", measurement(report)]


def verdict(result: Result) -> dict[str, Any]:
    """Return what `--format json` says of the one report."""
    (entry,) = json.loads(result.out)["reports"]
    assert isinstance(entry, dict)
    return entry


def failures(result: Result) -> list[str]:
    """Return the checks that failed, and those that are required and were not made."""
    return [
        check["name"]
        for check in verdict(result)["checks"]
        if check["status"] == "fail" or (check["status"] == "not_checked" and check["required"])
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_hardware_verifies_to_the_root_of_amd(name: str) -> None:
    result = run(*given(name), *REPORTS[name])
    assert (result.status, result.err) == (0, "")
    product = name.partition("-")[0].title().replace("Siena", "Genoa")
    assert f"  trust anchor: AMD's ARK-{product} (SHA-256 " in result.out
    last = result.out.splitlines()[-1]
    assert last.startswith(f"{report_of(name)}: verified (")
    assert "; not checked: revocation, " in last


@pytest.mark.parametrize(
    ("name", "options", "refused"),
    [
        ("milan-v3-aws-vlek", ("--at", "2025-06-01"), ["vmpl"]),
        ("milan-v3-aws-vlek", ("--at", "2026-06-01", "--vmpl", "1"), ["validity"]),
        ("milan-v2-gcp-automata", AT, ["product"]),
        ("milan-v2-gcp-automata", (*AT, "--product", "Genoa"), ["product"]),
        ("milan-v3-azure-aci", (*AT, "--product", "Genoa"), ["product"]),
        ("genoa-v5-oak", ("--at", "2020-01-01"), ["validity"]),
    ],
)
def test_without_what_it_takes_it_is_refused_for_that_alone(
    name: str, options: tuple[str, ...], refused: list[str]
) -> None:
    result = run(*given(name), *options, "--format", "json")
    assert result.status == 1
    assert failures(result) == refused


def test_without_a_certificate_the_signature_is_not_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path))
    path = report_of("milan-v2-vmpl2-cocos-nocert")
    result = run("verify", path, "--product", "Milan", "--vmpl", "2", "--expect", measurement(path))
    assert result.status == 1
    assert (
        "not checked, required  no VCEK is given; `sevbuild certs fetch REPORT` brings it from https"
        in " ".join(
            line.partition("signature")[2].strip() for line in result.out.splitlines() if "signature" in line
        )
    )
    last = result.out.splitlines()[-1]
    assert "refused: provisional-firmware; not checked though required: signature, " in last
    fetched = report_of("genoa-v5-oak")
    result = run("verify", fetched, "--expect", measurement(fetched), "--format", "json")
    assert result.status == 1
    assert failures(result)[0] == "signature"
    assert verdict(result)["trust_anchor"] is None


def test_a_target_is_named(tmp_path: Path) -> None:
    """The hardware report of dstack against what it published, and against a manifest of the same."""
    evidence = shared_file("publish/dstack/sev-snp-attestation.json")
    ingredients = shared_file("publish/dstack/measurement.snp.ingredients.json")
    published = json.loads(ingredients.read_text())
    tables = {
        "guest": {"name": "dstack", "version": "0.6.0"},
        "launch": {"mode": "snp", "profile": "qemu", "guest-features": published["guest_features"]},
        "firmware": {
            "seed": published["ovmf_hash"],
            "metadata": {
                "reset": published["sev_es_reset_eip"],
                "hash-table": published["sev_hashes_table_gpa"],
                "sections": [
                    {"gpa": one["gpa"], "size": one["size"], "kind": one["section_type"]}
                    for one in published["ovmf_sections"]
                ],
            },
        },
        "kernel": {"sha256": published["kernel_hash"], "cmdline": published["base_cmdline"]},
        "initrd": {"sha256": published["initrd_hash"]},
        "vcpu": {"count": "1-4", "model": published["vcpu_type"]},
    }
    manifest = write_manifest(tmp_path, **tables)
    values = tmp_path / "reference-values.json"
    values.write_text(run("measure", manifest, "-f", "json").out)
    for against, name in (
        (manifest, "dstack 0.6.0, snp/qemu/EPYC-v4/vcpus2"),
        (values, "dstack 0.6.0, snp/qemu/EPYC-v4/vcpus2"),
        (ingredients, "measurement.snp.ingredients.json, snp/qemu/EPYC-v4/vcpus2"),
    ):
        result = run("verify", evidence, "--against", against, *LATER, "--quiet")
        assert (result.status, result.err) == (0, "")
        assert f"\n  target: {name}\n" in result.out
        assert f" pass         the launch digest of {name}\n" in result.out
    # Several releases, the right one among them; and one that has another vCPU count alone.
    both = run(
        "verify", evidence, "--against", HELLO, "--against", values, *LATER, "--quiet", "--format", "json"
    )
    assert verdict(both)["target"] == {
        "guest": "dstack",
        "version": "0.6.0",
        "label": "snp/qemu/EPYC-v4/vcpus2",
    }
    other = run("verify", evidence, "--against", values, "--target", "vcpus3", *LATER, "--format", "json")
    assert (other.status, failures(other)) == (1, ["measurement"])
    text = run("verify", evidence, "--against", HELLO, *LATER)
    assert text.status == 1
    # The cause is looked for at once, and what is said of it is no part of the verdict.
    assert "sevbuild explain" not in text.out
    assert f"sevbuild explain {HELLO} " in text.err
    expected = run("verify", evidence, "--expect", "00" * 48, *LATER)
    assert "which input differs: `sevbuild explain GUEST REPORT`" in expected.out


def test_the_verdict_as_json() -> None:
    result = run(*given("genoa-v5-oak"), *AT, "--format", "json")
    whole = json.loads(result.out)
    assert {key: whole[key] for key in ("schema", "status", "verified")} == {
        "schema": 1,
        "status": "affirming",
        "verified": True,
    }
    entry = verdict(result)
    assert entry["at"] == "2026-06-01T00:00:00Z"
    assert (entry["form"], entry["report"]["vmpl"]) == ("report", 0)
    assert entry["trustworthiness"] == {
        "instance_identity": 2,
        "configuration": 2,
        "executables": 3,
        "hardware": 2,
    }
    names = [check["name"].replace("_", "-") for check in entry["checks"]]
    assert names == [name for name in CHECKS if name in names]
    assert set(CHECKS) - set(names) == {"csp-id", "hcl-binding", "tpm-quote", "tpm-nonce"}
    assert entry["not_checked"] == [
        check["name"] for check in entry["checks"] if check["status"] == "not_checked"
    ]
    # The date is given, so nothing depends on when this is run.
    assert run(*given("genoa-v5-oak"), *AT, "--format", "json").out == result.out


@pytest.mark.parametrize(
    ("options", "status", "claims"),
    [
        (("--vmpl", "1"), "contraindicated", {"configuration": 96}),
        (("--report-data", "00" * 64), "contraindicated", {"instance_identity": 97}),
        (("--at", "2020-01-01"), "contraindicated", {"hardware": 97}),
    ],
)
def test_what_a_failure_says_of_the_claims(
    options: tuple[str, ...], status: str, claims: dict[str, int]
) -> None:
    at = () if "--at" in options else AT
    entry = verdict(run(*given("genoa-v5-oak"), *at, *options, "--format", "json"))
    plain = {"instance_identity": 2, "configuration": 2, "executables": 3, "hardware": 2}
    assert (entry["status"], entry["trustworthiness"]) == (status, {**plain, **claims})


def test_an_old_tcb_is_a_warning(tmp_path: Path) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text("schema = 1\n[minimum-tcb.Genoa]\nboot-loader = 11\ntee = 0\nsnp = 1\nmicrocode = 1\n")
    result = run(*given("genoa-v5-oak"), *AT, "--appraisal", policy, "--format", "json")
    entry = verdict(result)
    assert (result.status, entry["status"], entry["trustworthiness"]["hardware"]) == (1, "warning", 32)
    nothing = run(*given("genoa-v5-oak")[:4], *AT, "--format", "json")
    entry = verdict(nothing)
    assert (nothing.status, entry["status"], entry["trustworthiness"]["executables"]) == (1, "warning", 33)


@pytest.mark.slow
def test_a_verdict_takes_no_longer_than_twice_its_libraries() -> None:
    words = [*given("genoa-v5-oak"), *AT]
    ours = [sys.executable, "-m", "sevbuild", *words]
    theirs = [sys.executable, "-c", "import typer; from cryptography import x509"]
    ratios = []
    for _ in range(9):
        times = []
        for command in (ours, theirs):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    assert statistics.median(ratios) <= 2, ratios


def test_several_reports_are_counted() -> None:
    names = ("genoa-v5-oak", "genoa-v3-routex")
    reports = [report_of(name) for name in names]
    certificates = [
        word for name in names for word in ("--certs", str(shared_file(f"reports/{name}.vcek.der")))
    ]
    result = run("verify", *reports, *certificates, "--expect", measurement(reports[0]), *AT)
    assert result.status == 1
    assert result.out.splitlines()[-1].startswith(
        "2 reports: 1 verified, 1 refused; not checked: revocation, "
    )
    whole = json.loads(
        run("verify", *reports, *certificates, "--expect", measurement(reports[0]), *AT, "-f", "json").out
    )
    assert [entry["verified"] for entry in whole["reports"]] == [True, False]
    assert (whole["verified"], whole["status"]) == (False, "warning")


def test_a_damaged_report_costs_the_others_nothing(tmp_path: Path) -> None:
    short, words = tmp_path / "short.bin", given("genoa-v5-oak")
    short.write_bytes(report_of("genoa-v5-oak").read_bytes() + b"\1")
    missing = tmp_path / "missing.bin"
    words[1:1] = [str(missing), str(short)]
    result = run(*words, *AT)
    assert result.status == 2
    assert f"{report_of('genoa-v5-oak')}: verified (" in result.out
    assert result.out.splitlines()[-1].startswith(
        "3 reports: 1 verified, 0 refused, 2 at fault; not checked: "
    )
    assert f"error: cannot read {missing}: " in result.err
    assert f"error: {short}: " in result.err
    whole = json.loads(run(*words, *AT, "-f", "json").out)
    assert [entry["verified"] for entry in whole["reports"]] == [True]
    assert [entry["source"] for entry in whole["faults"]] == [str(missing), str(short)]
    assert (whole["verified"], whole["status"]) == (False, "warning")


def test_a_damaged_certificate_is_said_of_each_report_that_needs_it(tmp_path: Path) -> None:
    damaged, words = tmp_path / "vcek.der", given("genoa-v5-oak")
    damaged.write_bytes(b"\x30\x05\x02\x01")
    other = str(report_of("genoa-v3-routex"))
    result = run("verify", words[1], other, "--certs", damaged, *AT)
    assert (result.status, result.out) == (2, "")
    assert [line.partition(": ")[2].partition(": ")[0] for line in result.err.splitlines()] == [
        words[1],
        other,
    ]
    alone = run("verify", words[1], "--certs", damaged, *AT)
    assert alone.err.startswith(f"error: {damaged}: ")


def test_a_product_may_be_for_the_report_that_is_damaged(tmp_path: Path) -> None:
    damaged, words = tmp_path / "report.bin", given("genoa-v5-oak")
    damaged.write_bytes(report_of("milan-v2-gcp-automata").read_bytes()[:-1])
    result = run(words[0], words[1], damaged, *words[2:], *AT, "--product", "Genoa")
    assert (result.status, "--product" in result.err) == (2, False)
    assert f"{words[1]}: verified (" in result.out


def test_where_no_report_can_be_judged_there_is_no_verdict(tmp_path: Path) -> None:
    words = given("genoa-v5-oak")
    words[1:2] = [str(tmp_path / "one.bin"), str(tmp_path / "two.bin")]
    for path in words[1:3]:
        Path(path).write_bytes(report_of("genoa-v5-oak").read_bytes()[:-1])
    result = run(*words, *AT, "--format", "json")
    assert (result.status, result.out) == (2, "")
    assert result.err.count("error: ") == 2


def test_a_report_on_standard_input() -> None:
    words = given("genoa-v5-oak")
    words[1] = "-"
    text = b64encode(report_of("genoa-v5-oak").read_bytes()).decode()
    result = run(*words, *AT, stdin=text)
    assert result.status == 0
    assert result.out.startswith("-: an attestation report\n")


def test_what_azure_binds_is_checked() -> None:
    path = shared_file("reports/azure-hcl-evidence-v2.json")
    result = run("verify", path, *AT, "--format", "json")
    found = {check["name"]: check for check in verdict(result)["checks"]}
    assert [found[name]["status"] for name in ("hcl_binding", "tpm_quote")] == ["pass", "pass"]
    assert "Azure binds its runtime data in it" in found["report_data"]["reason"]
    assert verdict(result)["form"] == "azure-vtpm"
    asked = run("verify", path, *AT, "--report-data", "00" * 64, "--format", "json")
    assert "report_data" in failures(asked)


@pytest.mark.parametrize("prefix", ["", "0x", "0X"])
def test_digits_are_taken_with_and_without_their_prefix(prefix: str) -> None:
    words = given("genoa-v5-oak")
    words[-1] = prefix + words[-1].upper()
    zeros = ("--host-data", prefix + "00" * 32)
    assert run(*words, *AT, *zeros).status == 0
    # As characters these would be other bytes: nothing but digits is taken.
    assert run(*words, *AT, "--host-data", "0" * 32).status == 2


def test_report_data_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_bytes(b"a key")
    result = run(*given("genoa-v5-oak"), *AT, "--report-data-sha512", tmp_path / "key.pub", "-f", "json")
    (check,) = (check for check in verdict(result)["checks"] if check["name"] == "report_data")
    assert check["wanted"] == sha512(b"a key").hexdigest()
    assert failures(result) == ["report_data"]
    data = report_of("genoa-v5-oak").read_bytes()[0x50:0x90].hex()
    assert run(*given("genoa-v5-oak"), *AT, "--report-data", f"0x{data.upper()}").status == 0


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ("--report-data", "ab" * 32),
            "--report-data: 32 bytes, but REPORT_DATA has 64, and a part of it proves nothing of the rest",
            "write all 128 digits: mostly the digest stands first, and 32 zero bytes follow",
        ),
        (("--report-data", "ab" * 48), "--report-data: 48 bytes, but REPORT_DATA has 64", "16 zero bytes follow"),
        (("--report-data", "nonce"), "--report-data: must be 128 hexadecimal digits, got 'nonce'", ""),
        (
            ("--report-data", "ab" * 64, "--report-data-sha512", "x"),
            "--report-data and --report-data-sha512 say two things of REPORT_DATA",
            "",
        ),
        (("--host-data", "ab" * 31), "--host-data: must be 64 hexadecimal digits", ""),
        (("--at", "yesterday"), "--at yesterday: not a date", "2026-11-25"),
        (("--at", "2026-11-25T12:00:00"), "--at 2026-11-25T12:00:00: not a date", "with its zone"),
        (("--product", "Rome"), "--product Rome: unknown product", "Milan"),
        (("--product", "Genoa"), "--product Genoa: the report says so itself", "leave it out"),
        (("--target", "vcpus1"), "--target says which part of --against is meant", "--against PATH"),
        (("--release", "1"), "--release says which part of --against is meant", "--against PATH"),
        (("--set", "x=1"), "--set says which part of --against is meant", "--against PATH"),
        (("--locked",), "--locked, --frozen, --lock and --offline are for manifests", ""),
        (("--appraisal", "/nowhere.toml"), "cannot read /nowhere.toml", ""),
        (("--crl", "/nowhere.crl"), "cannot read /nowhere.crl", ""),
        (("--root", "/nowhere.pem"), "cannot read /nowhere.pem", ""),
        (("--certs", "/nowhere.pem"), "cannot read /nowhere.pem", ""),
        (("--format", "yaml"), "--format yaml: unknown value", "one of table, json"),
    ],
)  # fmt: skip
def test_an_option_that_says_nothing_is_refused(options: tuple[str, ...], message: str, hint: str) -> None:
    result = run(*given("genoa-v5-oak"), *options)
    assert (result.status, result.out) == (2, "")
    assert message in result.err
    assert hint in result.err


def test_a_digest_that_is_none_of_a_report() -> None:
    words = given("genoa-v5-oak")
    for wrong in ("ab" * 32, "hello", str(HELLO)):
        result = run(*words[:-1], wrong, *AT)
        assert result.status == 2
        assert "not the launch digest of an SNP guest, 96 hexadecimal digits" in result.err


@pytest.mark.parametrize(
    "options",
    [
        ("--vmpl", "0"),
        ("--at", "2026-01-01"),
        ("--certs", "x"),
        ("--report-data", "00"),
        ("--strict",),
        ("--appraisal", "x"),
        ("--product", "Milan"),
        ("--allow-unknown-version",),
    ],
)
def test_options_of_reports_are_for_reports(options: tuple[str, ...]) -> None:
    result = run("verify", HELLO, *options)
    assert result.status == 2
    assert f"{options[0]} is for attestation reports" in result.err


def test_one_path_is_enough_for_anything_else() -> None:
    result = run("verify", HELLO, "--against", HELLO, "--against", HELLO)
    assert result.status == 2
    assert "--against was given several times, which is for attestation reports" in result.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-1], "a report is 1184 bytes, not 1183"),
        (lambda raw: raw + raw, "certificate table"),
        (lambda raw: raw + b"\1", "a report is 1184 bytes, not 1185"),
        (lambda raw: b"\6" + raw[1:], "report version 6 is newer than 5"),
        (lambda raw: b"\1" + raw[1:], "report version 1 is none that a guest gets"),
        (lambda raw: raw[:0x330] + b"\1" + raw[0x331:], "0x330"),
    ],
)
def test_a_report_that_was_cut_or_added_to(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "report.bin"
    path.write_bytes(change(report_of("genoa-v5-oak").read_bytes()))
    result = run("verify", path, "--expect", "ab" * 48)
    assert result.status == 2
    assert message in result.err


def changed(tmp_path: Path, name: str, at: int, data: bytes) -> Path:
    raw = bytearray(report_of(name).read_bytes())
    raw[at : at + len(data)] = data
    path = tmp_path / "report.bin"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("at", "data", "refused"),
    [
        # Debugging with the right measurement; the signature fails as well, for no host signs that.
        (0x08, b"\0\0\x0b\0", ["signature", "policy"]),
        # Asked for by the host.
        (0x30, b"\xff\xff\xff\xff", ["signature", "vmpl"]),
        (0x90, b"\0", ["signature", "measurement"]),
    ],
)
def test_all_failures_are_said(tmp_path: Path, at: int, data: bytes, refused: list[str]) -> None:
    path = changed(tmp_path, "genoa-v5-oak", at, data)
    words = given("genoa-v5-oak")
    result = run("verify", path, *words[2:], *AT, "--format", "json")
    assert (result.status, failures(result)) == (1, refused)
    assert verdict(result)["trustworthiness"]["hardware"] == 99


def test_an_unknown_version_is_read_where_that_is_allowed(tmp_path: Path) -> None:
    path = changed(tmp_path, "genoa-v5-oak", 0, b"\6")
    words = ("verify", path, *given("genoa-v5-oak")[2:], *AT, "--format", "json")
    assert run(*words).status == 2
    result = run(*words, "--allow-unknown-version")
    assert failures(result) == ["signature"]
    assert "version" in verdict(result)["not_checked"]


def test_a_provider_or_a_chip_that_nobody_vouches_for(tmp_path: Path) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text('schema = 1\n[platform]\ncsp-id = "CN=x"\n')
    asked = run(*given("genoa-v5-oak"), *AT, "--appraisal", policy, "--format", "json")
    assert failures(asked) == ["csp_id"]
    # Without a certificate there is neither; the rest says that it is refused.
    words = given("genoa-v5-oak")
    none = run(*words[:2], *words[4:], *AT, "--appraisal", policy, "--format", "json")
    (check,) = (check for check in verdict(none)["checks"] if check["name"] == "csp_id")
    assert (none.status, check["status"]) == (1, "not_checked")
    chip = report_of("genoa-v5-oak").read_bytes()[0x1A0:0x1E0].hex()
    policy.write_text(f'schema = 1\n[platform]\nchip-id = ["{"11" * 64}", "{chip}"]\n')
    assert run(*given("genoa-v5-oak"), *AT, "--appraisal", policy).status == 0
    # A VLEK names no chip, so none is accepted where one is asked for.
    vlek = run(
        *given("milan-v3-aws-vlek"), *REPORTS["milan-v3-aws-vlek"], "--appraisal", policy, "-f", "json"
    )
    assert failures(vlek) == ["chip_id"]


@pytest.mark.parametrize("name", ["tpm-quote", "hcl-binding", "csp-id"])
def test_what_is_required_and_cannot_be_there_is_missing(tmp_path: Path, name: str) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text(f'schema = 1\n[checks]\nrequire = "{name}"\n')
    result = run(*given("genoa-v5-oak"), *AT, "--appraisal", policy, "--format", "json")
    assert (result.status, failures(result)) == (1, [name.replace("-", "_")])


def test_an_appraisal_policy_is_applied(tmp_path: Path) -> None:
    policy = tmp_path / "appraisal.toml"
    report = report_of("milan-v3-aws-vlek")
    words = given("milan-v3-aws-vlek")[:4]
    at = ("--at", "2025-06-01")
    lines = {
        "": [],
        'chip-id = "00"': None,
        'csp-id = "CN=cc-us-east-2.amazonaws.com"': [],
        'csp-id = "CN=cc-eu-west-1.amazonaws.com"': ["csp_id"],
        'product = ["Milan", "Genoa"]': [],
        'product = "Genoa"': ["product"],
        f'chip-id = "{"00" * 63}01"': ["chip_id"],
        'forbidden = "smt"': ["platform_info"],
    }
    for line, refused in lines.items():
        policy.write_text(
            f'schema = 1\n[published]\nmeasurement = "{measurement(report)}"\n[guest]\nvmpl = 1\n[platform]\n{line}\n'
        )
        result = run(*words, *at, "--appraisal", policy, "--format", "json")
        if refused is None:
            assert (result.status, "must be 128 hexadecimal digits" in result.err) == (2, True)
        else:
            assert failures(result) == refused, line
    policy.write_text(
        'schema = 1\n[checks]\nrequire = ["report-data", "revocation"]\nwaive = "measurement"\n'
    )
    result = run(*words, *at, "--vmpl", "1", "--appraisal", policy, "--format", "json")
    assert failures(result) == ["revocation", "report_data"]


AZURE_NONCE = (
    "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"
)


def azure(*options: str) -> Result:
    """Return the verdict on evidence of Azure, whose measurement is that of its report."""
    path = shared_file("reports/azure-hcl-evidence-v2.json")
    digest = measurement(report_of("milan-v3-azure-cvm"))
    return run("verify", path, *AT, "--expect", digest, *options, "-f", "json")


def test_what_azure_binds_is_a_part_of_the_verdict() -> None:
    plain = verdict(azure())
    found = {check["name"]: check["status"] for check in plain["checks"]}
    assert (found["hcl_binding"], found["tpm_quote"], found["tpm_nonce"]) == ("pass", "pass", "not_checked")
    assert plain["verified"]
    assert "tpm_nonce" in plain["not_checked"]
    fresh = azure("--tpm-nonce", AZURE_NONCE)
    assert (fresh.status, "tpm_nonce" in verdict(fresh)["not_checked"]) == (0, False)
    stale = azure("--tpm-nonce", "0x" + "00" * 48)
    assert (stale.status, failures(stale)) == (1, ["tpm_nonce"])
    wrong = azure("--tpm-nonce", "nonce")
    assert (wrong.status, wrong.out) == (2, "")
    assert "--tpm-nonce: must be 1 to 64 bytes in hexadecimal digits, got 'nonce'" in wrong.err


def test_a_nonce_of_a_quote_that_is_not_there_is_refused() -> None:
    result = run(*given("genoa-v5-oak"), *AT, "--tpm-nonce", "00", "-f", "json")
    assert (result.status, failures(result)) == (1, ["tpm_nonce"])


@pytest.mark.parametrize("name", ["hcl-binding", "tpm-quote", "tpm-nonce", "csp-id"])
def test_a_required_check_of_what_is_not_there_is_missed(tmp_path: Path, name: str) -> None:
    """Evidence of a bare machine has no TPM quote: a policy that asks for one does not get by without."""
    (tmp_path / "a.toml").write_text(f'schema = 1\n[checks]\nrequire = "{name}"\n')
    result = run(*given("genoa-v5-oak"), *AT, "--appraisal", tmp_path / "a.toml", "-f", "json")
    assert (result.status, failures(result)) == (1, [name.replace("-", "_")])

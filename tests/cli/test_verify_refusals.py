"""`sevbuild verify`: no option is taken and ignored, and what is no report is told of as such."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.support.amd_ca import AT, Authority, authority
from tests.support.cli import Result, run
from tests.support.shared import ROOT, shared_file

HELLO = ROOT / "guests" / "hello" / "reference-values.json"
INGREDIENTS = "publish/dstack/measurement.snp.ingredients.json"
EVIDENCE = "publish/dstack/sev-snp-attestation.json"
TARGET = "snp/qemu/EPYC-v4/vcpus2"


def verify(*more: str | Path) -> Result:
    """Verify the hardware report of dstack against its own ingredients."""
    return run(
        "verify", shared_file(EVIDENCE), "--against", shared_file(INGREDIENTS), "--at", "2026-11-01", *more
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('guest = "acme"', "guest measurement.snp.ingredients.json is not accepted (published.guest)"),
        ('release = "1.0.0"', "no accepted release has it (published.release: 1.0.0)"),
        ('target = "vcpus4"', "the target is not accepted (published.target: vcpus4)"),
    ],
)
def test_an_appraisal_policy_narrows_the_ingredients_of_others_too(
    tmp_path: Path, text: str, reason: str
) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text(f"schema = 1\n[published]\n{text}\n")
    result = verify("--appraisal", policy)
    assert result.status == 1
    assert f" fail         that of measurement.snp.ingredients.json, {TARGET}: {reason}" in result.out


def test_an_appraisal_policy_accepts_the_ingredients_of_others(tmp_path: Path) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text(
        'schema = 1\n[published]\nguest = "measurement.snp.ingredients.json"\ntarget = "vcpus2"\n'
    )
    assert verify("--appraisal", policy, "--target", "vcpus2").status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "vcpus3"), "no target matches 'vcpus3'"),
        (("--release", "1.0.0"), f"--release: {shared_file(INGREDIENTS)} has ingredients alone"),
        (("--set", "guest.name=x"), f"--set: {shared_file(INGREDIENTS)} has ingredients alone"),
    ],
)
def test_what_the_ingredients_of_others_do_not_take(options: tuple[str, ...], message: str) -> None:
    result = verify(*options)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


@pytest.mark.parametrize(
    "when",
    ["2026-W20-1", "20260601", "2026-06-01T12", "9999-12-31T23:00:00-12:00", "0001-01-01T00:00:00+12:00"],
)
def test_a_time_has_one_spelling(when: str) -> None:
    """Python's versions read ISO 8601 differently, and a zone can lead out of what a time can be."""
    result = run("verify", shared_file(EVIDENCE), "--expect", "00" * 48, "--at", when)
    assert result.status == 2
    assert f"--at {when}: not a date" in result.err


@pytest.mark.parametrize("data", [b"", b"[1, 2]", b'{"quote": "ab"}'])
def test_what_is_no_report_is_told_of_where_a_report_was_meant(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "quote"
    file.write_bytes(data)
    result = run("verify", file, "--certs", file)
    assert result.status == 2
    assert f"--certs is for attestation reports, and {file} is no such evidence" in result.err
    assert "known are a report of 1184 bytes" in result.err


def test_broken_json_says_why_it_is_none_where_a_report_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_text('{"attestation_report":\n  "ab",\n}')
    result = run("verify", file, "--vmpl", "1")
    assert (result.status, result.out) == (2, "")
    assert f"{file}:3: not valid JSON: " in result.err
    assert "--vmpl" not in result.err


def test_a_pipe_is_a_report_where_one_is_verified(tmp_path: Path) -> None:
    """As `verify <(ssh guest cat report) --at ...` has it; without such options it is a document."""
    own = authority("Milan")
    words = [*map(str, _written(tmp_path, own)), "--root", str(tmp_path / "ark")]
    at, flag = words.index(str(tmp_path / "report")), tmp_path / "pipe"
    os.mkfifo(flag)
    words[at] = str(flag)
    results = []
    for data in (own.report(), b"nothing"):
        writer = threading.Thread(target=flag.write_bytes, args=(data,))
        writer.start()
        results.append(run(*words))
        writer.join()
    assert [result.status for result in results] == [0, 2]
    assert f"{flag}: no evidence of a guest" in results[1].err


def test_standard_input_is_one_report() -> None:
    result = run("verify", "-", "-", "--expect", "00" * 48)
    assert result.status == 2
    assert "- stands for several reports" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = 1.0\n", "schema: must be 1"),
        ("schema = 1\n[minimum-tcb]\n", "minimum-tcb: must not be empty"),
        ("schema = 1\n[minimum-launch-tcb]\n", "minimum-launch-tcb: must not be empty"),
    ],
)
def test_a_policy_that_narrows_nothing_by_accident(tmp_path: Path, text: str, message: str) -> None:
    policy = tmp_path / "appraisal.toml"
    policy.write_text(text)
    result = verify("--appraisal", policy)
    assert result.status == 2
    assert message in result.err


def _written(folder: Path, own: Authority) -> list[str | Path]:
    """Return the arguments for a report of our own authority, which `--root` has to trust."""
    files = {
        "report": own.report(),
        "vcek": own.vcek.der,
        "ask": own.ask.der,
        "ark": own.ark.der,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    certificates = [word for name in ("vcek", "ask") for word in ("--certs", folder / name)]
    return [
        *("verify", folder / "report", "--expect", bytes(range(48)).hex(), "--at", f"{AT:%Y-%m-%d}"),
        *certificates,
    ]


def test_amd_s_root_and_one_of_its_name_are_both_trusted(tmp_path: Path) -> None:
    words = _written(tmp_path, authority("Milan"))
    amd, own = shared_file("reports/milan_ask_ark_asvk.pem"), tmp_path / "ark"
    for roots in ([own, amd], [amd, own]):
        result = run(*words, *(word for root in roots for word in ("--root", root)))
        assert (result.status, result.err) == (0, "")
        assert "\n  trust anchor: given: ARK-Milan (SHA-256 " in result.out
    alone = run(*words, "--root", amd)
    assert (alone.status, "refused: chain;" in alone.out) == (1, True)
    assert run(*words).status == 1


@pytest.mark.parametrize(
    ("option", "given", "hint"),
    [
        ("--crl", "ark", "`sevbuild certs fetch REPORT --crl FILE` writes such a list"),
        ("--crl", "report", "`sevbuild certs fetch REPORT --crl FILE` writes such a list"),
        ("--root", "crl", "a certificate in PEM or DER, which has signed itself"),
        ("--root", "report", "a certificate in PEM or DER, which has signed itself"),
    ],
)
def test_another_file_than_the_option_takes(tmp_path: Path, option: str, given: str, hint: str) -> None:
    own = authority("Milan")
    words = _written(tmp_path, own)
    (tmp_path / "crl").write_bytes(own.crl())
    result = run(*words, option, tmp_path / given)
    assert (result.status, result.out) == (2, "")
    assert f"error: {option}: {tmp_path / given}: " in result.err
    assert hint in result.err

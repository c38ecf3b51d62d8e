"""`certs`: certificates from AMD's key service, for which a server on loopback stands in, and those kept."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sevbuild.appraise import fetch_certificates
from sevbuild.appraise.fetch_certificates import fetch_crl, fetch_vek, product_to_ask_for
from sevbuild.appraise.stores import store_directory
from sevbuild.attest.amd_keys import KEYS
from sevbuild.attest.anchors import Signer
from sevbuild.attest.certificate import certificates_in, common_name, decode_certificate
from sevbuild.attest.product import product_named
from sevbuild.attest.report import Report, decode_report
from sevbuild.attest.vek_url import vcek_url
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.rsa import RsaPublicKey
from sevbuild.network import key_service
from tests.support.amd_ca import AT, authority, pem
from tests.support.cli import run
from tests.support.https import Handler, Server
from tests.support.real import peer_program
from tests.support.shared import ROOT, needs_vectors, shared_file

pytestmark = needs_vectors
REAL = ("genoa-v5-oak", "siena-bergamo-v5-attestation-rs", "turin-v5-azure-aci", "milan-v3-azure-aci")


def read(name: str) -> Report:
    """Return a report of the vectors."""
    return decode_report(shared_file(f"reports/{name}.report.bin").read_bytes(), name)


@pytest.fixture
def service(https_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a key service as new, that has the certificates of some real reports."""
    https_server.renew(tmp_path, monkeypatch)
    monkeypatch.setenv(key_service.VARIABLE, https_server.url)
    for name in REAL:
        report = read(name)
        assert report.product is not None
        parts = urlsplit(vcek_url(report, report.product) or "")
        https_server.files[f"{parts.path}?{parts.query}"] = shared_file(
            f"reports/{name}.vcek.der"
        ).read_bytes()
        chain = shared_file(f"reports/{report.product.name.lower()}_ask_ark_asvk.pem")
        found = {common_name(one.subject): one.der for one in certificates_in(chain.read_bytes(), "chain")}
        wanted = (f"SEV-{report.product.name}", f"ARK-{report.product.name}")
        https_server.files[f"/vcek/v1/{report.product.name}/cert_chain"] = b"".join(
            pem(found[one]) for one in wanted
        )
    return https_server


@pytest.mark.parametrize("name", REAL)
def test_the_certificate_of_a_report_is_fetched_once(service: Server, name: str) -> None:
    path = shared_file(f"reports/{name}.report.bin")
    first = run("certs", "fetch", path)
    assert first.status == 0
    assert first.err == f"fetched from {vcek_url(read(name), product_to_ask_for(read(name), None))}\n"
    kept = Path(first.out.rstrip())
    assert kept.read_bytes() == shared_file(f"reports/{name}.vcek.der").read_bytes()
    assert kept.is_relative_to(store_directory())
    second = run("certs", "fetch", path)
    assert (second.status, second.out, second.err) == (0, first.out, "it was fetched before\n")
    assert len(service.requests) == 1


def test_several_reports_are_one_run_and_all_are_listed(service: Server) -> None:
    assert run("certs", "list").out.splitlines() == ["product  chip  tcb  valid until  file"]
    done = run("certs", "fetch", "-q", *(shared_file(f"reports/{name}.report.bin") for name in REAL))
    assert (done.status, done.err) == (0, "")
    assert len(service.requests) == len(REAL)
    listed = json.loads(run("certs", "list", "-f", "json").out)
    assert sorted(one["path"] for one in listed) == sorted(done.out.split())
    assert {one["product"] for one in listed} == {"Milan", "Genoa", "Turin"}
    assert {len(one["chip"]) for one in listed} == {16, 128}
    assert all(one["fault"] == "" for one in listed)
    table = run("certs", "list").out.splitlines()
    assert len(table) == len(REAL) + 1
    # One that is damaged is fetched anew.
    Path(listed[0]["path"]).write_bytes(b"")
    assert "damaged" in run("certs", "list").out


def test_one_that_is_damaged_is_fetched_anew(service: Server) -> None:
    path = shared_file(f"reports/{REAL[0]}.report.bin")
    kept = Path(run("certs", "fetch", path).out.rstrip())
    other = shared_file(f"reports/{REAL[1]}.vcek.der").read_bytes()
    for damage in (b"", b"0\0", other):
        kept.write_bytes(damage)
        again = run("certs", "fetch", path)
        assert again.status == 0
        assert "fetched from" in again.err
        assert kept.read_bytes() == shared_file(f"reports/{REAL[0]}.vcek.der").read_bytes()
    assert len(service.requests) == 4


def test_a_folder_for_snpguest_is_written(service: Server, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    done = run("certs", "fetch", "-o", folder, shared_file("reports/turin-v5-azure-aci.report.bin"))
    assert done.status == 0
    assert sorted(os.listdir(folder)) == ["ark.der", "ask.der", "vcek.der"]
    names = {
        path.name: common_name(decode_certificate(path.read_bytes(), path.name).subject)
        for path in folder.iterdir()
    }
    assert names == {"ark.der": "ARK-Turin", "ask.der": "SEV-Turin", "vcek.der": "SEV-VCEK"}
    # What is above it is AMD's, or nothing is written.
    ca = authority("Turin")
    service.files["/vcek/v1/Turin/cert_chain"] = pem(ca.ask.der) + pem(ca.ark.der)
    other = run(
        "certs", "fetch", "-o", tmp_path / "other", shared_file("reports/turin-v5-azure-aci.report.bin")
    )
    assert other.status == 1
    assert "SEV-Turin is not the one that is pinned" in other.err
    assert not (tmp_path / "other").exists()
    service.files["/vcek/v1/Turin/cert_chain"] = pem(ca.ask.der)
    short = run(
        "certs", "fetch", "-o", tmp_path / "other", shared_file("reports/turin-v5-azure-aci.report.bin")
    )
    assert short.status == 2
    assert "1 certificates are there, where 2 should be" in short.err


@pytest.mark.usefixtures("service")
def test_snpguest_verifies_with_the_folder(tmp_path: Path) -> None:
    path = shared_file("reports/turin-v5-azure-aci.report.bin")
    assert run("certs", "fetch", "-q", "-o", tmp_path / "certs", path).status == 0
    for words in (["certs", "certs"], ["attestation", "certs", str(path)]):
        done = subprocess.run(
            [peer_program("snpguest"), "verify", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_another_certificate_than_the_reports_is_not_kept(service: Server) -> None:
    mine, other = (
        shared_file(f"reports/{name}.vcek.der").read_bytes()
        for name in ("milan-v3-azure-aci", "milan-v3-azure-cvm")
    )
    place = next(path for path, data in service.files.items() if data == mine)
    service.files[place] = other
    done = run("certs", "fetch", shared_file("reports/milan-v3-azure-aci.report.bin"))
    assert (done.status, done.out) == (1, "")
    assert "it is not the report's certificate" in done.err
    assert "chip-id: the certificate is of another chip" in done.err
    assert run("certs", "list", "-f", "json").out == "[]\n"
    service.files[place] = b"<html>busy</html>"
    assert run("certs", "fetch", shared_file("reports/milan-v3-azure-aci.report.bin")).status == 2
    service.files[place] = mine + mine
    assert (
        "2 certificates are there"
        in run("certs", "fetch", shared_file("reports/milan-v3-azure-aci.report.bin")).err
    )


def test_a_report_that_was_altered_has_no_certificate(service: Server, tmp_path: Path) -> None:
    raw = bytearray(shared_file("reports/milan-v3-azure-aci.report.bin").read_bytes())
    raw[0x90] ^= 1
    (tmp_path / "altered.bin").write_bytes(raw)
    done = run("certs", "fetch", tmp_path / "altered.bin")
    assert done.status == 1
    assert "signature: it is not of the key in" in done.err
    assert len(service.requests) == 1


def test_a_busy_service_is_waited_for_and_said(service: Server) -> None:
    left = [1]

    def busy(handler: Handler) -> bool:
        if not left:
            return False
        left.pop()
        handler.head(429, Content_Length="0", Retry_After="0")
        return True

    service.behave = busy
    done = run("certs", "fetch", shared_file("reports/genoa-v5-oak.report.bin"))
    assert done.status == 0
    assert "HTTP 429 Too Many Requests; asking again in 0 s" in done.err


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [
        ("milan-v3-aws-vlek", (), "signed by a VLEK, which AMD's key service does not have"),
        ("milan-v2-gcp-automata", (), "does not name its product"),
        ("genoa-v5-oak", ("--product", "Milan"), "the report is of Genoa: --product names another"),
        ("genoa-v5-oak", ("--product", "Siena"), "--product Siena: unknown product"),
        ("milan-v2-gcp-automata", ("--product", "milan"), "HTTP 404"),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    service: Server, name: str, more: tuple[str, ...], reason: str
) -> None:
    done = run("certs", "fetch", *more, shared_file(f"reports/{name}.report.bin"))
    assert (done.status, done.out) == (2, "")
    assert reason in done.err
    assert len(service.requests) == ("404" in reason)


def test_an_output_is_for_one_report_and_never_the_report(service: Server, tmp_path: Path) -> None:
    path = tmp_path / "report.bin"
    path.write_bytes(shared_file("reports/genoa-v5-oak.report.bin").read_bytes())
    assert "are for one report" in run("certs", "fetch", "-o", "x", path, path).err
    service.files["/vcek/v1/Genoa/crl"] = authority("Genoa").crl()
    done = run("certs", "fetch", "--crl", path, path)
    assert done.status == 1
    assert "the list is not signed by AMD's ARK-Genoa" in done.err


def test_a_list_of_revoked_certificates_is_held_to_amds_root(
    service: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority("Genoa")
    service.files["/vcek/v1/Genoa/crl"] = ca.crl({5: AT})
    with pytest.raises(MismatchError, match="not signed by AMD's ARK-Genoa"):
        fetch_crl(ca.product)
    ark = decode_certificate(ca.ark.der, "ark")
    assert isinstance(ark.public_key, RsaPublicKey)
    root = Signer(
        ark.subject, ark.issuer, ark.serial, ark.not_before, ark.not_after, ark.sha256, ark.public_key, True
    )
    monkeypatch.setattr(fetch_certificates, "pinned_signer", lambda _name: root)
    path = shared_file("reports/genoa-v5-oak.report.bin")
    done = run("certs", "fetch", "--crl", tmp_path / "lists" / "genoa.crl", path)
    assert (done.status, done.err.splitlines()[-1]) == (0, f"wrote {tmp_path}/lists/genoa.crl")
    assert (tmp_path / "lists" / "genoa.crl").read_bytes() == service.files["/vcek/v1/Genoa/crl"]
    # Not over what this command reads.
    own = tmp_path / "own.bin"
    own.write_bytes(path.read_bytes())
    refused = run("certs", "fetch", "--crl", own, own)
    assert refused.status == 2
    assert own.read_bytes() == path.read_bytes()


def test_nobody_asks_for_a_masked_chip_or_an_unsigned_report(service: Server) -> None:
    ca = authority()
    for fields, reason in (
        ({"chip_id": 0}, "masks CHIP_ID"),
        ({"key_info": 7 << 2}, "is not signed by a chip's key"),
    ):
        with pytest.raises(SevbuildError, match=reason):
            fetch_vek(decode_report(ca.report(**fields), "report"), product_named("Milan"))
    assert service.requests == []


def page() -> str:
    """Return the page on certificates."""
    return (ROOT / "docs" / "certificates.md").read_text()


@pytest.mark.usefixtures("service")
def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = shared_file("reports/genoa-v5-oak.report.bin").read_bytes()
    (tmp_path / "report.bin").write_bytes(raw)
    chain = shared_file("reports/genoa_ask_ark_asvk.pem").read_bytes()
    found = {common_name(one.subject): one.der for one in certificates_in(chain, "chain")}
    (tmp_path / "ark.pem").write_bytes(pem(found["ARK-Genoa"]))
    # What was published is another guest: the report is verified in everything else.
    (tmp_path / "reference-values.json").write_bytes(
        (ROOT / "guests/hello/reference-values.json").read_bytes()
    )
    ran = []
    for block in re.findall(r"^```sh\n(.*?)^```$", page(), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            name, *words = shlex.split(line)
            if name == "sevbuild":
                ran.append((words[:2], run(*words)))
                continue
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
            assert done.stdout.split()[0] in page()
    assert [words for words, _result in ran] == [
        ["certs", "fetch"],
        ["certs", "list"],
        ["certs", "fetch"],
        ["verify", "report.bin"],
    ]
    assert [result.status for _words, result in ran] == [0, 0, 0, 1]
    failed = re.findall(r"^  (\S+) +fail", ran[-1][1].out, re.MULTILINE)
    assert failed == ["measurement"]


def test_the_page_names_amds_roots() -> None:
    rows = re.findall(r"^\| (ARK-\w+) \| `([0-9a-f]{64})` \|$", page(), re.MULTILINE)
    assert rows == [(row[0], row[4]) for row in KEYS if row[0].startswith("ARK-")]


@pytest.mark.usefixtures("service")
def test_no_warning_reaches_the_user(tmp_path: Path) -> None:
    report = shared_file("reports/turin-v5-azure-aci.report.bin")
    kept = run("certs", "fetch", "-q", report).out.rstrip()
    words = ["verify", str(report), "--certs", kept, "--at", "2026-07-01", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "sevbuild", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (1, "")
    checks = json.loads(done.stdout)["reports"][0]["checks"]
    assert [one["name"] for one in checks if one["status"] == "fail"] == []


def test_what_was_fetched_is_what_verify_takes(service: Server) -> None:
    report = shared_file("reports/turin-v5-azure-aci.report.bin")
    before = run("verify", report, "--at", "2026-07-01")
    assert before.status == 1
    assert "sevbuild certs fetch" in before.out
    assert "https://kdsintf.amd.com/vcek/v1/Turin/59790fb1c39f35c1?fmcSPL=01" in before.out
    assert service.requests == []
    run("certs", "fetch", report)
    after = run("verify", report, "--at", "2026-07-01")
    assert "trust anchor: AMD's ARK-Turin" in after.out
    assert len(service.requests) == 1

"""Certificates from folders as other tools keep them, and from those that were fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.appraise.stores import (
    cached_certificates,
    certificates_at,
    gather_certificates,
    kept_veks,
    store_directory,
)
from sevbuild.attest.given import GivenCertificate
from sevbuild.attest.report import decode_report
from sevbuild.attest.vek_url import store_names
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import authority, pem


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache."""
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(path: Path, data: bytes) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_is_all_that_is_in_it(tmp_path: Path) -> None:
    ca = authority()
    report = decode_report(ca.report(), "report")
    path = put(tmp_path / "chain.pem", pem(ca.ask.der) + pem(ca.ark.der))
    assert [one.serial for one in certificates_at(str(path), report, None)] == [0x10001, 0x10000]
    with pytest.raises(SevbuildError, match="cannot read"):
        certificates_at(str(tmp_path / "nothing"), report, None)


@pytest.mark.parametrize("ending", ["pem", "der"])
def test_a_folder_of_snpguest_is_read(tmp_path: Path, ending: str) -> None:
    ca = authority()
    report = decode_report(ca.report(), "report")
    for name in ("ark", "ask", "asvk", "vcek", "vlek"):
        data = getattr(ca, name).der
        put(tmp_path / "certs" / f"{name}.{ending}", pem(data) if ending == "pem" else data)
    put(tmp_path / "certs" / "other.txt", b"not read")
    found = certificates_at(str(tmp_path / "certs"), report, None)
    names = [Path(one.source).name for one in found]
    assert names == [f"{name}.{ending}" for name in ("ark", "ask", "asvk", "vcek", "vlek")]


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("Milan", "bl04_tee00_snp24_ucode219_vcek.der"),
        ("Turin", "bl04_tee00_snp24_ucode219_fmc01_vcek.der"),
    ],
)
def test_an_offline_store_of_trustee_is_read(tmp_path: Path, product: str, name: str) -> None:
    ca = authority(product)
    report = decode_report(ca.report(), "report")
    place = tmp_path / "store" / "vcek" / ca.chip.hex()
    put(place / "vcek.der", ca.vcek._replace(serial=1).der)
    assert [one.serial for one in certificates_at(str(tmp_path / "store"), report, ca.product)] == [1]
    put(place / name, ca.vcek._replace(serial=2).der)
    # The one for this TCB goes first, with the product known or not.
    for known in (ca.product, None):
        assert [one.serial for one in certificates_at(str(tmp_path / "store"), report, known)] == [2]
    other = decode_report(ca.report(reported_tcb=0), "report")
    assert [one.serial for one in certificates_at(str(tmp_path / "store"), other, ca.product)] == [1]
    # A store that does not have this chip is no mistake of whoever names it.
    elsewhere = decode_report(authority(product, 1).report(), "report")
    assert certificates_at(str(tmp_path / "store"), elsewhere, ca.product) == []


def test_a_folder_without_certificates_is_refused(tmp_path: Path) -> None:
    ca = authority()
    put(tmp_path / "folder" / "x.crt", ca.vcek.der)
    with pytest.raises(SevbuildError, match="no certificates are in it") as caught:
        certificates_at(str(tmp_path / "folder"), decode_report(ca.report(), "report"), None)
    assert "vcek/HWID" in (caught.value.hint or "")


def test_a_masked_chip_is_in_no_store() -> None:
    ca = authority()
    assert store_names(decode_report(ca.report(chip_id=0), "report"), ca.product) == ()


def test_what_was_fetched_is_found_and_listed(cache: Path) -> None:
    ca, turin = authority(), authority("Turin")
    report = decode_report(ca.report(), "report")
    assert cached_certificates(report, ca.product) == []
    assert kept_veks() == []
    assert store_directory() == str(cache / "certs")
    for each in (ca, turin):
        name = store_names(decode_report(each.report(), "report"), each.product)[0]
        put(cache / "certs" / name, each.vcek.der)
    damaged = put(cache / "certs" / "vcek" / ca.chip.hex() / "vcek.der", b"0\0")
    put(cache / "certs" / "vcek" / "file", b"not a folder")
    (found,) = cached_certificates(report, None)
    assert found.public_key == cached_certificates(report, ca.product)[0].public_key
    Path(found.source).write_bytes(b"0\0")
    with pytest.raises(SevbuildError, match=r"a certificate that was fetched: .*it ends early") as caught:
        cached_certificates(report, ca.product)
    assert caught.value.hint == "`sevbuild certs fetch` brings it anew"
    Path(found.source).write_bytes(found.der)
    kept = kept_veks()
    assert {(one.product, one.chip, one.tcb, one.not_after) for one in kept if not one.fault} == {
        (each.product.name, each.chip.hex(), f"0x{each.version():016x}", "2032-01-01T00:00:00Z")
        for each in (ca, turin)
    }
    (bad,) = [one for one in kept if one.fault]
    assert bad.path == str(damaged)
    assert "it ends early" in bad.fault


def test_what_is_kept_serves_where_nobody_gives_a_key_that_signs_reports(tmp_path: Path, cache: Path) -> None:
    ca = authority()
    report = decode_report(ca.report(), "report")
    put(cache / "certs" / store_names(report, ca.product)[0], ca.vcek._replace(serial=7).der)
    above = [GivenCertificate("table: ASK", pem(ca.ask.der)), GivenCertificate("table: ARK", ca.ark.der)]
    assert [one.serial for one in gather_certificates(report, None, above, ())] == [0x10001, 0x10000, 7]
    with_vek = [*above, GivenCertificate("table: VCEK", ca.vcek.der)]
    assert [one.serial for one in gather_certificates(report, None, with_vek, ())] == [0x10001, 0x10000, 0]
    path = put(tmp_path / "vcek.pem", pem(ca.vcek._replace(serial=8).der))
    found = gather_certificates(report, ca.product, above, (str(path),))
    assert [one.serial for one in found] == [0x10001, 0x10000, 8]
    with pytest.raises(SevbuildError, match="table: ARK: it is neither DER nor PEM"):
        gather_certificates(report, None, [GivenCertificate("table: ARK", b"")], ())

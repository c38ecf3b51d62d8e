"""Every form of evidence, told by its content: the vectors, what we make ourselves, and what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.certificate import certificates_in, common_name
from sevbuild.attest.evidence import EVIDENCE_LIMIT, FORMS, is_evidence, read_evidence
from sevbuild.attest.report import decode_report
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import authority, pem
from tests.support.evidence import (
    FORMS_OF_OURS,
    compact,
    dstack,
    dstack_1,
    hcl,
    table,
    trustee,
    tsm,
    tsm_cbor,
)
from tests.support.shared import needs_vectors, shared_file

# The file, its form, the report in it, the certificates by name.
VECTORS = [
    ("reports/trustee-evidence.json", "trustee", None, ["SEV-VCEK"]),
    ("reports/azure-hcl-evidence-v1.json", "azure-vtpm", None, ["SEV-VCEK"]),
    (
        "reports/azure-hcl-evidence-v2.json",
        "azure-vtpm",
        "reports/milan-v3-azure-cvm.report.bin",
        ["SEV-VCEK"],
    ),
    ("publish/veraison/sevsnp-tsm-report.json", "tsm", None, ["ARK-Genoa", "SEV-Genoa", "SEV-VCEK"]),
    ("publish/veraison/sevsnp-tsm-report.cbor", "tsm", None, ["ARK-Genoa", "SEV-Genoa", "SEV-VCEK"]),
    (
        "publish/dstack/sev-snp-attestation.json",
        "dstack",
        "publish/dstack/extracted-report.bin",
        ["SEV-Milan", "SEV-VCEK"],
    ),
    ("publish/dstack/sev_snp_attestation.bin", "dstack", "publish/dstack/extracted-report.bin", []),
    ("publish/trustee/snp-test-report.bin", "report", "launch-abi/trustee/test-report.bin", []),
    ("launch-abi/virtee-sev/report_milan.hex", "report", None, []),
    ("launch-abi/go-sev-guest/attestation.bin", "report", None, []),
]


@needs_vectors
@pytest.mark.parametrize(("name", "form", "report", "names"), VECTORS, ids=[row[0] for row in VECTORS])
def test_the_evidence_of_others_is_read(name: str, form: str, report: str | None, names: list[str]) -> None:
    data = shared_file(name).read_bytes()
    evidence = read_evidence(data, name)
    assert (evidence.form, is_evidence(data)) == (form, True)
    assert form in FORMS
    found = decode_report(evidence.report, name)
    assert found.signature_algo == 1
    if report is not None:
        assert evidence.report == shared_file(report).read_bytes()
    given = [
        common_name(one.subject)
        for each in evidence.certificates
        for one in certificates_in(each.data, each.source)
    ]
    assert given == names


@needs_vectors
def test_trustees_report_is_rebuilt_so_that_its_signature_holds() -> None:
    evidence = read_evidence(shared_file("reports/trustee-evidence.json").read_bytes(), "evidence.json")
    (vcek,) = certificates_in(evidence.certificates[0].data, "VCEK")
    report = decode_report(evidence.report, "evidence.json")
    assert report.signature.verifies(report.signed, vcek.public_key.public_key("VCEK"))  # type: ignore[union-attr]
    assert (report.version, report.cpuid_mod_id, str(report.current_version)) == (3, 0xA0, "1.55.40")


@pytest.mark.parametrize("form", FORMS_OF_OURS)
@pytest.mark.parametrize("product", ["Milan", "Turin"])
def test_a_report_is_found_in_each_form(form: str, product: str) -> None:
    report = authority(product).report(version=5)
    data = FORMS_OF_OURS[form](report)
    assert is_evidence(data)
    evidence = read_evidence(data, "evidence")
    assert (evidence.report, evidence.certificates) == (report, ())


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin", "Venice"])
@pytest.mark.parametrize("version", [3, 5])
def test_trustees_fields_make_the_bytes_again(product: str, version: int) -> None:
    home = authority(product)
    raw = home.report(
        version=version, key_info=0b11, platform_info=0x65, guest_svn=7, vmpl=3, host_data=b"h" * 32
    )
    vcek = home.vcek.der
    bent = {} if version == 5 else {"launch_mit_vector": None}
    document = trustee(decode_report(raw, "report"), **bent)
    document["cert_chain"] = [
        {"cert_type": "VCEK", "data": list(vcek)},
        {"cert_type": "CRL", "data": [1, 2]},
        {"cert_type": {"OTHER": "0"}, "data": []},
    ]
    evidence = read_evidence(json.dumps(document).encode(), "e.json")
    assert evidence.report == raw
    assert [one.data for one in evidence.certificates] == [vcek]
    assert evidence.notes == (
        "e.json: cert_chain: CRL, 2 bytes: not read",
        "e.json: cert_chain: OTHER, 0 bytes: not read",
    )


def test_a_report_without_family_has_the_layout_of_its_parts() -> None:
    for product in ("Milan", "Turin"):
        raw = authority(product).report(version=5)
        document = trustee(
            decode_report(raw, "report"), cpuid_fam_id=None, cpuid_mod_id=None, cpuid_step=None
        )
        found = read_evidence(json.dumps(document).encode(), "e.json").report
        assert found == raw[:0x188] + bytes(3) + raw[0x18B:]


@pytest.mark.parametrize(
    ("bent", "error"),
    [
        ({"version": "3"}, "$.attestation_report.version: must be an integer"),
        ({"vmpl": 1 << 32}, "$.attestation_report.vmpl: must be 0x0..0xffffffff"),
        ({"vmpl": True}, "$.attestation_report.vmpl: must be an integer"),
        ({"cpuid_step": 256}, "$.attestation_report.cpuid_step: must be 0..255"),
        ({"measurement": [0] * 47}, "$.attestation_report.measurement: must be 48 numbers from 0 to 255"),
        ({"measurement": [-1] * 48}, "$.attestation_report.measurement: must be 48 numbers from 0 to 255"),
        ({"measurement": [256] * 48}, "$.attestation_report.measurement: must be 48 numbers"),
        ({"measurement": [True] * 48}, "$.attestation_report.measurement: must be 48 numbers"),
        ({"measurement": "00"}, "$.attestation_report.measurement: must be 48 numbers"),
        ({"current": {"major": 1, "minor": 256, "build": 0}}, "$.attestation_report.current.minor: must be 0..255"),
        (
            {"launch_tcb": {"fmc": None, "bootloader": 256, "tee": 0, "snp": 0, "microcode": 0}},
            "$.attestation_report.launch_tcb.bootloader: must be 0..255, got 256",
        ),
        ({"current": {"major": 1}}, "$.attestation_report.current.minor: missing"),
        ({"signature": {"r": []}}, "$.attestation_report.signature.r: must be 72 numbers"),
        ({"launch_tcb": {"fmc": 1}}, "$.attestation_report.launch_tcb.fmc: must be null: Milan has no such part"),
        ({"launch_tcb": None}, "$.attestation_report.launch_tcb: must be a table"),
    ],
)  # fmt: skip
def test_fields_that_are_none_are_named(bent: dict[str, Any], error: str) -> None:
    document = trustee(decode_report(authority().report(), "report"), **bent)
    with pytest.raises(SevbuildError) as caught:
        read_evidence(json.dumps(document).encode(), "e.json")
    assert f"e.json: {error}" in str(caught.value)


@pytest.mark.parametrize(
    ("chain", "error"),
    [
        ({}, "$.cert_chain: must be a list of objects"),
        ([3], "$.cert_chain[0]: must be an object"),
        ([{"cert_type": "VCEK"}], "$.cert_chain[0].data: must be a list of numbers from 0 to 255"),
    ],
)
def test_a_chain_that_is_none_is_refused(chain: Any, error: str) -> None:
    document = {**trustee(decode_report(authority().report(), "report")), "cert_chain": chain}
    with pytest.raises(SevbuildError) as caught:
        read_evidence(json.dumps(document).encode(), "e.json")
    assert f"e.json: {error}" in str(caught.value)


def test_a_table_gives_the_certificates_and_what_else_is_in_it() -> None:
    home = authority()
    entries = {"ARK": pem(home.ark.der), "ASK": home.ask.der, "VCEK": home.vcek.der}
    data = home.report() + table(entries)
    evidence = read_evidence(data, "r.bin")
    assert evidence.report == home.report()[:0] + data[:1184]
    assert [one.data for one in evidence.certificates] == list(entries.values())
    assert evidence.certificates[2].source == "r.bin: certificate table: VCEK"
    unknown = data[:1184] + b"\1" * 16 + data[1200:]
    assert "of no kind that is known" in read_evidence(unknown, "r.bin").notes[0]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda raw: raw[:-1], "e: no evidence of a guest: a report is 1184 bytes, not 1183"),
        (lambda raw: raw[:100].hex().encode(), "e: no evidence of a guest: a report is 1184 bytes, not 100"),
        (lambda raw: raw + b"\0", "e: no evidence of a guest: a report is 1184 bytes, not 1185"),
        (lambda raw: raw + raw, "e: certificate table: 03000000-0000-0000-0000-030000000000"),
        (lambda raw: raw + b"\xff" * 24, "e: certificate table: the certificate table has no end"),
        (lambda _raw: b"", "e: no evidence of a guest"),
        (lambda _raw: b"hello", "e: no evidence of a guest"),
        (lambda _raw: b"{", "e:1: not valid JSON"),
        (lambda _raw: b'{"a": 1}', "e: no evidence of a guest"),
        (lambda _raw: b"[" * 100_000, "e: no evidence of a guest"),
        (lambda _raw: b'{"a":' * 100_000, "e: not valid JSON: nested too deeply"),
        (lambda _raw: bytes(EVIDENCE_LIMIT + 1), "e: 4194305 bytes; the limit of evidence is 4194304"),
        (lambda raw: tsm(raw, provider="tdx_guest\n"), "e: provider 'tdx_guest' makes no SNP reports"),
        (lambda _raw: b'{"outblob": "?"}', "e: $.outblob: must be base64"),
        (lambda _raw: b'{"outblob": 1}', "e: $.outblob: must be a string"),
        (lambda _raw: b'{"attestation": "0002"}', "e: attestation: no attestation of dstack with a quote of"),
        (lambda _raw: b'{"attestation": "xyz"}', "e: $.attestation: must be hexadecimal digits"),
        (lambda raw: dstack(raw)[:500], "e: it ends early"),
        (lambda raw: dstack(raw, b"c" * 100, rest=b"")[:-1], "e: it ends early"),
        (lambda raw: dstack(raw, *[b""] * 17), "e: 17 certificates, where 16 are the most"),
        (lambda raw: dstack_1(raw, *[b""] * 17), "e: 17 certificates, where 16 are the most"),
        (lambda raw: dstack_1(raw)[:-1], "e: it ends early, at offset "),
        (lambda raw: dstack_1(raw) + b"\0", "e: more follows than there should be"),
        (lambda raw: dstack_1(raw, version=2), "e: $.version: must be 1..1, got 2"),
        (
            lambda raw: dstack_1(raw, platform={"kind": "tdx"}),
            "e: $.platform.kind: must be sev-snp, got 'tdx'",
        ),
        (lambda raw: dstack_1(raw, platform={"data": 1}), "e: $.platform.data: must be a table"),
        (
            lambda raw: dstack_1(raw, data={"report": [300]}),
            "e: $.platform.data.report: must be a list of num",
        ),
        (lambda raw: dstack_1(raw, data={"cert_chain": {}}), "e: $.platform.data.cert_chain: must be a list"),
        (
            lambda raw: dstack_1(raw, data={"cert_chain": [1]}),
            "e: $.platform.data.cert_chain[0]: must be a list",
        ),
        (lambda raw: tsm_cbor(raw)[:-1], "e: neither bytes nor text of a known size, at offset 9"),
        (lambda raw: tsm_cbor(raw) + b"\0", "e: more follows the map, at offset 1196"),
        (
            lambda raw: b"\xa2" + tsm_cbor(raw)[1:] * 2,
            "e: a key of the map is no text, or stands there twice",
        ),
        (
            lambda raw: b"\xa2" + tsm_cbor(raw)[1:] + b"\x41a\x41b",
            "e: a key of the map is no text, or stands",
        ),
        (lambda raw: b"\xa2" + tsm_cbor(raw)[1:] + b"\x61a\xf6", "e: neither bytes nor text of a known size"),
        (lambda _raw: b"\xa1\x61a\x49\0\x67outblob", "e: the map has no outblob"),
        (
            lambda _raw: b"\xa2\x61a\x41\0\x67outblob",
            "e: neither bytes nor text of a known size, at offset 13",
        ),
        (
            lambda _raw: b"\xa1\x67outblob\x5b" + bytes(9),
            "e: neither bytes nor text of a known size, at offset 9",
        ),
        (
            lambda _raw: b"\xa1\x67outblob\x5f" + bytes(9),
            "e: neither bytes nor text of a known size, at offset 9",
        ),
        (
            lambda _raw: b'{"attestation": "0003030000"}',
            "e: attestation: a size is greater than any that fits",
        ),
    ],
)
def test_what_is_no_evidence_is_refused(make: Callable[[bytes], bytes], error: str) -> None:
    data = make(authority().report())
    with pytest.raises(SevbuildError) as caught:
        read_evidence(data, "e")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ab" * 48,
        b"\0\x03" * 2000,
        b"\2\0\0\0" * 1024,
        b"{}",
        b"[1]",
        b'{"schema": 1}',
        b"{",
        b"\x7fELF" + bytes(2000),
        b"text",
        b"IGVM",
    ],
)
def test_other_files_have_no_marks_of_evidence(data: bytes) -> None:
    assert not is_evidence(data)
    assert not is_evidence(data.ljust(EVIDENCE_LIMIT + 1))


def test_what_configfs_tsm_has_beside_the_report_is_told() -> None:
    home = authority()
    report = home.report()
    data = tsm(report, auxblob=table({"VCEK": home.vcek.der}), provider="sev_guest\n", manifestblob=b"abc")
    evidence = read_evidence(data, "t.json")
    assert (evidence.form, evidence.report) == ("tsm", report)
    assert [one.source for one in evidence.certificates] == ["t.json: auxblob: VCEK"]
    assert evidence.notes == ("t.json: manifestblob, 3 bytes: what a service lists of itself, not read",)
    assert read_evidence(tsm(report, auxblob=b""), "t.json").certificates == ()
    auxblob = table({"VCEK": home.vcek.der})
    cbor = tsm_cbor(report, auxblob=auxblob, provider="sev_guest\n", manifestblob=b"abc")
    found = read_evidence(cbor, "t.json")
    assert (found.report, found.notes, len(found.certificates)) == (report, evidence.notes, 1)


@pytest.mark.parametrize("size", [0, 23, 24, 25, 255, 256, 0xFFFF, 0x10000])
def test_sizes_of_cbor_are_read(size: int) -> None:
    report = authority().report()
    found = read_evidence(tsm_cbor(report, more=b"m" * size, manifestblob=b"n" * size), "t")
    assert found.report == report
    assert bool(found.notes) == bool(size)


def test_the_largest_evidence_is_read() -> None:
    report = authority().report()
    largest = report.ljust(EVIDENCE_LIMIT, b"\0")
    assert is_evidence(largest)
    assert read_evidence(largest, "e").report == report


@pytest.mark.parametrize(
    ("digits", "said"),
    [("010000", False), ("01000000", True), ("ff000000", True), ("00000000", False), ("01010000", False)],
)
def test_what_begins_as_a_report_is_told_its_size(digits: str, said: bool) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_evidence(digits.encode(), "e")
    assert caught.value.message == "e: no evidence of a guest" + (
        f": a report is 1184 bytes, not {len(digits) // 2}" if said else ""
    )
    assert (caught.value.hint is None) == said


@pytest.mark.parametrize("form", [list, bytes])
def test_version_1_of_dstack_has_its_certificates(form: type) -> None:
    report = authority().report()
    data = {"report": form(report), "cert_chain": [form(b"c" * 70_000), form(b"")]}
    found = read_evidence(dstack_1(report, data=data), "d")
    assert (found.form, found.report) == ("dstack", report)
    assert [(one.source, len(one.data)) for one in found.certificates] == [
        ("d: cert_chain[0]", 70_000),
        ("d: cert_chain[1]", 0),
    ]


def test_an_attestation_may_end_with_its_certificates() -> None:
    for make in (dstack, dstack_1):
        assert len(read_evidence(make(authority().report(), *[b"c"] * 16), "d").certificates) == 16
    assert len(read_evidence(dstack(authority().report(), b"c" * 100, rest=b""), "d").certificates) == 1


@pytest.mark.parametrize("size", [0, 63, 64, (1 << 14) - 1, 1 << 14])
def test_sizes_of_scale_are_read(size: int) -> None:
    data = dstack(authority().report(), b"c" * size, rest=b"more")
    (one,) = read_evidence(data, "d").certificates
    assert (one.data, one.source) == (b"c" * size, "d: cert_chain[0]")
    assert len(compact(size)) == 1 + (size > 63) + 2 * (size >= 1 << 14)


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    home = authority()
    report = home.report()
    whole = [make(report) for make in FORMS_OF_OURS.values()]
    whole += [
        report + table({"VCEK": home.vcek.der}),
        json.dumps(trustee(decode_report(report, "r"))).encode(),
    ]
    return whole


@given(st.data())
def test_bent_evidence_is_read_or_refused_clearly(seeds: list[bytes], data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(seed) - 1))
        seed[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
        if not seed:
            break
    with suppress(SevbuildError):
        evidence = read_evidence(bytes(seed), "evidence")
        decode_report(evidence.report, "evidence")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_evidence_or_one_clear_error(data: bytes) -> None:
    marked = is_evidence(data)
    try:
        read_evidence(data, "evidence")
    except SevbuildError:
        return
    assert marked


def test_no_evidence_takes_long(tmp_path: Path) -> None:
    """What is as large as may be is read in time that does not grow faster than it."""
    from time import process_time

    del tmp_path
    report = authority().report()
    large = EVIDENCE_LIMIT - 4096
    for data in (
        report + bytes(large),
        b"0" * large,
        b"A" * large,
        b'{"attestation": "' + b"0" * large + b'"}',
        b'{"outblob": "' + b"A" * large + b'"}',
        b'{"attestation_report": {}, "cert_chain": [' + b"{}," * (large // 3) + b"{}]}",
        hcl(report, b'{"a": [' + b"1," * (large // 2) + b"1]}"),
    ):
        start = process_time()
        with suppress(SevbuildError):
            read_evidence(data, "evidence")
        assert process_time() - start < 10

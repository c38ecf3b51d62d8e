"""Reports as data: the values of every vector, and every way in which bytes are no report."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.evidence import read_evidence
from sevbuild.attest.report import (
    REPORT_SIZE,
    SIGNATURE_OFFSET,
    FirmwareVersion,
    Report,
    decode_report,
    encode_report,
    reserved_set,
)
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import FIELDS, authority
from tests.support.shared import needs_vectors, shared_file

pytestmark = needs_vectors

# What vectors/reports/README.md says: version, FMS, SIGNING_KEY, VMPL, policy, PLATFORM_INFO, firmware,
# mitigation vectors, SHA-256 of the report (its first 16 digits).
REPORTS = {
    "turin-v5-oak": (5, "1a/02/01", 0, 0, 0x30000, 0x67, "1.55.61", 0x0, "3f44a09b769aae24"),
    "turin-v5-azure-aci": (5, "1a/02/01", 0, 0, 0x3001F, 0x65, "1.55.65", 0x3F, "85da705e19cdc2b8"),
    "turin-v5-bitcoin-pir-a": (5, "1a/11/00", 0, 0, 0x30000, 0x65, "1.55.65", 0x3F, "25476442a39b01ad"),
    "genoa-v5-oak": (5, "19/11/01", 0, 0, 0x30000, 0x25, "1.55.43", 0x1, "6d1ceffae6ad5cae"),
    "genoa-v3-routex": (3, "19/11/01", 0, 0, 0x30000, 0x25, "1.55.39", None, "dc5d431d8aa7725b"),
    "siena-bergamo-v5-attestation-rs": (
        5,
        "19/a0/02",
        0,
        0,
        0x30000,
        0x25,
        "1.55.49",
        0xB,
        "8fd94192d32f9c79",
    ),
    "genoa-v3-azure-aci": (3, "19/11/01", 0, 0, 0x3001F, 0x27, "1.55.40", None, "4ae0e73ab3a0e461"),
    "milan-v3-azure-aci": (3, "19/01/01", 0, 0, 0x3001F, 0x25, "1.55.29", None, "e75e8d4efa81c2ce"),
    "milan-v3-azure-cvm": (3, "19/01/01", 0, 0, 0x3001F, 0x25, "1.55.29", None, "14fd2b6e459c85e7"),
    "milan-v3-aws-vlek": (3, "19/01/01", 1, 1, 0x30000, 0x27, "1.55.29", None, "decdab949afc5906"),
    "milan-v2-gcp-automata": (2, None, 0, 0, 0x30000, 0x1, "1.55.20", None, "597d1fae0914bc33"),
    "milan-v2-vmpl2-cocos-nocert": (2, None, 0, 2, 0x30000, 0x0, "1.55.8", None, "a29b3dfccc9cc2bf"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_the_values_it_is_listed_with(name: str) -> None:
    raw = shared_file(f"reports/{name}.report.bin").read_bytes()
    version, fms, key, vmpl, policy, platform, firmware, mitigations, digest = REPORTS[name]
    report = decode_report(raw, name)
    assert (report.version, report.signing_key, report.vmpl) == (version, key, vmpl)
    assert (report.policy, report.platform_info, str(report.current_version)) == (policy, platform, firmware)
    found = (report.cpuid_fam_id, report.cpuid_mod_id, report.cpuid_step)
    assert found == ((None,) * 3 if fms is None else tuple(int(part, 16) for part in str(fms).split("/")))
    assert report.launch_mit_vector == report.current_mit_vector == mitigations
    assert (report.signature_algo, sha256(raw).hexdigest()[:16]) == (1, digest)
    product = report.product
    assert (None if product is None else product.name.lower()) == (
        None if fms is None else "genoa" if name.startswith("siena") else name.partition("-")[0]
    )
    assert reserved_set(report, product) == []
    assert report.signed == raw[:0x2A0]
    assert encoded(report) == raw


@pytest.mark.parametrize(
    ("name", "version", "policy", "firmware", "measurement"),
    [
        ("launch-abi/trustee/test-report.bin", 2, 0x3001F, "1.52.4", "a1f39304"),
        ("publish/trustee/snp-test-report.bin", 2, 0x3001F, "1.52.4", "a1f39304"),
        ("launch-abi/go-sev-guest/attestation.bin", 2, 0xB0000, "1.49.3", "b07af962"),
        ("launch-abi/virtee-sev/report_milan.hex", 2, 0x30000, "1.52.4", "7a1e5c26"),
        ("publish/dstack/extracted-report.bin", 3, 0x30000, "1.55.29", "7f51e17f"),
        ("publish/veraison/sevsnp-tsm-report.json", 3, 0x30000, "1.55.40", "7699e6ac"),
        ("reports/trustee-evidence.json", 3, 0x30000, "1.55.40", "6a6519d7"),
    ],
)
def test_reports_of_other_projects_have_their_values(
    name: str, version: int, policy: int, firmware: str, measurement: str
) -> None:
    report = decode_report(read_evidence(shared_file(name).read_bytes(), name).report, name)
    assert (report.version, report.policy, str(report.current_version)) == (version, policy, firmware)
    assert report.measurement.hex()[:8] == measurement
    assert encoded(report) == report.raw


def encoded(report: Report) -> bytes:
    """Return a report written anew from its fields."""
    flags = report.author_key_en | report.mask_chip_key << 1 | report.signing_key << 2
    return encode_report({**report._asdict(), "key_info": flags}, report.signature.encode(144))


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin", "Venice"])
def test_each_field_stands_at_its_own_place(product: str) -> None:
    """Each field of the ABI is set alone, to bytes that differ from each other."""
    home = authority(product)
    plain = decode_report(home.report(version=5), "plain")
    for name, (_at, size) in FIELDS.items():
        value = bytes(range(0xA1, 0xA1 + size))
        if name in ("version", "key_info", "signature_algo") or name.startswith("cpuid"):
            continue
        report = decode_report(home.report(version=5, **{name: value}), "bent")
        changed = {
            field
            for field, old in plain._asdict().items()
            if field not in ("raw", "signature") and old != getattr(report, field)
        }
        assert changed == {name}
        found = getattr(report, name)
        if isinstance(found, FirmwareVersion):
            assert found == tuple(reversed(value))
        else:
            assert found == (value if isinstance(found, bytes) else int.from_bytes(value, "little"))
    assert plain.product == home.product


def test_key_info_is_three_fields() -> None:
    for bits in range(32):
        report = decode_report(authority().report(key_info=bits), "report")
        assert (report.author_key_en, report.mask_chip_key) == (bool(bits & 1), bool(bits & 2))
        assert report.signing_key == bits >> 2
        assert reserved_set(report, report.product) == []


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_an_older_version_has_fewer_fields(version: int) -> None:
    raw = authority().report(version=version, launch_mit_vector=1, current_mit_vector=2)
    report = decode_report(raw, "report")
    assert (report.cpuid_fam_id is None) == (version < 3)
    assert (report.product is None) == (version < 3)
    assert (report.launch_mit_vector, report.current_mit_vector) == ((1, 2) if version == 5 else (None, None))
    # What it does not have is reserved in it.
    reserved = {2: ["0x188", "0x189", "0x18a", "0x1f8", "0x200"], 5: []}.get(version, ["0x1f8", "0x200"])
    known = authority().product
    assert reserved_set(report, known) == [at for at in reserved if raw[int(at, 16)]]


@pytest.mark.parametrize("version", [6, 7, 0x01000003, 0xFFFFFFFF])
def test_a_newer_version_is_read_where_it_is_allowed(version: int) -> None:
    raw = authority().report(version=version, launch_mit_vector=7)
    with pytest.raises(SevbuildError, match=f"version {version} is newer than 5") as caught:
        decode_report(raw, "report")
    assert "--allow-unknown-version" in (caught.value.hint or "")
    assert decode_report(raw, "report", allow_unknown_version=True).launch_mit_vector == 7


@pytest.mark.parametrize("version", [0, 1])
def test_what_is_older_than_any_guest_is_never_read(version: int) -> None:
    with pytest.raises(SevbuildError, match=f"version {version} is none that a guest gets"):
        decode_report(authority().report(version=version), "report", allow_unknown_version=True)


@pytest.mark.parametrize("size", [0, 1, REPORT_SIZE - 1, REPORT_SIZE + 1, 2 * REPORT_SIZE])
def test_another_size_is_no_report(size: int) -> None:
    raw = (authority().report() * 2)[:size]
    with pytest.raises(SevbuildError, match=f"report.bin: a report is 1184 bytes, not {size}"):
        decode_report(raw, "report.bin")


def test_nothing_that_is_unsigned_may_be_set() -> None:
    raw = authority().report()
    numbers = {at for start in (0x2A0, 0x2E8) for at in range(start, start + 48)}
    for at in range(SIGNATURE_OFFSET, REPORT_SIZE):
        bent = bytearray(raw)
        bent[at] ^= 0x80
        if at in numbers:
            decode_report(bytes(bent), "report")
            continue
        where = "SIGNATURE.[RS]" if at < 0x330 else f"byte 0x{at:03x}"
        with pytest.raises(SevbuildError, match=where):
            decode_report(bytes(bent), "report")


@pytest.mark.parametrize("product", ["Milan", "Turin"])
def test_reserved_bytes_that_are_signed_are_found_each(product: str) -> None:
    home = authority(product)
    raw = home.report(version=5)
    fields = {at for at, size in FIELDS.values() for at in range(at, at + size)}
    for at in sorted(set(range(SIGNATURE_OFFSET)) - fields):
        bent = bytearray(raw)
        bent[at] = 1
        assert reserved_set(decode_report(bytes(bent), "report"), home.product) == [f"0x{at:03x}"]
    for bit in range(5, 32):
        report = decode_report(home.report(key_info=1 << bit), "report")
        assert reserved_set(report, home.product) == ["KEY_INFO bits 31:5"]
    report = decode_report(home.report(version=5, current_mit_vector=1 << 63), "report")
    assert reserved_set(report, home.product) == []


def test_reserved_bytes_of_a_tcb_are_those_of_its_product() -> None:
    tcbs = dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), 0)
    for name in tcbs:
        for product in (authority("Milan").product, authority("Turin").product):
            used = {at for _part, at in product.parts}
            for at in range(8):
                report = decode_report(authority().report(**{**tcbs, name: 1 << 8 * at}), "report")
                said = [] if at in used else [f"{name.upper()} bits {1 << 8 * at:#018x}"]
                assert reserved_set(report, product) == said
                assert reserved_set(report, None) == []


def test_a_report_without_fields_is_zeros() -> None:
    assert encode_report({}, b"") == bytes(REPORT_SIZE)


@given(st.binary(max_size=64) | st.binary(min_size=REPORT_SIZE, max_size=REPORT_SIZE), st.booleans())
def test_any_bytes_are_a_report_or_one_clear_error(raw: bytes, newer: bool) -> None:
    with suppress(SevbuildError):
        report = decode_report(raw, "report", allow_unknown_version=newer)
        reserved_set(report, report.product)
        assert len(report.signed) == SIGNATURE_OFFSET

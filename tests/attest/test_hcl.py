"""Azure's HCL report: what REPORT_DATA binds, the TPM's quote, and every way in which either is none."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.evidence import read_evidence
from sevbuild.attest.given import Evidence
from sevbuild.attest.hcl import check_binding, check_nonce, check_quote, decode_hcl
from sevbuild.attest.report import decode_report
from sevbuild.attest.tpm_quote import decode_quote, parse_nonce
from sevbuild.attest.verdict import Check
from sevbuild.errors import SevbuildError
from tests.support.amd_ca import authority, pem
from tests.support.evidence import PCRS, binding, hcl, message, quote, runtime
from tests.support.shared import needs_vectors, shared_file


def checks(evidence: Evidence) -> tuple[Check, Check]:
    """Return both checks of what an HCL report binds."""
    assert evidence.hcl is not None
    report = decode_report(evidence.report, "report")
    return check_binding(evidence.hcl, report), check_quote(evidence.hcl)


def azure(data: bytes, **parts: Any) -> bytes:
    """Return evidence of a confidential VM of Azure as JSON."""
    return json.dumps({"version": 2, "hcl_report": urlsafe_b64encode(data).decode(), **parts}).encode()


def ours(data: bytes | None = None, **parts: Any) -> bytes:
    """Return evidence that passes but for what is bent."""
    data = runtime() if data is None else data
    report = authority().report(report_data=binding(data))
    return azure(hcl(report, data), **{"tpm_quote": quote(message(b"nonce")), **parts})


@needs_vectors
@pytest.mark.parametrize(
    ("name", "nonce"),
    [
        ("azure-hcl-evidence-v1.json", b"challenge".hex()),
        (
            "azure-hcl-evidence-v2.json",
            "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef",
        ),
    ],
)
def test_what_azure_hands_out_is_bound_and_quoted(name: str, nonce: str) -> None:
    data = shared_file(f"reports/{name}").read_bytes()
    evidence = read_evidence(data, name)
    bound, quoted = checks(evidence)
    assert (bound.status, quoted.status, quoted.found) == ("pass", "pass", nonce)
    assert evidence.hcl is not None
    assert evidence.hcl.claims["vm-configuration"]["secure-boot"] is True
    # The HCL report alone, as it lies in the TPM, is the same without its quote.
    text = json.loads(data)["hcl_report"]
    alone = read_evidence(text.encode(), name)
    assert (alone.form, alone.report, alone.hcl) == (
        "hcl",
        evidence.report,
        evidence.hcl._replace(quote=None),
    )
    assert checks(alone)[1].status == "not checked"
    # Of either machine, the other's data.
    bent = bytearray(evidence.hcl.runtime)
    bent[-3] ^= 1
    swapped = evidence.hcl._replace(runtime=bytes(bent))
    assert check_binding(swapped, decode_report(evidence.report, name)).status == "fail"


@pytest.mark.parametrize(("kind", "algorithm"), [(1, "sha256"), (2, "sha384"), (3, "sha512")])
def test_the_hash_type_says_what_binds(kind: int, algorithm: str) -> None:
    data = runtime()
    for bound in ("sha256", "sha384", "sha512"):
        report = authority().report(report_data=binding(data, bound))
        evidence = read_evidence(hcl(report, data, data_head={3: kind}), "h")
        assert (checks(evidence)[0].status == "pass") == (bound == algorithm)


def test_zeros_behind_the_digest_are_part_of_the_binding() -> None:
    data = runtime()
    report_data = binding(data)[:32] + bytes(31) + b"\1"
    report = authority().report(report_data=report_data)
    bound = checks(read_evidence(hcl(report, data), "h"))[0]
    assert bound.status == "fail"
    assert bound.reason == "REPORT_DATA is not the SHA-256 of the runtime data, but not zeros behind it"


@pytest.mark.parametrize(
    ("bent", "error"),
    [
        ({"head": {0: 3}}, "an HCL report of version 3.1, where 1 and 2 are known"),
        ({"data_head": {1: 2}}, "an HCL report of version 1.2"),
        ({"head": {2: 1}}, "the HCL report has no SNP report"),
        ({"data_head": {2: 4}}, "no SNP report (type 2, 4): it is of a TDX guest"),
        ({"data_head": {2: 3}}, "no SNP report (type 2, 3)$"),
        ({"data_head": {2: 5}}, "no SNP report (type 2, 5)$"),
        ({"head": {3: 5}}, "the HCL report has status 0x5"),
        ({"head": {5: 1}}, "or reserved fields are set"),
        ({"data_head": {3: 0}}, "hash type 0 of the HCL report is none of 1 to 3"),
        ({"data_head": {4: 1 << 31}}, "the sizes in the HCL report do not fit"),
        ({"data_head": {0: 3}}, "the sizes in the HCL report do not fit"),
        ({"head": {1: 3}}, "the sizes in the HCL report do not fit"),
        ({"rest": b"\0\1"}, "bytes are set behind the end of the HCL report"),
    ],
)
def test_an_hcl_report_of_another_kind_is_refused(bent: dict[str, Any], error: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_evidence(hcl(authority().report(), b"{}", **bent), "h")
    assert str(caught.value).startswith("h: ")
    assert error in f"{caught.value}$"


def test_sizes_that_agree_with_each_other_have_to_fit_the_bytes() -> None:
    report = authority().report()
    assert read_evidence(hcl(report, b"{}", rest=b""), "h").report == report
    for more in (1, 100, 1236, 1 << 20):
        heads = {"head": {1: 1238 + more}, "data_head": {0: 22 + more, 4: 2 + more}}
        with pytest.raises(SevbuildError, match="the sizes in the HCL report do not fit its 1238 bytes"):
            read_evidence(hcl(report, b"{}", rest=b"", **heads), "h")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "h: runtime data:1: not valid JSON"),
        (b"[]", "h: runtime data: must be an object"),
        (b"{", "h: runtime data:1: not valid JSON"),
        (b'{"keys": [], "keys": []}', "h: runtime data: not a readable JSON document: the key 'keys' appears twice"),
        (b"\xff", "h: runtime data: not UTF-8"),
    ],
)  # fmt: skip
def test_runtime_data_is_an_object(data: bytes, error: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_evidence(hcl(authority().report(), data, rest=b""), "h")
    assert error in str(caught.value)


def test_what_is_too_short_is_no_hcl_report() -> None:
    with pytest.raises(SevbuildError, match="an HCL report has 1236 bytes or more, not 100"):
        read_evidence(hcl(authority().report(), b"{}")[:100], "h")


def test_our_own_quote_passes() -> None:
    bound, quoted = checks(read_evidence(ours(), "a.json"))
    assert (bound.status, quoted.status, quoted.found) == ("pass", "pass", b"nonce".hex())
    assert quoted.reason == "the TPM signed 24 PCRs and a nonce with HCLAkPub"
    # Fewer PCRs are as good.
    some = ours(tpm_quote=quote(message(b"n", b"\x01\x80")))
    assert checks(read_evidence(some, "a.json"))[1].status == "pass"


@pytest.mark.parametrize("vcek", ["der", "pem"])
def test_the_vcek_comes_along(vcek: str) -> None:
    der = authority().vcek.der
    text = b64encode(der).decode() if vcek == "der" else pem(der).decode()
    (one,) = read_evidence(ours(vcek=text), "a.json").certificates
    assert (one.source, one.data) == ("a.json: vcek", der if vcek == "der" else pem(der))
    assert read_evidence(ours(vcek=None, tpm_quote=None), "a.json").certificates == ()


@pytest.mark.parametrize(
    ("bent", "reason"),
    [
        ({"signature": "00" * 256}, "the quote was not signed by the TPM's key in the runtime data"),
        ({"signature": "00"}, "the quote was not signed by the TPM's key in the runtime data"),
        ({"pcrs": [pcr.hex() for pcr in PCRS[:9]]}, "the quote is of PCR 23, where 9 are given"),
        ({"pcrs": [pcr.hex() for pcr in PCRS[:23]]}, "the quote is of PCR 23, where 23 are given"),
        ({"pcrs": []}, "the quote is of PCR 23, where 0 are given"),
        ({"pcrs": [pcr.hex() for pcr in reversed(PCRS)]}, "the quote is of other PCR values than those given"),
    ],
)  # fmt: skip
def test_a_quote_of_others_fails(bent: dict[str, Any], reason: str) -> None:
    evidence = read_evidence(ours(tpm_quote={**quote(message(b"nonce")), **bent}), "a.json")
    assert checks(evidence)[1][1:3] == ("fail", reason)


def test_the_nonce_of_a_quote_is_held_to_what_was_asked_for() -> None:
    found = read_evidence(ours(), "a.json").hcl
    assert found is not None
    for nonces, status in (((), "not checked"), ((b"nonce",), "pass"), ((b"other", b"nonce"), "pass")):
        assert check_nonce(found, nonces).status == status
    for one in (b"nonc", b"nonce\0", b""):
        assert check_nonce(found, (one,))[1:3] == ("fail", "another than was asked for")
    for none in (None, found._replace(quote=None)):
        assert check_nonce(none, ()) == ("tpm-nonce", "not checked", "there is no TPM quote", "", "")
        assert check_nonce(none, (b"n",)) == ("tpm-nonce", "fail", "there is no TPM quote", "", "6e")


@pytest.mark.parametrize("text", ["", "0", "0x", "nonce", "00" * 65])
def test_what_is_no_nonce_is_refused(text: str) -> None:
    with pytest.raises(SevbuildError, match=r"^must be 1 to 64 bytes in hexadecimal digits, got "):
        parse_nonce(text)
    assert parse_nonce("0xAB" + "00" * 63) == b"\xab" + bytes(63)


@pytest.mark.parametrize("pcrs", [[], [pcr.hex() for pcr in PCRS]])
def test_a_quote_of_no_pcr_fails(pcrs: list[str]) -> None:
    evidence = read_evidence(ours(tpm_quote={**quote(message(b"n", b"\0\0\0")), "pcrs": pcrs}), "a.json")
    assert checks(evidence)[1][1:3] == ("fail", "the quote is of no PCR")


def number(value: int) -> str:
    """Return a number as a JWK has it."""
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def test_a_key_of_any_size_up_to_8192_bits_is_read() -> None:
    found = decode_quote(message(b"n"), b"", (), "q")
    for bits in (2048, 3072, 8192):
        key = {"kty": "RSA", "e": "AQAB", "n": number((1 << bits) - 1)}
        assert found.key_of(key).key_size == bits


@pytest.mark.parametrize(
    "bent",
    [
        {"n": number((1 << 2047) - 1)},
        {"n": number((1 << 8192) + 1)},
        {"n": number((1 << 2048) - 2)},
        {"e": number(65539)},
        {"kty": "EC"},
        {"e": "AQ"},
        {"n": "AQAB"},
        {"n": None},
        {"n": "?"},
        {"n": "_" * 1600},
    ],
)
def test_a_key_that_is_none_fails(bent: dict[str, Any]) -> None:
    found = checks(read_evidence(ours(runtime(**bent)), "a.json"))[1]
    assert (found.status, found.reason.startswith("the TPM's key is no RSA key of 2048 bits")) == (
        "fail",
        True,
    )


def test_two_keys_of_the_tpm_are_none() -> None:
    """Whoever takes the first and whoever takes the last would hold the quote to different keys."""
    keys = json.loads(runtime())["keys"]
    data = json.dumps({"keys": [*keys, {**keys[1], "n": "AQAB"}]}).encode()
    found = checks(read_evidence(ours(data), "a.json"))[1]
    assert found[1:3] == ("fail", "the runtime data has 2 keys HCLAkPub, where one is expected")


@pytest.mark.parametrize("data", [b"{}", b'{"keys": 1}', b'{"keys": [1]}', runtime(kid="HCLEkPub")])
def test_a_key_that_is_absent_fails(data: bytes) -> None:
    found = checks(read_evidence(ours(data), "a.json"))[1]
    assert (found.status, found.reason) == (
        "fail",
        "the runtime data has 0 keys HCLAkPub, where one is expected",
    )


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (message(b"n", kind=b"\x80\x17"), "no quote of a TPM"),
        (b"\xffTCG", "it ends early"),
        (message(b"n")[:-1], "it ends early"),
        (message(b"n", rest=b"\0"), "more follows than there should be"),
        (message(b"n", algorithm=4), "the quote is not of the bank of SHA-256 alone"),
        (
            message(b"n", banks=pack(">IHB", 2, 0x0B, 1) + b"\1" + pack(">HB", 0x0B, 1) + b"\1"),
            "the quote is not of the bank of SHA-256 alone",
        ),
        (message(b"n", banks=pack(">I", 1 << 31)), "the quote is not of the bank of SHA-256 alone"),
        (message(b"n", banks=pack(">I", 0)), "the quote is not of the bank of SHA-256 alone"),
        (message(b"n", banks=pack(">IH", 1, 0x0B) + b"\xff"), "it ends early"),
    ],
)
def test_what_is_no_quote_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_evidence(ours(tpm_quote=quote(data)), "a.json")
    assert str(caught.value).startswith("a.json: tpm_quote: ")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("bent", "error"),
    [
        ({"tpm_quote": {}}, "$.tpm_quote.message: missing"),
        ({"tpm_quote": {"message": "0", "signature": "00", "pcrs": []}}, "$.tpm_quote.message: must be hexadecimal"),
        ({"tpm_quote": {"message": "00", "signature": "00", "pcrs": ["00"]}}, "$.tpm_quote.pcrs[0]: must be 64 hex"),
        ({"tpm_quote": 1}, "$.tpm_quote: must be a table"),
        ({"hcl_report": "?"}, "$.hcl_report: must be base64"),
        ({"vcek": 1}, "$.vcek: must be a string"),
    ],
)  # fmt: skip
def test_evidence_that_is_no_json_of_azures_is_refused(bent: dict[str, Any], error: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_evidence(ours(**bent), "a.json")
    assert error in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_any_bytes_are_an_hcl_report_or_one_clear_error(data: bytes, at: int) -> None:
    whole = hcl(authority().report(), runtime())
    for raw in (data, whole[:at] + data + whole[at + len(data) :]):
        with suppress(SevbuildError):
            decode_hcl(raw, "h")
        with suppress(SevbuildError):
            decode_quote(raw, b"", (), "q")

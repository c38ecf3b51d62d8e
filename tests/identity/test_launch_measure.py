"""Measurements, what hosts report of them, and the mistakes that are found where they do not match."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.identity.host_report import HostReport, merged_reports, read_host_report
from sevbuild.identity.launch_measure import MeasuredLaunch, parse_nonce
from sevbuild.identity.measure_mistakes import Claim, mistakes
from sevbuild.identity.sev_session import TransportKeys

TIK, TEK = bytes(range(16)), bytes(range(16, 32))
KEYS = TransportKeys(TEK, TIK)
NONCE = bytes(range(100, 116))
DIGEST = bytes(range(32))
LAUNCH = MeasuredLaunch(1, 55, 24, 0x5, DIGEST)
MEASURE = LAUNCH.measure(TIK, NONCE)
BLOB = MEASURE + NONCE
TEXT = b64encode(BLOB).decode()


def test_the_measurement_of_virtee_and_sev_tool() -> None:
    """The example of AMDESE/sev-tool readme.md, which virtee/sev src/session/mod.rs tests as well."""
    digest = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    tik = bytes.fromhex("66320db73158a35a255d051758e95ed4")
    nonce = bytes.fromhex("4fbe0bedbad6c86ae8f68971d103e554")
    expected = "6faab2daae389bcd3405a05d6cafe33c0414f7bedd0bae19ba5f38b7fd1664ea"
    assert MeasuredLaunch(0, 0x12, 0x0F, 0, digest).blob(tik, nonce).hex() == expected + nonce.hex()


def test_old_firmware_says_nothing_of_itself() -> None:
    old, older = (MeasuredLaunch(0, 16, build, 0x5, DIGEST) for build in (1, 2))
    assert old.measure(TIK, NONCE) == older.measure(TIK, NONCE)
    new, newer = (MeasuredLaunch(0, 17, build, 0x5, DIGEST) for build in (1, 2))
    assert new.measure(TIK, NONCE) != newer.measure(TIK, NONCE)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


QUERY = {"enabled": True, "api-major": 1, "api-minor": 55, "build-id": 24, "policy": 5, "state": "launch-secret", "handle": 1}  # fmt: skip
ALL = HostReport(MEASURE, NONCE, 1, 55, 24, 5)
VIRSH = f"""sev-measurement: {TEXT}
sev-api-major  : 1
sev-api-minor  : 55
sev-build-id   : 24
sev-policy     : 5

"""


@pytest.mark.parametrize(
    ("data", "report"),
    [
        (BLOB, HostReport(MEASURE, NONCE)),
        (TEXT.encode(), HostReport(MEASURE, NONCE)),
        (f"{TEXT[:40]}\n{TEXT[40:]}\n".encode(), HostReport(MEASURE, NONCE)),
        (BLOB.hex().encode(), HostReport(MEASURE, NONCE)),
        (b"0x" + BLOB.hex().upper().encode(), HostReport(MEASURE, NONCE)),
        (MEASURE.hex().encode() + b"\n", HostReport(MEASURE)),
        (b64encode(MEASURE), HostReport(MEASURE)),
        (_json({"return": {"data": TEXT}, "id": "libvirt-12"}), HostReport(MEASURE, NONCE)),
        (_json({"data": TEXT}), HostReport(MEASURE, NONCE)),
        (_json({"return": QUERY}), HostReport(None, None, 1, 55, 24, 5)),
        (json.dumps({"return": {"data": TEXT}}, indent=2).encode(), HostReport(MEASURE, NONCE)),
        (
            b"\n".join(
                map(_json, ({"QMP": {"version": {}}}, {"return": {}}, {"return": {"data": TEXT}}, {"return": QUERY}))
            ),
            ALL,
        ),
        (VIRSH.encode(), ALL),
        (VIRSH.replace("\n", "\r\n").encode(), ALL),
        (b"sev-policy : 7\nsev-secret-set-address : 1\n", HostReport(policy=7)),
    ],
)  # fmt: skip
def test_hosts_report_in_many_ways(data: bytes, report: HostReport) -> None:
    assert read_host_report(data, "host") == report


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "host: not what a host reports"),
        (BLOB[:-1], "host: not what a host reports"),
        (MEASURE, "host: not what a host reports"),
        (b"sev-policy: 5\nnonsense", "host: not what a host reports"),
        (b"{", "host:1: not valid JSON"),
        (_json({"return": {}}), "host: no answer to query-sev-launch-measure"),
        (_json({"return": 5}), "host: no answer to query-sev-launch-measure"),
        (b"{}\n{}", "host: no answer to query-sev-launch-measure"),
        (_json({"data": "x"}), "host: its measurement is not the base64 of 48 bytes"),
        (_json({"data": 5}), "host: its measurement is not the base64 of 48 bytes"),
        (_json({"data": b64encode(MEASURE).decode()}), "not the base64 of 48 bytes"),
        (_json({"return": QUERY | {"build-id": 256}}), "host: build-id: not a number from 0 to 255"),
        (_json({"return": QUERY | {"policy": True}}), "host: policy: not a number"),
        (_json({"return": QUERY | {"api-major": "1"}}), "host: api-major: not a number"),
        (_json({"return": QUERY | {"api-minor": -1}}), "host: api-minor: not a number"),
        (b"sev-api-major: 0x1", "host: sev-api-major: not a number from 0 to 255"),
        (b"sev-policy: " + b"9" * 5000, "host: sev-policy: not a number"),
        (b"sev-measurement: x", "host: its measurement is not the base64"),
        (_json({"return": QUERY}) + b"\n" + _json({"return": QUERY | {"policy": 7}}), "host: another policy than in host"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_told(data: bytes, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        read_host_report(data, "host")


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_noise_breaks_no_reader(data: bytes) -> None:
    with suppress(SevbuildError):
        report = read_host_report(data, "host")
        assert report.measure is None or len(report.measure) == 32


@given(
    st.sampled_from([_json({"return": QUERY}), VIRSH.encode(), TEXT.encode()]),
    st.integers(0, 150),
    st.binary(max_size=3),
)
def test_a_bent_report_breaks_no_reader(data: bytes, at: int, piece: bytes) -> None:
    with suppress(SevbuildError):
        report = read_host_report(data[:at] + piece + data[at + len(piece) :], "host")
        assert report.policy is None or 0 <= report.policy < 1 << 32


def test_reports_add_up_unless_they_contradict_each_other() -> None:
    parts = [
        ("a", HostReport(MEASURE, NONCE)),
        ("b", HostReport(api_major=1)),
        ("c", HostReport(api_major=1, policy=0)),
    ]
    assert merged_reports(parts) == HostReport(MEASURE, NONCE, 1, None, None, 0)
    with pytest.raises(SevbuildError, match="d: another policy than in c") as caught:
        merged_reports([*parts, ("d", HostReport(policy=1))])
    assert caught.value.hint == "they are of two launches, or of two hosts"


@pytest.mark.parametrize(
    "text", [NONCE.hex(), f"0x{NONCE.hex().upper()}", b64encode(NONCE).decode(), f" {NONCE.hex()}\n"]
)
def test_a_nonce_is_hexadecimal_or_base64(text: str) -> None:
    assert parse_nonce(text) == NONCE


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b64encode(NONCE).hex(), "hexadecimal digits of base64 text"),
        (b64encode(NONCE.hex().encode()).decode(), "the base64 of hexadecimal digits"),
        (TEXT, "measurement and nonce: give it as what the host reports"),
        ("abc", "16 bytes: 32 hexadecimal digits, or base64"),
        ("é", "16 bytes: 32 hexadecimal digits, or base64"),
        ("ff" * 16 + "ff", "16 bytes"),
    ],
)
def test_a_nonce_in_the_wrong_notation_is_told(text: str, hint: str) -> None:
    with pytest.raises(SevbuildError, match="not a nonce") as caught:
        parse_nonce(text)
    assert hint in str(caught.value.hint)


OTHER = bytes(range(1, 33))


def _claim(**changes: Any) -> Claim:
    return Claim(
        MEASURE, NONCE, KEYS, LAUNCH, {"acme 1, sev-es/a": DIGEST, "acme 1, sev-es/b": OTHER}
    )._replace(**changes)


def _given(**changes: Any) -> Claim:
    return _claim(launch=LAUNCH._replace(**changes))


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        # AMDESE/sev-tool#44: numbers that query-sev has in decimal, typed where hexadecimal is read.
        (_given(api_minor=0x55), ["the API minor is 55, not 85: its decimal digits were taken for hexadecimal"]),
        (_given(build_id=0x24), ["the build is 24, not 36: its decimal digits were taken for hexadecimal"]),
        (_given(api_minor=37), ["the API minor is 55, not 37: its hexadecimal digits were taken for decimal"]),
        (
            _given(api_minor=0x55, build_id=0x24),
            [
                "the API minor is 55, not 85: its decimal digits were taken for hexadecimal; the build is 24, not 36: its decimal digits were taken for hexadecimal"
            ],
        ),
        (_given(api_major=55, api_minor=1), ["API major and minor are swapped"]),
        (_given(api_minor=24, build_id=55), ["API minor and build are swapped"]),
        (_given(api_minor=51, build_id=3), ["the platform's firmware is API 1.55 build 24, not API 1.51 build 3"]),
        (_given(api_major=0), ["the platform's firmware is API 1.55 build 24, not API 0.55 build 24"]),
        (_given(policy=0x7), ["the guest's policy is 0x5, not 0x7"]),
        (_given(policy=0x01370007), ["the guest's policy is 0x5, not 0x1370007"]),
        (_given(policy=0x05000000), ["the policy's bytes are in reverse order: it is 0x5"]),
        (
            _claim(launch=LAUNCH._replace(policy=0x39), measure=LAUNCH._replace(policy=39).measure(TIK, NONCE)),
            ["the policy is 0x27, not 0x39: its decimal digits were taken for hexadecimal"],
        ),
        (_claim(launch=LAUNCH._replace(policy=0)), ["the guest's policy is 0x5, not 0x0"]),
        # AMDESE/sev-tool#41: the other half of tmp_tk.bin.
        (_claim(keys=TransportKeys(TIK, TEK)), ["the key given as TIK is the TEK: the two are swapped"]),
        (_claim(keys=TransportKeys(b"", TIK[::-1])), ["the TIK's bytes are in reverse order"]),
        (
            _claim(measure=LAUNCH.measure(bytes(16), NONCE)),
            ["it was made under a TIK of zeros: the guest was launched without a session"],
        ),
        (_claim(nonce=NONCE[::-1]), ["the nonce's bytes are in reverse order"]),
        (_claim(measure=MEASURE[::-1]), ["the measurement's bytes are in reverse order"]),
        (_claim(measure=NONCE + MEASURE[:16], nonce=MEASURE[16:]), ["the nonce stands before the measurement"]),
        (_given(digest=OTHER), ["it is of acme 1, sev-es/a"]),
        (_given(digest=DIGEST[::-1]), ["it is of acme 1, sev-es/a"]),
        (_claim(launch=LAUNCH._replace(digest=DIGEST[::-1]), digests={}), ["the launch digest's bytes are in reverse order"]),
        (_claim(measure=OTHER), ["what was given as the measurement is the launch digest itself, which proves nothing"]),
        # Several at once.
        (
            _claim(launch=LAUNCH._replace(policy=7, api_minor=0x55), keys=TransportKeys(TIK, TEK)),
            [
                "the key given as TIK is the TEK: the two are swapped",
                "the API minor is 55, not 85: its decimal digits were taken for hexadecimal",
                "the guest's policy is 0x5, not 0x7",
            ],
        ),
        (
            _claim(launch=LAUNCH._replace(api_minor=51), keys=TransportKeys(TIK, TEK)),
            [
                "the platform's firmware is API 1.55 build 24, not API 1.51 build 24",
                "the key given as TIK is the TEK: the two are swapped",
            ],
        ),
        # Nothing explains these.
        (_claim(measure=bytes(32)), []),
        (_claim(measure=LAUNCH._replace(digest=bytes(32)).measure(TIK, NONCE)), []),
    ],
)  # fmt: skip
def test_a_mistake_is_named(claim: Claim, found: list[str]) -> None:
    assert mistakes(claim) == found

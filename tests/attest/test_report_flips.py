"""Every bit of a report and of an HCL report, turned over: docs/attestation.md says what refuses it."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from datetime import datetime, timezone

import pytest

from sevbuild.attest.certificate import decode_certificate
from sevbuild.attest.chain import check_chain
from sevbuild.attest.hcl import check_binding, decode_hcl
from sevbuild.attest.report import REPORT_SIZE, decode_report
from sevbuild.errors import SevbuildError
from sevbuild.identity.ecdsa import ORDER_P384, EcdsaSignature
from tests.attest.test_bit_flips import VEKS, failures, flipped
from tests.support.amd_ca import authority
from tests.support.shared import ROOT, needs_vectors, shared_file

pytestmark = needs_vectors
AT = datetime(2026, 7, 1, tzinfo=timezone.utc)
PAGE = (ROOT / "docs" / "attestation.md").read_text()
HCL_DATA = 0x4D4


def table(head: str) -> list[tuple[str, str, frozenset[str]]]:
    """Return a table of the page: first and last byte of each row as written, and what refuses a change."""
    _before, _head, rest = PAGE.partition(f"| {head} |")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", rest.partition("\n\n")[0], re.MULTILINE)
    spans = [(*row[0].partition("-")[::2], frozenset(row[1].split(", "))) for row in rows[1:]]
    assert len(spans) > 4
    return spans


def test_the_table_of_a_report_leaves_no_byte_out() -> None:
    spans = [(int(first, 16), int(last, 16)) for first, last, _by in table("bytes of a report")]
    assert [0, *(last + 1 for _first, last in spans)] == [*(first for first, _last in spans), REPORT_SIZE]


@pytest.mark.slow
@pytest.mark.parametrize("name", VEKS)
def test_every_flip_of_a_report_is_refused_by_what_its_range_names(name: str) -> None:
    whole = shared_file(f"reports/{name}.report.bin").read_bytes()
    vcek = decode_certificate(shared_file(f"reports/{name}.vcek.der").read_bytes(), "vcek")

    def refused_by(data: bytes) -> str:
        try:
            report = decode_report(data, "report")
        except SevbuildError:
            return "read"
        found = failures(check_chain(report, [vcek], product=None, at=AT))
        return "signature" if "signature" in found else ", ".join(found)

    assert refused_by(whole) == ""
    for first, last, by in table("bytes of a report"):
        seen = {refused_by(flipped(whole, bit)) for bit in range(8 * int(first, 16), 8 * (int(last, 16) + 1))}
        # Neither more nor less than the table says.
        assert seen == by, (first, last)


@pytest.mark.parametrize("name", VEKS)
def test_the_other_signature_verifies_as_well(name: str) -> None:
    """(R, n - S) is one by the nature of ECDSA: that a report's hash is no identity stands in the page."""
    whole = shared_file(f"reports/{name}.report.bin").read_bytes()
    vcek = decode_certificate(shared_file(f"reports/{name}.vcek.der").read_bytes(), "vcek")
    r, s = decode_report(whole, name).signature
    other = whole[:0x2A0] + EcdsaSignature(r, ORDER_P384 - s).encode(512)
    assert other != whole
    assert failures(check_chain(decode_report(other, name), [vcek], product=None, at=AT)) == set()
    assert "(R, n - S)" in PAGE


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (0, 0), (ORDER_P384, 1), (1, ORDER_P384)])
def test_numbers_that_are_none_verify_nothing(numbers: tuple[int, int]) -> None:
    home = authority()
    raw = home.report()[:0x2A0] + EcdsaSignature(*numbers).encode(512)
    vcek = decode_certificate(home.vcek.der, "vcek")
    assert "signature" in failures(check_chain(decode_report(raw, "report"), [vcek], product=None, at=AT))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_flip_of_an_hcl_report_is_refused_by_what_its_range_names(version: str) -> None:
    """The report in it is left out: its bytes are those of the test above."""
    document = json.loads(shared_file(f"reports/azure-hcl-evidence-{version}.json").read_text())
    whole = urlsafe_b64decode(document["hcl_report"] + "=")
    end = HCL_DATA + len(decode_hcl(whole, "hcl")[1].runtime)

    def refused_by(data: bytes) -> str:
        try:
            raw, binding = decode_hcl(data, "hcl")
        except SevbuildError:
            return "read"
        check = check_binding(binding, decode_report(raw, "report"))
        return check.name if check.status == "fail" else ""

    assert refused_by(whole) == ""
    spans = {"0x4d4": (HCL_DATA, end), "behind it": (end, len(whole))}
    reached = 0
    for first, last, by in table("bytes of an HCL report"):
        start, stop = spans.get(first) or (int(first, 16), int(last, 16) + 1)
        assert start == reached
        reached = stop
        if "signature" in by:
            assert (start, stop) == (0x20, 0x20 + REPORT_SIZE)
            continue
        assert {refused_by(flipped(whole, bit)) for bit in range(8 * start, 8 * stop)} == by, first
    assert reached == len(whole)

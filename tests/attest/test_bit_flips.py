"""Every bit of a VEK's certificate and of a table's head, flipped: what refuses it, by a table of ranges.

A flip is refused where the bytes are no certificate or no table any more (`DER`, `table`), or where a check
fails. What may be flipped and is accepted all the same stands here with the reason.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import NamedTuple

import pytest

from sevbuild.attest.certificate import certificates_in
from sevbuild.attest.certificate_table import decode_table, table_notes
from sevbuild.attest.chain import Chain, check_chain
from sevbuild.attest.der import BIT_STRING, SEQUENCE, Reader
from sevbuild.attest.report import Report, decode_report
from sevbuild.errors import SevbuildError
from tests.support.shared import needs_vectors, shared_file

pytestmark = needs_vectors
AT = datetime(2026, 7, 1, tzinfo=timezone.utc)
VEKS = ("milan-v3-azure-aci", "genoa-v5-oak", "turin-v5-oak")


class Range(NamedTuple):
    """Bytes of a file, and what may refuse a flip in them: each flip is refused by one of these."""

    name: str
    first: int
    end: int
    refused_by: frozenset[str]


def ranges_of(whole: bytes) -> Iterator[Range]:
    """Yield the ranges of a certificate, which lie side by side."""
    outer = Reader(whole, "vek").element()
    yield Range("the certificate's tag and length", 0, outer.at, frozenset({"DER"}))
    start = outer.at
    inner = outer.element()
    yield Range("the signed part's tag and length", start, inner.at, frozenset({"DER"}))
    # Whatever the flip does to a field, AMD's signature is over all of them.
    yield Range("the signed part", inner.at, inner.end, frozenset({"DER", "chain"}))
    start = outer.at
    outer.raw(SEQUENCE)
    # It has to be the one that the signed part names.
    yield Range("the algorithm of the signature", start, outer.at, frozenset({"DER"}))
    start = outer.at
    bits = outer.element(BIT_STRING)
    yield Range("the signature's tag, length and unused bits", start, bits.at + 1, frozenset({"DER"}))
    yield Range("the signature", bits.at + 1, bits.end, frozenset({"chain"}))


def flipped(whole: bytes, bit: int) -> bytes:
    """Return bytes with one bit of them turned over."""
    data = bytearray(whole)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def failures(chain: Chain) -> set[str]:
    """Return the checks that failed."""
    return {check.name for check in chain.checks if check.status == "fail"}


def refusals(report: Report, data: bytes) -> set[str]:
    """Return what refuses a certificate as the report's: `DER` where it is none, else what fails."""
    try:
        given = certificates_in(data, "vek")
    except SevbuildError:
        return {"DER"}
    return failures(check_chain(report, given, product=None, at=AT))


@pytest.mark.slow
@pytest.mark.parametrize("name", VEKS)
def test_every_flip_of_a_vek_is_refused_by_what_its_range_names(name: str) -> None:
    report = decode_report(shared_file(f"reports/{name}.report.bin").read_bytes(), name)
    whole = shared_file(f"reports/{name}.vcek.der").read_bytes()
    assert refusals(report, whole) == set()
    ranges = list(ranges_of(whole))
    assert [(one.first, one.end) for one in ranges] == [
        (first, end)
        for first, end in zip(
            [0, *(one.end for one in ranges[:-1])], [*(one.end for one in ranges)], strict=True
        )
    ]
    assert ranges[-1].end == len(whole)
    seen = Counter[str]()
    for one in ranges:
        for bit in range(8 * one.first, 8 * one.end):
            found = refusals(report, flipped(whole, bit))
            assert found & one.refused_by, (one.name, bit, found)
            seen[one.name] += 1
    assert seen.total() == 8 * len(whole)


def table() -> tuple[Report, bytes]:
    """Return the one real certificate table of the vectors, and its report."""
    document = json.loads(shared_file("publish/veraison/sevsnp-tsm-report.json").read_text())
    blob, out = (urlsafe_b64decode(document[name] + "==") for name in ("auxblob", "outblob"))
    return decode_report(out, "outblob"), blob


def read(report: Report, blob: bytes) -> tuple[Chain | None, str]:
    """Return what a table's certificates prove, None with the reason where there is no reading it."""
    try:
        given = [
            one for part in decode_table(blob, "table") for one in certificates_in(part.data, part.source)
        ]
    except SevbuildError as error:
        return None, str(error)
    return check_chain(report, given, product=None, at=AT), "; ".join(table_notes(blob, "table"))


# Each entry of the head: GUID, offset and size; then the entry of zeros that ends it. A flip of ARK or ASK is
# ignored wherever it leaves something to read: neither is needed, for AMD's keys are pinned. One of the
# VCEK's place may leave its PEM within what it names: the certificate is held to AMD's key, not its place.
HEAD = (
    ("ARK", frozenset({"table", "ignored"})),
    ("ASK", frozenset({"table", "ignored"})),
    ("VCEK", frozenset({"table", "signature", "same certificate"})),
    ("the end", frozenset({"table", "ignored"})),
)


def outcome(report: Report, whole: bytes, data: bytes) -> str:
    """Return what becomes of a table with a flip in it."""
    before, after = read(report, whole)[0], read(report, data)[0]
    assert before is not None
    assert before.vek is not None
    if after is None:
        return "table"
    if after.vek is None:
        (check,) = [check for check in after.checks if check.name == "signature"]
        assert check.status == "not checked"
        return "signature"
    assert after.vek.sha256 == before.vek.sha256
    assert failures(after) == set()
    return "same certificate"


def test_every_flip_of_a_tables_head_is_refused_or_changes_nothing() -> None:
    report, whole = table()
    assert read(report, whole)[0] is not None
    seen = Counter[tuple[str, str]]()
    for place, (name, allowed) in enumerate(HEAD):
        for bit in range(8 * 24 * place, 8 * 24 * (place + 1)):
            found = outcome(report, whole, flipped(whole, bit))
            if found == "same certificate" and name != "VCEK":
                found = "ignored"
            assert found in allowed, (name, bit, found)
            seen[name, found] += 1
    assert seen.total() == 8 * 24 * len(HEAD)
    # No flip of the VCEK's GUID leaves it a VCEK, and the end that is none is no end.
    assert seen["VCEK", "signature"] == 8 * 16
    assert seen["the end", "table"] == 8 * 24
    # What stands under a GUID that is not known is noted.
    chain, notes = read(report, flipped(whole, 0))
    assert chain is not None
    assert "of no kind that is known" in notes

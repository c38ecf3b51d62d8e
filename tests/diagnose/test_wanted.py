"""What is expected is read from a word, a file, a report, an ID block or a document; nothing else passes."""

from __future__ import annotations

import io
import json
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.attest.report import encode_report
from sevbuild.diagnose.change import HostFacts
from sevbuild.diagnose.wanted import DIGEST_SIZES, read_wanted, wanted_of_bytes, wanted_of_report
from sevbuild.errors import SevbuildError
from sevbuild.identity.id_block import IdBlock
from sevbuild.igvm.headers import GuestPolicy, PageData
from tests.attest.reports import MEASUREMENT, report
from tests.support.evidence import tsm
from tests.support.igvm import BSP, ID_BLOCK, SNP, write_file
from tests.support.shared import shared_file

SIGNATURE = b"\1".ljust(72, b"\0") * 2
MILAN = 0x00A00F11
PAGE = PageData(0x20000, 1, b"\xaa" * 4096)


def raw_report(**changes: object) -> bytes:
    return encode_report(report(**changes)._asdict(), SIGNATURE)


def test_a_report_says_on_which_host_it_was_made() -> None:
    wanted = wanted_of_report(raw_report(policy=0xB0000, vmpl=2, host_data=b"\7" * 32), "r")
    assert (wanted.kind, wanted.digest) == ("report", MEASUREMENT)
    assert wanted.host == HostFacts(MILAN, 0xB0000, 2, (1, 55, 40), b"\7" * 32)
    assert wanted.notes == ("the report's signature was not verified: `sevbuild verify` does that",)


def test_an_old_report_names_no_cpu() -> None:
    wanted = wanted_of_report(raw_report(version=2), "r")
    assert wanted.host.signature is None
    assert wanted.notes[1] == "a report of version 2 does not name the host's CPU"
    strange = wanted_of_report(raw_report(cpuid_step=0xFF), "r")
    assert strange.host.signature is None


def test_a_report_without_a_measurement() -> None:
    with pytest.raises(SevbuildError, match="the MEASUREMENT of the report is all zeros"):
        wanted_of_report(raw_report(measurement=bytes(48)), "r")


@pytest.mark.parametrize("form", ["binary", "hex", "base64", "tsm"])
def test_reports_in_their_forms(form: str, tmp_path: Path) -> None:
    raw, path = raw_report(), tmp_path / "evidence"
    written = {
        "binary": raw,
        "hex": raw.hex().encode(),
        "base64": b64encode(raw),
        "tsm": tsm(raw, provider="sev_guest"),
    }
    path.write_bytes(written[form])
    wanted = read_wanted(str(path))
    assert (wanted.kind, wanted.source, wanted.digest) == ("report", str(path), MEASUREMENT)


def test_bytes_by_their_size() -> None:
    for size in range(130):
        found = wanted_of_bytes_or_none(b"\xff" * size)
        expected = "digest" if size in DIGEST_SIZES else "id-block" if size == 96 else None
        assert found == expected, size


def wanted_of_bytes_or_none(data: bytes) -> str | None:
    with suppress(SevbuildError):
        found = wanted_of_bytes(data, "file")
        return None if found is None else found.kind
    return None


def test_an_id_block_has_a_policy() -> None:
    block = IdBlock(MEASUREMENT, 0xB0000)
    wanted = wanted_of_bytes(b64encode(block.encode()), "block")
    assert wanted is not None
    assert (wanted.kind, wanted.digest, wanted.host.policy) == ("id-block", MEASUREMENT, 0xB0000)


def test_id_blocks_where_they_lie(tmp_path: Path) -> None:
    block = IdBlock(MEASUREMENT, 0xB0000)
    (tmp_path / "id-block.bin").write_bytes(block.encode())
    assert read_wanted(str(tmp_path)).digest == MEASUREMENT
    file = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), PAGE, BSP, ID_BLOCK._replace(ld=MEASUREMENT))
    assert read_wanted(str(file)).digest == MEASUREMENT
    without = write_file(tmp_path, SNP, PAGE, BSP, name="without.igvm")
    with pytest.raises(SevbuildError, match="ID block"):
        read_wanted(str(without))


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for data, kind in ((b"ab" * 48, "digest"), (raw_report(), "report"), (b"nothing", None)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        if kind is None:
            with pytest.raises(SevbuildError, match="no evidence of a guest"):
                read_wanted("-")
        else:
            assert read_wanted("-").kind == kind


def test_ingredients_of_others_have_labels() -> None:
    wanted = read_wanted(str(shared_file("publish/dstack/measurement.snp.ingredients.json")))
    assert (wanted.kind, wanted.digest) == ("reference-values", None)
    assert len(wanted.digests) == 1


def test_lists_and_documents(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(f"# ours\n{'ab' * 48}  snp/qemu/EPYC-v4/vcpus1\n")
    assert read_wanted(str(path)).digests == {"snp/qemu/EPYC-v4/vcpus1": b"\xab" * 48}
    path.write_text(f"# ours\n{'ab' * 48}\n")
    assert read_wanted(str(path)).digest == b"\xab" * 48
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(SevbuildError):
        read_wanted(str(path))
    path.write_text("ab" * 47)
    with pytest.raises(SevbuildError, match="not a launch digest"):
        read_wanted(str(path))


def test_a_document_of_several_releases_has_no_one_digest(tmp_path: Path) -> None:
    from tests.support.cli import run
    from tests.support.shared import ROOT

    hello = ROOT / "guests" / "hello" / "guest.toml"
    names = [tmp_path / f"{version}.json" for version in (1, 2)]
    for version, name in enumerate(names):
        name.write_text(run("measure", "-q", hello, "--set", f"guest.version={version}", "-f", "json").out)
    merged = tmp_path / "merged.json"
    merged.write_text(run("merge", *names).out)
    with pytest.raises(SevbuildError, match="a document of 2 releases") as refused:
        read_wanted(str(merged))
    assert "name the document of one release" in (refused.value.hint or "")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_crash_it(data: bytes) -> None:
    with suppress(SevbuildError):
        found = wanted_of_bytes(data, "file")
        assert found is None or found.digest is not None


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=200))
def test_no_word_crashes_it(word: str) -> None:
    with suppress(SevbuildError):
        assert len(read_wanted(f"no such file {word}").digest or b"") in DIGEST_SIZES

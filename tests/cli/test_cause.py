"""Why a digest does not match, below a verb that was about something else: one line, all else as it was."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sevbuild.attest.report import encode_report
from sevbuild.igvm.headers import PageData
from tests.attest.reports import report
from tests.cli.test_explain import digest, guest_in
from tests.support.cli import run
from tests.support.igvm import BSP, SNP, write_file
from tests.support.shared import ROOT

NOTHING = "ab" * 48


@pytest.fixture(name="guest")
def _guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the manifest of a guest in a folder of its own, which the run is in."""
    monkeypatch.chdir(tmp_path)
    return guest_in(tmp_path).relative_to(tmp_path)


def write_report(measurement: str) -> None:
    fields = report(measurement=bytes.fromhex(measurement))._asdict()
    Path("report.bin").write_bytes(encode_report(fields, b"\1".ljust(72, b"\0") * 2))


def hint_of(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.lstrip().startswith("hint: ")]
    return line.lstrip().removeprefix("hint: ")


def command_in(hint: str) -> list[str]:
    """Return the words of the command that a hint names, without its program."""
    return shlex.split(hint.split("`")[1])[1:]


@pytest.mark.parametrize("verb", ["measure", "build"])
def test_the_cause_is_the_hint(guest: Path, verb: str) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    more = ["-o", "bundle"] if verb == "build" else []
    result = run(verb, "-q", guest, "--target", "vcpus4", "--expect", wanted, *more)
    assert (result.status, result.out) == (1, "")
    assert not Path("bundle").exists()
    hint = hint_of(result.err)
    assert hint.startswith(
        "snp/qemu/EPYC-v4/vcpus4: the launch that was measured has 8 vCPUs instead of 4 "
        "(edit guest.toml:4 vcpu.count = [1, 2, 4] -> [1, 2, 4, 8]); `"
    )
    assert hint.endswith("` shows more")
    explained = run(*command_in(hint), "-q")
    assert explained.out.startswith("snp/qemu/EPYC-v4/vcpus4: the launch that was measured has 8 vCPUs")


def test_where_none_is_found_the_command_is_named(guest: Path) -> None:
    settings = ("--set", "kernel.cmdline=a 'quoted' line")
    result = run("measure", "-q", guest, "--target", "vcpus1", "--expect", NOTHING, *settings)
    assert (result.status, result.out) == (1, "")
    hint = hint_of(result.err)
    assert hint.endswith("` looks further for the cause")
    assert command_in(hint) == [
        "explain", "guest.toml", *settings, NOTHING, "--target", "snp/qemu/EPYC-v4/vcpus1",
    ]  # fmt: skip


def test_white_space_of_a_line_is_kept(guest: Path) -> None:
    wanted = run("measure", "-q", guest, "--set", "kernel.cmdline=console=ttyS0  quiet").out.split()[0]
    result = run("measure", "-q", guest, "--target", "vcpus1", "--expect", wanted)
    assert 'kernel.cmdline = "console=ttyS0 quiet" -> "console=ttyS0  quiet")' in result.err


def test_a_document_that_says_the_cause_needs_no_search(guest: Path) -> None:
    published = Path("published.json")
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    result = run("measure", "-q", guest, "--expect", published, "--set", "kernel.cmdline=other")
    assert result.status == 1
    assert "hint: " not in result.err


def test_of_several_targets_the_first_is_explained(guest: Path) -> None:
    listed = Path("list.txt")
    milan = run("measure", "-q", guest, "--set", "vcpu.model=EPYC-Milan").out
    listed.write_text(milan.replace("EPYC-Milan", "EPYC-v4"))
    result = run("measure", "-q", guest, "--expect", listed)
    assert (result.status, result.out) == (1, "")
    assert hint_of(result.err).startswith("snp/qemu/EPYC-v4/vcpus1: the launch that was measured has CPU")


def test_verify_says_it_of_bundles_and_documents(guest: Path) -> None:
    listed, published, bundle = Path("list.txt"), Path("published.json"), Path("bundle")
    milan = run("measure", "-q", guest, "--set", "vcpu.model=EPYC-Milan").out
    listed.write_text(milan.replace("EPYC-Milan", "EPYC-v4"))
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    assert run("build", "-q", guest, "-o", bundle).status == 0
    for file in (bundle, published):
        result = run("verify", "-q", file, "--expect", listed)
        assert result.status == 1
        hint = hint_of(result.err)
        assert hint.startswith("snp/qemu/EPYC-v4/vcpus1: the launch that was measured has CPU signature")
        assert command_in(hint)[:2] == ["explain", str(file)]


def test_verify_says_it_of_a_manifest(guest: Path) -> None:
    published = Path("published.json")
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    document = json.loads(published.read_text())
    # A document of the first releases: digests alone.
    document["ingredients"] = document["profiles"] = []
    for value in document["values"]:
        del value["ingredients"]
        value["digest"] = "00" * 48
    published.write_text(json.dumps(document))
    plain = run("verify", "-q", published, "--against", guest)
    assert plain.status == 1
    assert "looks further for the cause" in hint_of(plain.err)
    assert "hint" not in plain.out


def test_an_igvm_file_is_explained_as_well(tmp_path: Path) -> None:
    file = write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    wanted = run("measure", "-q", file, "--loader", "qemu", "--vcpus", "3", "--cpu", "EPYC-v4").out.strip()
    result = run("measure", "-q", file, "--loader", "qemu", "--expect", wanted)
    assert result.status == 1
    hint = hint_of(result.err)
    assert "has 3 vCPUs instead of 1" in hint
    assert command_in(hint)[:4] == ["explain", str(file), "--loader", "qemu"]
    given = ("--loader", "qemu", "--vcpus", "2", "--cpu", "EPYC-Milan")
    other = run("measure", "-q", file, *given, "--expect", NOTHING)
    assert command_in(hint_of(other.err))[2:8] == list(given)


def test_a_published_launch_of_an_igvm_file_is_asked_for_as_it_was(tmp_path: Path) -> None:
    file = write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    given = ("--loader", "qemu", "--cpu", "EPYC-Milan", "--vcpus")
    document = json.loads(run("measure", "-q", file, *given, "3", "-f", "json").out)
    document["values"][0]["digest"] = run("measure", "-q", file, *given, "4").out.strip()
    published = tmp_path / "published.json"
    published.write_text(json.dumps(document))
    result = run("verify", "-q", published, "--against", file)
    assert result.status == 1
    (hint,) = [line for line in result.err.splitlines() if "hint: " in line]
    assert "the launch that was measured has 4 vCPUs instead of 3" in hint
    told = run(*command_in(hint), "-q")
    assert (told.status, told.err) == (0, "")
    assert "has 4 vCPUs instead of 3" in told.out


def test_what_cannot_be_laid_out_is_left_to_explain(tmp_path: Path) -> None:
    guest = guest_in(tmp_path, launch={"mode": "sev-es", "policy": 5})
    published = tmp_path / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    result = run("verify", "-q", published, "--target", "vcpus1", "--expect", "ab" * 32)
    assert result.status == 1
    assert hint_of(result.err).endswith("` looks for the cause")
    measured = run("measure", "-q", guest, "--target", "vcpus1", "--expect", NOTHING)
    assert hint_of(measured.err).endswith("` looks for the cause")


def test_a_report_of_another_launch(guest: Path) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    write_report(wanted)
    result = run("verify", "-q", "report.bin", "--against", guest)
    hint = hint_of(result.err)
    assert result.status == 1
    assert "the launch that was measured has 8 vCPUs instead of" in hint
    assert command_in(hint) == ["explain", "guest.toml", "report.bin"]
    assert "hint" not in result.out
    write_report(digest(guest, target="vcpus2"))
    narrowed = run("verify", "-q", "report.bin", "--against", guest, "--target", "vcpus1")
    hint = hint_of(narrowed.err)
    assert "it is the digest of target snp/qemu/EPYC-v4/vcpus2 of the same guest" in hint
    assert command_in(hint)[2:] == ["report.bin", "--target", "vcpus1"]
    write_report(wanted)
    hint = hint_of(run("verify", "-q", "report.bin", "--against", guest).err)
    as_json = run("verify", "-q", "report.bin", "--against", guest, "--format", "json")
    assert hint_of(as_json.err) == hint
    assert json.loads(as_json.out)["status"] != "affirming"
    write_report(digest(guest))
    assert "hint" not in run("verify", "-q", "report.bin", "--against", guest).err


def test_the_summary_of_github_has_the_cause(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary")
    run("measure", "-q", guest, "--target", "vcpus1", "--expect", wanted)
    (line,) = Path("summary").read_text().split("\n\n")[:1]
    assert line == (
        "**Cause:** snp/qemu/EPYC-v4/vcpus1: the launch that was measured has 8 vCPUs instead of 1"
    )


def test_a_run_that_passes_loads_nothing_of_it(guest: Path) -> None:
    """Hold a measurement that matches to what it loaded before there was anything to explain."""
    program = (
        "import sys\n"
        "from sevbuild.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print([name for name in sys.modules if 'diagnose' in name or name.endswith('cli.cause')])\n"
    )
    command = [sys.executable, "-c", program, "measure", "-q", str(guest), "--target", "vcpus1"]
    result = subprocess.run(
        [*command, "--expect", digest(guest)],
        check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "[]"

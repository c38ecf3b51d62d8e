"""`sevbuild explain` as a person meets it: what it is given, what it answers, what it refuses."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256, sha384
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sevbuild.attest.report import encode_report
from sevbuild.cli.explained import answer_text
from sevbuild.diagnose.answer import Answer, Expectation
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.launch_measure import MeasuredLaunch
from sevbuild.igvm.headers import PageData
from tests.attest.reports import report
from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.igvm import BSP, SNP, write_file

OTHER = bytearray(standard_firmware())
OTHER[100] ^= 1
NOTHING = "ab" * 48
QUICK = ("--budget", "5")
"""Many times what the stages take that an exclusion rests on, for a busy machine."""


@pytest.fixture(name="guest")
def _guest(tmp_path: Path) -> Path:
    """Return the manifest of a guest with a kernel, in three sizes."""
    return guest_in(tmp_path)


def guest_in(folder: Path, **tables: Any) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel".ljust(0x300, b"k"))
    (folder / "initrd").write_bytes(b"initrd")
    tables.setdefault("firmware", {"path": "OVMF.fd"})
    tables.setdefault("kernel", {"path": "vmlinuz", "cmdline": "console=ttyS0 quiet"})
    tables.setdefault("initrd", {"path": "initrd"})
    tables.setdefault("vcpu", {"count": [1, 2, 4]})
    return write_manifest(folder, **tables)


def digest(guest: Path, *options: str, target: str = "vcpus1") -> str:
    result = run("measure", "-q", guest, "--target", target, *options)
    assert result.status == 0, result.err
    return result.out.strip()


def document(*arguments: str | object) -> dict[str, Any]:
    result = run("explain", "-q", *arguments, "-f", "json")
    found: dict[str, Any] = json.loads(result.out)
    assert (result.status, result.err) == (int(found["result"] == "not-found"), "")
    return found


def first_line(result: Result) -> str:
    return result.out.splitlines()[0]


def test_the_smallest_change_is_the_line_to_edit(guest: Path) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    result = run("explain", "-q", guest, wanted, "--target", "vcpus4")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    label = "snp/qemu/EPYC-v4/vcpus4"
    assert lines[:2] == [
        f"{label}: the launch that was measured has 8 vCPUs instead of 4",
        f"  edit {guest}:4  vcpu.count = [1, 2, 4] -> [1, 2, 4, 8]",
    ]
    assert lines[3] == "  the launches part at step 9 (vmsa 4):"
    assert lines[5] == "    guest     ends before it"
    found = document(guest, wanted, "--target", "vcpus4")
    (explanation,) = found["explanations"]
    assert (found["schema"], found["result"], found["guest"]) == (1, "found", "test 1")
    assert found["expected"] == {"digest": wanted, "source": "the digest given", "kind": "digest"}
    assert explanation["target"] == label
    assert explanation["settings"] == {"vcpus": {"guest": "4", "expected": "8"}}
    edit = {"file": str(guest), "line": 4, "key": "vcpu.count", "old": "[1, 2, 4]", "new": "[1, 2, 4, 8]"}
    assert explanation["edits"] == [edit]
    evidence = explanation["evidence"]
    assert (evidence["parts_at"], evidence["origin"]) == (9, "vmsa 4")
    assert [row["index"] for row in evidence["guest"]] == list(range(9))
    assert evidence["guest"] == evidence["expected"][:9]
    assert evidence["expected"][9]["origin"] == "vmsa 4"
    assert found["statistics"]["launches"] > 0


def test_the_nearest_target_is_the_one_to_start_from(guest: Path) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    (explanation,) = document(guest, wanted)["explanations"]
    assert explanation["sentence"].startswith("snp/qemu/EPYC-v4/vcpus4: ")
    milan = digest(guest, "--set", "vcpu.model=EPYC-Milan", target="vcpus4")
    (explanation, *_) = document(guest, milan)["explanations"]
    assert explanation["settings"].keys() == {"cpu"}
    assert explanation["target"] == "snp/qemu/EPYC-v4/vcpus4"


def test_an_answer_is_the_same_each_time(guest: Path) -> None:
    wanted = digest(guest, "--set", "vcpu.model=EPYC-Milan", "--set", "vcpu.count=3", target="vcpus3")
    first, second = ({**document(guest, wanted), "statistics": None} for _ in range(2))
    assert first == second


def test_a_host_of_another_era_is_said_by_its_profile(guest: Path) -> None:
    """Hold single registers, which are met before the profile with these, to the line of a manifest."""
    settings = ("launch.profile=qemu-snp-legacy-fpu", "vcpu.count=16", "vcpu.model=EPYC-Milan")
    words = [word for setting in settings for word in ("--set", setting)]
    (explanation, *_) = document(guest, digest(guest, *words, target="vcpus16"), "--budget", "20")[
        "explanations"
    ]
    assert set(explanation["settings"]) == {"profile", "cpu", "vcpus"}
    assert {cause["setting"] for cause in explanation["changes"]} == {"profile", "cpu", "vcpus"}
    assert [edit["key"] for edit in explanation["edits"]] == ["launch.profile", "vcpu.model", "vcpu.count"]


def test_standard_input_is_read_once(guest: Path) -> None:
    result = run("explain", "-q", guest, "-", stdin=digest(guest))
    assert first_line(result) == "equal: it is the launch digest of snp/qemu/EPYC-v4/vcpus1"
    twice = run("explain", "-q", "-", "-", stdin="")
    assert (twice.status, first_error(twice)) == (2, "error: - stands for GUEST and EXPECTED")


def test_two_changes_are_said_in_one_sentence(guest: Path) -> None:
    wanted = digest(guest, "--set", "vcpu.count=8", "--set", "vcpu.model=EPYC-Milan", target="vcpus8")
    (explanation, *_) = document(guest, wanted)["explanations"]
    assert set(explanation["settings"]) == {"vcpus", "cpu"}
    assert explanation["sentence"].endswith(
        "has CPU signature 0x00a00f11 (the model EPYC-Milan) and 8 vCPUs instead of 4"
    )
    assert [edit["new"] for edit in explanation["edits"]] == ['"EPYC-Milan"', "[1, 2, 4, 8]"]


@pytest.mark.parametrize(
    "written",
    [
        lambda digest: digest,
        lambda digest: digest.upper(),
        lambda digest: f"0x{digest}",
        lambda digest: f"sha384:{digest}",
        lambda digest: b64encode(bytes.fromhex(digest)).decode(),
    ],
)
def test_an_equal_digest_is_said_at_once(guest: Path, written: Callable[[str], str]) -> None:
    result = run("explain", "-q", guest, written(digest(guest)))
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "equal: it is the launch digest of snp/qemu/EPYC-v4/vcpus1\nnote: only the digest was compared\n"
    )


def test_the_digest_of_another_target_of_the_guest(guest: Path) -> None:
    found = document(guest, digest(guest), "--target", "vcpus4")
    assert found["sentence"].endswith("it is the digest of target snp/qemu/EPYC-v4/vcpus1 of the same guest")
    assert found["also"][0]["settings"] == {"vcpus": {"guest": "4", "expected": "1"}}
    # The target is there already, so there is nothing to edit.
    assert found["explanations"][0]["edits"] == []


def test_what_is_no_digest_of_a_launch(guest: Path) -> None:
    own = bytes.fromhex(digest(guest))
    steps = json.loads(run("plan", "-q", guest, "--target", "vcpus4", "-f", "json").out)["updates"]
    firmware = (guest.parent / "OVMF.fd").read_bytes()
    initrd = (guest.parent / "initrd").read_bytes()
    label = "snp/qemu/EPYC-v4/vcpus1"
    for wanted, sentence in (
        (own[::-1].hex(), f"it is the digest of {label} with its bytes in reverse order"),
        (steps[0]["launch_digest"], "step 0 (firmware), 5 steps early: the seed"),
        (steps[3]["launch_digest"], "step 3 (section 2 (cpuid)), 2 steps early"),
        (sha384(firmware).hexdigest(), "it is the SHA-384 of the firmware OVMF.fd, and no launch digest"),
        (sha256(initrd).hexdigest(), "it is the SHA-256 of the initrd initrd, and no launch digest"),
    ):
        found = document(guest, wanted)
        assert found["result"] == "found"
        assert found["sentence"].endswith(sentence), found["sentence"]
        assert found["explanations"] == []
        assert (found["also"][0]["settings"], found["also"][0]["evidence"]) == ({}, None)


def test_a_launch_says_more_than_a_step_of_another(guest: Path) -> None:
    steps = json.loads(run("plan", "-q", guest, "--target", "vcpus4", "-f", "json").out)["updates"]
    found = document(guest, steps[-2]["launch_digest"], "--target", "vcpus4")
    assert found["sentence"] == (
        "snp/qemu/EPYC-v4/vcpus4: the launch that was measured has 3 vCPUs instead of 4"
    )
    assert found["also"] == []


def test_a_digest_of_another_size_is_said_to_be_one(guest: Path) -> None:
    wanted = "ab" * 32
    found = document(guest, wanted, *QUICK)
    assert found["notes"] == ["32 bytes are a launch digest of SEV or SEV-ES; the guest is snp"]


def test_a_manifest_is_not_what_was_expected(guest: Path) -> None:
    result = run("explain", "-q", guest, guest)
    assert (result.status, result.out) == (2, "")
    assert f"hint: `sevbuild diff GUEST {guest}` compares two manifests" in result.err


def test_lines_are_folded_for_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer("not-found", "g", Expectation(b"", "", "digest"), "s", next=("word " * 40,))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", "60")
    plain, folded = (answer_text(answer, printed=printed) for printed in (False, True))
    assert len(plain.splitlines()) == 3
    lines = folded.splitlines()
    assert max(map(len, lines)) <= 60
    assert (lines[2][:6], lines[3][:10]) == ("  word", "      word")


def test_nothing_found_says_what_is_excluded_and_what_to_get(guest: Path) -> None:
    result = run("explain", "-q", guest, NOTHING, "--target", "vcpus1", *QUICK, "--stats")
    assert result.status == 1
    assert first_line(result) == "not found: no launch near those of test 1 has this digest"
    assert "vCPU count from 1 to 512" in result.out
    assert "with this firmware and kernel: firmware or kernel hashes differ" in result.out
    assert "no other firmware was tried" in result.out
    assert "QEMU 7.1 and 7.2" in result.out
    assert "--vmsa-dump" in result.out
    assert "  one change of any kind: " in result.out
    found = document(guest, NOTHING, "--target", "vcpus1", *QUICK)
    assert found["explanations"] == found["also"] == []
    assert found["excluded"]
    assert found["statistics"]["stages"][0]["completed"]


def test_what_to_get_next_is_asked_of_the_same_launch(guest: Path) -> None:
    meant = ("--set", "kernel.cmdline=a $b", "--target", "vcpus1")
    found = document(guest, NOTHING, *meant, "--budget", "0.1")
    options = "--set 'kernel.cmdline=a $b' --target vcpus1"
    commands = [line.rpartition("`sevbuild ")[2] for line in found["next"]]
    assert f"explain {guest} {NOTHING} {options} --vmsa-dump dmesg.txt`" in commands
    assert f"replay trace.txt {guest} {options}`" in commands


def test_a_stage_that_was_cut_off_excludes_nothing(guest: Path) -> None:
    found = document(guest, NOTHING, "--budget", "0.000001")
    assert found["excluded"] == []
    assert any("one change" in line for line in found["not_covered"])


def test_a_guest_without_a_kernel_has_another_firmware(tmp_path: Path) -> None:
    guest = without_kernel(tmp_path)
    found = document(guest, NOTHING, *QUICK)
    assert found["excluded"][0].endswith("with this firmware: the firmware differs")
    assert not any("RNG" in line for line in found["not_covered"])


def test_firmware_among_candidates(guest: Path) -> None:
    folder = guest.parent / "firmwares"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "other.fd").write_bytes(OTHER)
    (folder / "own.fd").write_bytes(standard_firmware())
    (folder / "notes.txt").write_text("no firmware")
    (folder / "empty.bin").write_bytes(bytes(8192))
    wanted = digest(guest, "--set", "firmware.path=firmwares/deep/other.fd")
    found = document(guest, wanted, "--firmware", folder)
    (explanation,) = found["explanations"]
    assert explanation["changes"][0]["says"] == f"the firmware {folder}/deep/other.fd"
    assert [(edit["key"], edit["new"]) for edit in explanation["edits"]] == [
        ("firmware.path", json.dumps(str(folder / "deep" / "other.fd")))
    ]
    assert explanation["settings"]["firmware"]["expected"] == sha256(OTHER).hexdigest()
    assert found["notes"] == [
        f"{folder}/own.fd: the firmware that the guest has already",
        f"{folder}: 2 files passed over, which are no firmware",
    ]
    lacking = document(guest, NOTHING, "--firmware", folder, *QUICK)
    assert "this firmware or a candidate" in lacking["excluded"][0]
    assert not any("no other firmware was tried" in line for line in lacking["not_covered"])


def test_a_pin_is_edited_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = sha256(standard_firmware()).hexdigest()
    guest = guest_in(tmp_path, firmware={"path": "OVMF.fd", "sha256": pin})
    (tmp_path / "other.fd").write_bytes(OTHER)
    wanted = digest(
        guest,
        "--set", "firmware.path=other.fd", "--set", f"firmware.sha256={sha256(OTHER).hexdigest()}",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path.parent)
    inside = os.path.join(tmp_path.name, "other.fd")
    found = document(os.path.join(tmp_path.name, guest.name), wanted, "--firmware", inside)
    assert [(edit["key"], edit["old"], edit["new"]) for edit in found["explanations"][0]["edits"]] == [
        ("firmware.path", '"OVMF.fd"', '"other.fd"'),
        ("firmware.sha256", f'"{pin}"', f'"{sha256(OTHER).hexdigest()}"'),
    ]


def test_kernels_initrds_and_lines_among_candidates(guest: Path) -> None:
    for name, data in (("vmlinuz2", b"another"), ("initrd2", b"other"), ("line", b"console=ttyS1\n")):
        (guest.parent / name).write_bytes(data)
    wanted = digest(
        guest,
        "--set", "kernel.path=vmlinuz2", "--set", "initrd.path=initrd2", "--set", "kernel.cmdline=console=ttyS1",
    )  # fmt: skip
    files = [
        word
        for flag, name in (("--kernel", "vmlinuz2"), ("--initrd", "initrd2"), ("--cmdline", "line"))
        for word in (flag, str(guest.parent / name))
    ]
    (explanation, *_) = document(guest, wanted, *files, "--target", "vcpus1")["explanations"]
    assert set(explanation["settings"]) == {"kernel", "initrd", "cmdline"}
    assert explanation["sentence"].endswith(f"the command line {guest.parent}/line without its line end")
    assert [(edit["key"], edit["new"]) for edit in explanation["edits"]] == [
        ("kernel.path", json.dumps(str(guest.parent / "vmlinuz2"))),
        ("kernel.cmdline", '"console=ttyS1"'),
        ("initrd.path", json.dumps(str(guest.parent / "initrd2"))),
    ]


def test_an_earlier_release_is_named(guest: Path) -> None:
    (guest.parent / "new.fd").write_bytes(OTHER)
    releases = guest.parent / "releases"
    for version in ("1.3", "1.4"):
        options = ["--set", f"guest.version={version}"]
        options += ["--set", "firmware.path=new.fd"] if version == "1.4" else []
        assert run("publish", "-q", guest, "-o", releases / version, *options).status == 0
    today = ("--set", "firmware.path=new.fd", "--set", "kernel.cmdline=root=/dev/vda")
    wanted = digest(guest, "--set", "kernel.cmdline=root=/dev/vda")
    found = document(guest, wanted, *today, "--releases", releases)
    assert found["explanations"][0]["changes"][0]["says"] == "the firmware of release 1.3"
    bundle = releases.parent / "bundle"
    assert run("build", "-q", guest, "-o", bundle).status == 0
    (explanation, *_) = document(guest, wanted, *today, "--releases", bundle)["explanations"]
    assert explanation["changes"][0]["source"] == f"{bundle}/inputs/firmware.fd"
    assert explanation["evidence"]["origin"] == "firmware"
    assert explanation["evidence"]["differs"] == ["contents differ in 1 of 16 pages, the first at offset 0x0"]
    published = document(guest, digest(guest), *today, "--releases", releases / "1.3")
    assert published["also"][0]["sentence"].endswith(
        "snp/qemu/EPYC-v4/vcpus1: it is the digest that release 1.3 has of it"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--firmware", "missing.fd"), "--firmware: no usable candidate:"),
        (("--firmware", "initrd"), "--firmware: no usable candidate:"),
        (("--cmdline", "nul"), "--cmdline: no usable candidate:"),
        (("--releases", "initrd"), "--releases: no usable candidate:"),
        (("--budget", "0"), "--budget 0: not between 0 and 86400 seconds"),
        (("--budget", "nan"), "--budget nan: not between 0 and 86400 seconds"),
        (("--target", "vcpus9"), "no target matches 'vcpus9'"),
        (("--tik", "initrd"), "--tik, --api and --build belong together"),
        (("--format", "yaml"), "--format yaml: unknown value"),
        (("--loader", "qemu"), "--loader is for IGVM files"),
        (("--vmsa-dump", "initrd"), "initrd: no VMSA that KVM printed is in it"),
    ],
)
def test_an_option_that_could_not_have_an_effect(
    guest: Path, arguments: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(guest.parent)
    (guest.parent / "nul").write_bytes(b"a\0b")
    result = run("explain", "-q", guest, NOTHING, *arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: {message}"), result.err


def without_kernel(folder: Path) -> Path:
    guest = guest_in(folder, kernel={}, initrd={})
    lines = guest.read_text().splitlines(keepends=True)
    guest.write_text("".join(line for line in lines if line[:6] not in ("kernel", "initrd")))
    return guest


def test_candidates_for_what_is_not_measured(tmp_path: Path) -> None:
    guest = without_kernel(tmp_path)
    result = run("explain", "-q", guest, NOTHING, "--kernel", tmp_path / "vmlinuz")
    assert (result.status, first_error(result)) == (
        2,
        "error: --kernel: this guest has no kernel that is measured",
    )


def test_a_kernel_whose_hashes_are_off_may_be_another_with_them(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another kernel")
    on = guest_in(tmp_path)
    wanted = digest(on, "--set", "kernel.path=other")
    off = guest_in(tmp_path, kernel={"path": "vmlinuz", "cmdline": "console=ttyS0 quiet", "hashes": False})
    (explanation, *_) = document(off, wanted, "--kernel", tmp_path / "other", "--target", "vcpus1")[
        "explanations"
    ]
    assert {cause["setting"] for cause in explanation["changes"]} == {"kernel", "kernel-hashes"}


def first_error(result: Result) -> str:
    return result.err.splitlines()[0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "error: EXPECTED: empty"),
        ("abcd", "error: abcd: 2 bytes, not a launch digest"),
        ("00" * 47, "47 bytes, not a launch digest"),
        ("no/such/file", "error: no/such/file: no such file, and not a launch digest"),
    ],
)
def test_what_is_no_expected_digest(guest: Path, word: str, message: str) -> None:
    result = run("explain", "-q", guest, word)
    assert (result.status, result.out) == (2, "")
    assert message in first_error(result)
    assert "\n  hint: " in result.err


def test_files_that_hold_a_digest(guest: Path) -> None:
    own = digest(guest)
    file = guest.parent / "expected"
    for data in (own.encode(), f"{own}\n".encode(), bytes.fromhex(own), b64encode(bytes.fromhex(own))):
        file.write_bytes(data)
        assert document(guest, file)["result"] == "equal"
    for data, message in ((b"", "empty"), (b" \n", "empty"), (bytes(47), "47 bytes, not a launch digest")):
        file.write_bytes(data)
        result = run("explain", "-q", guest, file)
        assert (result.status, first_error(result)) == (2, f"error: {file}: {message}")


def test_an_id_block_is_held_to_the_guest(guest: Path) -> None:
    block = IdBlock(bytes.fromhex(digest(guest)), 0xB0000)
    file = guest.parent / "id-block"
    for data in (block.encode(), b64encode(block.encode())):
        file.write_bytes(data)
        found = document(guest, file)
        assert (found["result"], found["expected"]["kind"]) == ("equal", "id-block")
        assert any(
            line.startswith(
                "the ID block's policy is 0xb0000, the guest's 0x30000: it enters no digest, but SNP_"
            )
            for line in found["notes"]
        )


def write_report(path: Path, measurement: str, **changes: Any) -> Path:
    fields = report(measurement=bytes.fromhex(measurement), **changes)._asdict()
    path.write_bytes(encode_report(fields, b"\1".ljust(72, b"\0") * 2))
    return path


def test_a_report_says_what_enters_no_digest(guest: Path) -> None:
    file = write_report(guest.parent / "report.bin", digest(guest), policy=0xB0000, vmpl=1)
    policy = "it enters no digest; `sevbuild verify` holds it to what was published"
    found = document(guest, file)
    assert (found["result"], found["expected"]["kind"], found["expected"]["source"]) == (
        "equal",
        "report",
        str(file),
    )
    assert found["notes"] == [
        "the report's signature was not verified: `sevbuild verify` does that",
        f"the report's policy is 0xb0000, the guest's 0x30000: {policy}",
        "the report was asked for at VMPL 1, which enters no digest",
        "only the digest was compared",
    ]


def test_the_cpu_of_the_host_is_tried(tmp_path: Path) -> None:
    """Hold a guest with `-cpu host` to a report that names a CPU which no model has."""
    host = guest_in(tmp_path, vcpu={"count": 1, "model": None, "signature": 0x00B20F21})
    fms = {"cpuid_fam_id": 26, "cpuid_mod_id": 0x22, "cpuid_step": 1}
    file = write_report(tmp_path / "report.bin", digest(host), **fms)
    (tmp_path / "other").mkdir()
    (explanation, *_) = document(guest_in(tmp_path / "other"), file)["explanations"]
    assert explanation["settings"] == {"cpu": {"guest": "0x00800f12", "expected": "0x00b20f21"}}


def test_reference_values_are_paired_by_label(guest: Path) -> None:
    published = guest.parent / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    assert document(guest, published)["sentence"] == "3 targets: each has the expected launch digest"
    part = document(guest, published, "--set", "vcpu.count=[1, 8]")
    assert part["result"] == "equal"
    assert part["notes"] == [
        f"1 target of the guest not compared: {published} lacks them",
        f"2 targets of {published} not compared: the guest has none like it",
    ]
    assert document(guest, published, "--target", "vcpus1")["notes"] == []
    changed = document(guest, published, "--set", "kernel.cmdline=quiet")
    assert changed["explanations"][0]["settings"].keys() == {"cmdline"}
    assert changed["notes"][-2:] == [
        "3 of 3 targets differ; explained is snp/qemu/EPYC-v4/vcpus1",
        "2 of the 2 others differ by the same cause",
    ]
    none = run("explain", "-q", guest, published, "--set", "vcpu.model=EPYC-Milan")
    assert (none.status, none.out) == (2, "")
    assert first_error(none) == f"error: {published}: no target of the guest is in it"


def test_digests_that_stand_at_each_others_labels(guest: Path) -> None:
    lines = [line.split() for line in run("measure", "-q", guest).out.splitlines()]
    listed = guest.parent / "list.txt"
    swapped = [
        (lines[1][0], lines[0][1]),
        (lines[0][0], lines[1][1]),
        ("ab" * 48, "snp/qemu/EPYC-v4/vcpus77"),
    ]
    listed.write_text("".join(f"{digest}  {label}\n" for digest, label in swapped))
    found = document(guest, listed)
    assert found["sentence"].endswith(f"it is the digest of target {lines[1][1]} of the same guest")
    assert f"1 target of {listed} not compared: the guest has none like it" in found["notes"]


def test_a_list_has_no_measurements(tmp_path: Path) -> None:
    guest = guest_in(tmp_path, launch={"mode": "sev-es", "policy": 5})
    listed = tmp_path / "list.txt"
    listed.write_text(f"{NOTHING}  sev-es/qemu/EPYC-v4/vcpus1\n")
    result = run("explain", "-q", guest, listed)
    assert (result.status, result.out) == (2, "")
    assert "48 bytes are no launch digest of sev-es/qemu/EPYC-v4/vcpus1" in result.err


def test_others_may_differ_by_other_causes(guest: Path) -> None:
    own = run("measure", "-q", guest).out.splitlines()
    more = digest(guest, "--set", "vcpu.count=9", target="vcpus9")
    listed = guest.parent / "list.txt"
    listed.write_text(
        f"{more}  {own[0].split()[1]}\n{more}  {own[1].split()[1]}\n{NOTHING}  {own[2].split()[1]}\n"
    )
    found = document(guest, listed)
    assert found["explanations"][0]["settings"] == {"vcpus": {"guest": "1", "expected": "9"}}
    assert found["notes"][-1] == "1 of the 2 others differ by the same cause"


def test_a_list_of_digests_has_labels(guest: Path) -> None:
    listed = guest.parent / "list.txt"
    lines = run("measure", "-q", guest, "--set", "vcpu.model=EPYC-Milan").out.replace("EPYC-Milan", "EPYC-v4")
    listed.write_text(lines)
    found = document(guest, listed)
    assert found["explanations"][0]["settings"].keys() == {"cpu"}
    assert found["notes"][-1] == "2 of the 2 others differ by the same cause"


def test_a_document_is_a_guest(guest: Path) -> None:
    published = guest.parent / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    wanted = digest(guest, "--set", "vcpu.count=8", target="vcpus8")
    (explanation,) = document(published, wanted)["explanations"]
    assert explanation["settings"] == {"vcpus": {"guest": "4", "expected": "8"}}
    assert explanation["edits"] == []
    refused = run("explain", "-q", published, wanted, "--set", "vcpu.count=8")
    assert (refused.status, first_error(refused)) == (2, "error: --set is for a manifest, not for a document")
    locked = run("explain", "-q", published, wanted, "--locked")
    assert locked.status == 2


def test_a_seed_is_not_the_digest_of_a_launch(guest: Path) -> None:
    published = guest.parent / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    (seed,) = {entry["seed"] for entry in json.loads(published.read_text())["ingredients"]}
    found = document(published, seed)
    assert found["sentence"].startswith("snp/qemu/EPYC-v4/vcpus1: it is the seed: ")


def test_a_document_without_ingredients_is_no_guest(tmp_path: Path) -> None:
    guest = guest_in(tmp_path, launch={"mode": "sev-es", "policy": 5})
    published = tmp_path / "published.json"
    published.write_text(run("measure", "-q", guest, "-f", "json").out)
    result = run("explain", "-q", published, "ab" * 32)
    assert (result.status, result.out) == (2, "")
    assert first_error(result) == f"error: {published}: tells no launch to start from"
    assert "one SHA-256 over firmware and all else" in result.err
    assert "sevbuild explain guest.toml EXPECTED" in result.err


def test_a_bundle_is_a_guest_with_its_files(guest: Path) -> None:
    bundle = guest.parent / "bundle"
    assert run("build", "-q", guest, "-o", bundle).status == 0
    wanted = digest(guest, "--set", "kernel.cmdline=console=ttyS0 quiet ")
    answer = document(bundle, wanted, "--target", "vcpus1")
    (explanation, *_) = answer["explanations"]
    assert any(note.startswith("a bundle is not edited: ") for note in answer["notes"])
    assert explanation["settings"].keys() == {"cmdline"}
    assert explanation["edits"][0]["file"] == str(bundle / "guest.toml")
    (bundle / "inputs" / "kernel").write_bytes(b"x")
    assert run("explain", "-q", bundle, wanted).status == 1


def test_a_bundle_of_some_targets_has_no_others(guest: Path) -> None:
    bundle = guest.parent / "bundle"
    assert run("build", "-q", guest, "-o", bundle, "--target", "vcpus1").status == 0
    answer = document(bundle, digest(guest, target="vcpus2"))
    assert answer["result"] == "found"
    assert answer["explanations"][0]["settings"] == {"vcpus": {"guest": "1", "expected": "2"}}
    refused = run("explain", "-q", bundle, NOTHING, "--target", "vcpus2")
    assert (refused.status, refused.out) == (2, "")


def test_an_igvm_file_is_a_guest(tmp_path: Path) -> None:
    file = write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    measured = {line.split()[1]: line.split()[0] for line in run("measure", "-q", file).out.splitlines()}
    own = measured["snp/qemu/-/vcpus1"]
    assert document(file, own, "--loader", "qemu")["result"] == "equal"
    more = run("measure", "-q", file, "--loader", "qemu", "--vcpus", "3", "--cpu", "EPYC-Milan").out.strip()
    (explanation,) = document(file, more, "--loader", "qemu", "--cpu", "EPYC-Milan")["explanations"]
    assert explanation["settings"] == {"vcpus": {"guest": "1", "expected": "3"}}
    assert run(*explanation["measured_by"][1:], "-q").out.strip() == more
    assert explanation["sentence"].endswith("(those beyond 1 with CPU signature 0x00a00f11)")
    other = document(file, measured["snp/igvmmeasure/-/vcpus1"], "--loader", "qemu")
    assert "igvmmeasure" in other["sentence"] or own == measured["snp/igvmmeasure/-/vcpus1"]
    (tmp_path / "kernel").write_bytes(b"kernel")
    (tmp_path / "initrd").write_bytes(b"initrd")
    given = (
        "--loader",
        "cloud-hypervisor-kvm",
        "--with-kernel",
        tmp_path / "kernel",
        "--with-cmdline",
        "quiet",
    )
    hashed = run("measure", "-q", file, *given, "--with-initrd", tmp_path / "initrd").out.strip()
    (kernel, *_) = document(file, hashed, *given, "--initrd", tmp_path / "initrd")["explanations"]
    assert kernel["settings"].keys() == {"initrd"}
    assert document(file, hashed, *given, "--with-initrd", tmp_path / "initrd")["result"] == "equal"
    lacking = document(file, NOTHING, "--loader", "qemu", *QUICK)
    assert lacking["excluded"][0].endswith("the IGVM file differs")
    traced = f"`sevbuild replay trace.txt {file} --loader qemu`"
    assert any(line.endswith(traced) for line in lacking["next"])
    refused = run("explain", "-q", file, own, "--firmware", file)
    assert (refused.status, first_error(refused)) == (2, "error: --firmware is for manifests")


def test_a_measurement_is_compared_and_never_searched(tmp_path: Path) -> None:
    guest = guest_in(tmp_path, launch={"mode": "sev-es", "policy": 5})
    (tmp_path / "tik").write_bytes(bytes(range(16)))
    launch = MeasuredLaunch(1, 55, 21, 5, bytes.fromhex(digest(guest, target="vcpus2")))
    blob = b64encode(launch.blob(bytes(range(16)), bytes(16))).decode()
    refused = run("explain", "-q", guest, blob)
    assert (refused.status, refused.out) == (2, "")
    assert "the answer to LAUNCH_MEASURE, an HMAC and a nonce, which cannot be searched" in refused.err
    keys = ("--tik", tmp_path / "tik", "--build", "21")
    equal = document(guest, blob, *keys, "--api", "1.55")
    assert equal["sentence"].startswith("equal: it is the measurement of sev-es/qemu/EPYC-v4/vcpus2")
    mistaken = document(guest, blob, *keys, "--api", "1.37", "--target", "vcpus2")
    assert mistaken["sentence"].endswith("its hexadecimal digits were taken for decimal")
    other = b64encode(launch.blob(bytes(16), bytes(16))[:32][::-1] + bytes(16)).decode()
    assert document(guest, b64encode(bytes(range(48))).decode(), *keys, "--api", "1.55")["excluded"]
    assert document(guest, other, *keys, "--api", "1.55")["result"] in ("found", "not-found")
    candidate = run("explain", "-q", guest, blob, *keys, "--api", "1.55", "--kernel", tmp_path / "vmlinuz")
    assert first_error(candidate).startswith("error: --kernel is for a search")
    halved = run("explain", "-q", guest, blob, *keys, "--api", "1")
    assert first_error(halved) == "error: --api 1: not a major and a minor version"
    unused = run("explain", "-q", guest, "ab" * 32, *keys, "--api", "1.55")
    assert first_error(unused).startswith("error: --tik, --api and --build are for the 48 bytes")


def test_a_device_tree_needs_a_kernel(tmp_path: Path) -> None:
    guest = without_kernel(tmp_path)
    (tmp_path / "tree.dtb").write_bytes(b"tree")
    result = run("explain", "-q", guest, NOTHING, "--dtb", tmp_path / "tree.dtb")
    assert (result.status, first_error(result)) == (
        2,
        "error: --dtb: no kernel of this guest is at hand, to which it would be appended",
    )

"""`sevbuild diff` as it is called: which things it takes, options, targets, exit codes, untrusted files."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sevbuild.igvm.headers import GuestPolicy, PageData
from tests.diagnose.test_diff_table import LINE, guest
from tests.support.cli import run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import write_manifest
from tests.support.igvm import BSP, SNP, VMSA, write_file
from tests.support.kernels import CPIO, boot_image
from tests.support.launches import plan_json
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"
VALUES = HELLO / "reference-values.json"


def _json(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("diff", *words, "-f", "json").out)
    return found


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one thing of each kind in a folder."""
    folder = tmp_path_factory.mktemp("things")
    manifest = guest(folder)
    assert run("lock", manifest).status == 0
    assert run("build", manifest, "-o", folder / "bundle").status == 0
    assert run("publish", manifest, "-o", folder / "release").status == 0
    (folder / "values.json").write_text(run("measure", manifest, "-f", "json").out)
    (folder / "plan.json").write_text(run("plan", manifest, "-f", "json").out)
    (folder / "vmsa.bin").write_bytes(VMSA)
    write_file(folder, SNP, GuestPolicy(0x30000, 1), PageData(0x1000, 1, b"\1" * 4096), BSP)
    return folder


KINDS = {
    "guest.toml": "manifest",
    "guest.lock": "lock",
    "bundle": "bundle",
    "bundle/bundle.json": "bundle",
    "release": "release",
    "values.json": "reference-values",
    "plan.json": "plan",
    "guest.igvm": "igvm",
    "OVMF.fd": "firmware",
    "vmlinuz": "kernel",
    "initrd": "initrd",
    "vmsa.bin": "vmsa",
}
LAUNCHED = ("manifest", "bundle", "release", "reference-values", "plan")


def _of_guest(kinds: set[str]) -> bool:
    """Tell whether one is a file, and the other says which file of its role a guest has."""
    return (
        len(kinds & {"firmware", "kernel", "initrd"}) == len(kinds & {*LAUNCHED[:4]}) == 1 and len(kinds) == 2
    )


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_any_two_things_are_compared_or_refused(things: Path, first: str, second: str) -> None:
    """Everything here is of one guest: what can be compared is the same."""
    told = run("diff", things / first, things / second, "-f", "json")
    kinds = {KINDS[first], KINDS[second]}
    if (
        KINDS[first] == KINDS[second]
        or kinds <= {*LAUNCHED}
        or kinds <= {"lock", *LAUNCHED[:4]}
        or _of_guest(kinds)
    ):
        found = json.loads(told.out)
        assert (told.status, found["same"], found["causes"]) == (0, True, [])
        assert [found["old"]["kind"], found["new"]["kind"]] == [KINDS[first], KINDS[second]]
        return
    assert (told.status, told.out) == (2, "")
    if "igvm" in kinds and kinds & {*LAUNCHED}:
        assert "says which loader launches it\n  hint: --loader takes one of " in told.err
    else:
        hint = "give two of one kind"
        if "vmsa" in kinds and kinds & {*LAUNCHED[:4]}:
            hint = "`sevbuild measure --dump-vmsa DIR` writes"
        assert f": they have nothing to be compared in\n  hint: {hint}" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["OVMF.fd", "OVMF.fd", "--target", "snp"], "--target: a firmware has no targets"),
        (["guest.toml", "guest.lock", "--target", "snp"], "--target: a lock has no targets"),
        (
            ["guest.toml", "guest.toml", "--release", "1"],
            "--release is for reference values, releases and bundles",
        ),
        (["values.json", "plan.json", "--offline"], "--offline is for manifests"),
        (["guest.toml", "values.json", "--loader", "qemu"], "--loader is for IGVM files"),
        (["guest.toml"], "diff requires NEW"),
        (["guest.toml", "guest.toml", "--release", "1..2"], "--release is for reference values"),
        (["-"], "diff requires NEW"),
        (["-", "-"], "standard input can be one of the two alone"),
        (["guest.toml", "nothing"], "cannot read nothing: No such file or directory"),
        (
            ["guest.toml", "values.json", "--target", "sev"],
            "no target matches 'sev'\n  hint: there are 1 on both sides",
        ),
        (["guest.toml", "guest.toml", "-f", "yaml"], "--format yaml: unknown value"),
        (["guest.toml", "own.toml"], "own.toml is a profile, which is not compared"),
        (["guest.toml", "noise"], "noise is a file of no known kind, which is not compared"),
        (["guest.toml", "page"], "page: 4096 bytes, but no VMSA"),
        (["guest.toml", "disk"], "disk is a qcow2 disk image, which is not compared"),
        (["guest.toml", "empty"], "empty is an empty file, which is not compared"),
        (["guest.toml", "bad.json"], "bad.json: $.guest: missing"),
        (["guest.toml", "bad.toml"], "bad.toml:1: not valid TOML"),
        (["guest.toml", "words"], "words:1: not valid TOML"),
        (["guest.lock", "plan.json"], "guest.lock is a lock, plan.json is a launch plan: they have nothing"),
        (["guest.lock", "file.json"], "file.json: a lock is of a guest that a manifest declares"),
        (["odd.fd", "OVMF.fd"], "odd.fd: the footer table"),
    ],
)
def test_what_cannot_be_compared_is_said(
    things: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(things)
    Path("own.toml").write_text('schema = 1\nextends = "qemu"\nname = "own"\nas-of = "now"\n')
    Path("noise").write_bytes(b"\1\2\3\xff")
    Path("page").write_bytes(b"\1\xff" * 2048)
    Path("disk").write_bytes(b"QFI\xfb" + bytes(100))
    Path("empty").write_bytes(b"")
    Path("bad.json").write_text('{"schema": 1}')
    Path("bad.toml").write_text("a b")
    Path("words").write_text("some words")
    Path("file.json").write_text(run("measure", "guest.igvm", "-f", "json").out)
    odd = bytearray(standard_firmware(fill=b"\xff"))
    odd[-0x20 - 18 : -0x20 - 16] = b"\xff\xff"
    Path("odd.fd").write_bytes(odd)
    told = run("diff", *words)
    assert (told.status, told.out) == (2, "")
    assert told.err.removeprefix("error: ").startswith(message)


def test_a_file_is_compared_with_that_of_a_guest(things: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.fd"
    other.write_bytes(standard_firmware(reset=0x80C004))
    for guest_of in ("guest.toml", "bundle"):
        told = run("diff", things / guest_of, other)
        assert (
            told.out.splitlines()[0]
            == f"no digest: these are a firmware and that of {things / guest_of}, and they differ"
        )
        assert told.out.splitlines()[1] == "  firmware: other footer table entry SEV-ES reset block"
        (cause,) = _json(other, things / guest_of)["causes"]
        assert (cause["where"]["old"], cause["details"][0]["old"]) == (None, "0x80c004")
    (cause,) = _json(things / "values.json", other)["causes"]
    assert (cause["title"], cause["details"]) == ("firmware", [])
    kernel = guest(tmp_path / "a", kernel=None, initrd=None)
    told = run("diff", things / "vmlinuz", kernel)
    assert f"{kernel} has no kernel, which {things}/vmlinuz is" in told.err
    several = guest(
        tmp_path / "b", {"more.fd": standard_firmware(fill=b"1")}, firmware=None, kernel=None, initrd=None
    )
    text = several.read_text().replace("count = 1, ", "")
    text += '[[matrix]]\nfirmware.path = "OVMF.fd"\nvcpu.count = 1\n[[matrix]]\nfirmware.path = "more.fd"\nvcpu.count = 2\n'
    several.write_text(text)
    told = run("diff", several, other)
    assert told.status == 2
    assert f"{several} has 2 firmwares: which of them {other} is to be is not said" in told.err
    sections = [{"gpa": 0x800000, "size": 0x1000, "kind": "snp-secrets"}]
    seed: dict[str, Any] = {"path": None, "seed": "11" * 48, "metadata": {"sections": sections}}
    told = run("diff", guest(tmp_path / "c", firmware=seed, kernel=None, initrd=None), other)
    assert "known by its seed alone, which no file has" in told.err


def test_one_side_may_be_standard_input_or_a_pipe(things: Path, tmp_path: Path) -> None:
    manifest = things / "guest.toml"
    plan = (things / "plan.json").read_text()
    assert run("diff", "-", manifest, stdin=plan).out.startswith("same digest: 1 target\n")
    text = manifest.read_text().replace('"OVMF.fd"', f'"{things}/OVMF.fd"')
    text = text.replace('"vmlinuz"', f'"{things}/vmlinuz"').replace('"initrd"', f'"{things}/initrd"')
    told = run("diff", things / "values.json", "-", stdin=text)
    assert (told.status, told.out) == (0, "same digest: 1 target\n")
    assert run("diff", things / "guest.lock", "-", stdin=(things / "guest.lock").read_text()).status == 0
    assert run("diff", "-", manifest, stdin=(things / "values.json").read_text()).status == 0
    refused = run("diff", things / "OVMF.fd", "-", stdin="070701" + "0" * 200)
    assert "stdin is a cpio archive, which must be given by the path of a file" in refused.err
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        (tmp_path / "pipe").write_text(plan)

    writer = threading.Thread(target=write)
    writer.start()
    told = run("diff", tmp_path / "pipe", things / "bundle")
    writer.join()
    assert (told.status, told.out.splitlines()[0]) == (0, "same digest: 1 target")


def test_the_first_line_says_what_became_of_the_digest(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", vcpu={"count": "1-4"})
    second = guest(tmp_path / "b", vcpu={"count": "1-4"}, kernel={"cmdline": f"{LINE} n={{vcpus}}"})
    told = run("diff", first, second)
    lines = told.out.splitlines()
    assert lines[0] == "different digest: 4 of 4 targets"
    assert "    word 4: none -> n={vcpus}" in lines
    assert "snp/qemu/EPYC-v4/vcpus1 (and 3 targets like it): the launches part at step 4" in told.out
    one = run("diff", first, second, "--target", "vcpus2", "-q")
    assert one.out.splitlines()[0] == "different digest: snp/qemu/EPYC-v4/vcpus2"
    two = run("diff", first, second, "--target", "vcpus1", "--target", "vcpus3", "-q")
    assert two.out.splitlines()[0] == "different digest: 2 of 2 targets"


def test_a_line_in_which_the_count_alone_differs_is_a_consequence(tmp_path: Path) -> None:
    line = {"cmdline": f"{LINE} nr_cpus={{vcpus}}"}
    first = guest(tmp_path / "a", kernel=line)
    second = guest(tmp_path / "b", kernel=line, vcpu={"count": 2})
    assert [cause["title"] for cause in _json(first, second)["causes"]] == ["vCPU count"]


def test_a_placeholder_for_the_same_number_is_another_way_to_write_it(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", kernel={"cmdline": f"{LINE} n=1"})
    second = guest(tmp_path / "b", kernel={"cmdline": f"{LINE} n={{vcpus}}"})
    told = run("diff", first, second)
    assert (told.status, told.out.splitlines()[:2]) == (
        0,
        ["same digest: 1 target", "only called or written otherwise:"],
    )
    assert [cause["kind"] for cause in _json(first, second)["causes"]] == ["cmdline"]


def test_files_are_compared_once_for_all_targets(tmp_path: Path) -> None:
    lines = {"x": "a", "y": "b"}
    first = guest(tmp_path / "a", kernel={"cmdlines": lines, "cmdline": None}, vcpu={"count": "1-3"})
    changed = {"cmdlines": {**lines, "y": "c"}, "cmdline": None}
    second = guest(tmp_path / "b", {"initrd": CPIO + b"0"}, kernel=changed, vcpu={"count": "1-3"})
    causes = _json(first, second)["causes"]
    assert [(cause["kind"], len(cause["targets"])) for cause in causes] == [("initrd", 0), ("cmdline", 3)]


def test_a_document_without_targets_is_no_pass(things: Path, tmp_path: Path) -> None:
    raw = json.loads((things / "values.json").read_text())
    raw["values"] = []
    (tmp_path / "none.json").write_text(json.dumps(raw))
    for other in (things / "guest.toml", things / "plan.json", tmp_path / "none.json"):
        assert run("diff", tmp_path / "none.json", other).status == 2


def test_other_target_sets_are_said(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", vcpu={"count": "1-4"})
    second = guest(tmp_path / "b", vcpu={"count": "3-20"})
    told = run("diff", first, second)
    assert told.status == 1
    assert told.out.splitlines() == [
        "same digest: 2 targets",
        "2 targets in the first alone: snp/qemu/EPYC-v4/vcpus1-2",
        "16 targets in the second alone: snp/qemu/EPYC-v4/vcpus5-20",
    ]
    assert run("diff", first, second, "--target", "vcpus3").status == 0
    apart = _json(first, second, "--target", "vcpus1", "--target", "vcpus9")
    assert [cause["title"] for cause in apart["causes"]] == ["vCPU count"]
    told = run("diff", first, second, "--target", "vcpus1")
    assert told.status == 2
    assert (
        f"error: {second}: no target that matches --target vcpus1\n  hint: a pattern for the targets"
        in told.err
    )


def test_causes_of_some_targets_name_these(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", vcpu={"count": [1, 2], "model": ["EPYC-v4", "EPYC-Milan"]})
    second = guest(tmp_path / "b", vcpu={"count": [1, 2], "model": ["EPYC-v4", "EPYC-Genoa"]})
    told = run("diff", first, second).out
    assert "different digest: 2 of 4 targets" in told
    assert "    of snp/qemu/EPYC-Milan/vcpus1-2" in told
    (cause,) = _json(first, second)["causes"]
    assert cause["targets"] == ["snp/qemu/EPYC-Milan/vcpus1", "snp/qemu/EPYC-Milan/vcpus2"]


def test_many_sets_of_causes_are_told_in_part(tmp_path: Path) -> None:
    lines = {f"c{number}": f"n={number}" for number in range(20)}
    other = {name: f"{text} x" if name != "c0" else text for name, text in lines.items()}
    first = guest(tmp_path / "a", kernel={"cmdlines": lines, "cmdline": None})
    second = guest(tmp_path / "b", kernel={"cmdlines": other, "cmdline": None})
    told = run("diff", first, second).out
    assert told.startswith("different digest: 19 of 20 targets\n")
    assert "and 11 more sets of targets, which JSON has\n" in told
    found = _json(first, second)
    assert (len(found["launches"]), found["same_targets"]) == (19, 1)
    assert [bool(launches["steps"]) for launches in found["launches"]] == [True] * 16 + [False] * 3


def test_many_details_are_told_in_part(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", kernel={"cmdline": " ".join(f"a{n}" for n in range(60))})
    second = guest(tmp_path / "b", kernel={"cmdline": " ".join(f"b{n}" for n in range(60))})
    assert "    and 80 more, which JSON has\n" in run("diff", first, second).out


def test_many_causes_are_told_in_part(tmp_path: Path) -> None:
    raw = json.loads(plan_json("snp"))
    raw["updates"][1:1] = [dict(raw["updates"][0], gpa=hex(0x1000 * number)) for number in range(200)]
    for number, update in enumerate(raw["updates"]):
        update["index"] = number
    (tmp_path / "a.json").write_text(json.dumps(raw))
    raw["updates"][-1]["launch_digest"] = "00" * 48
    for update in raw["updates"]:
        update["contents_digest"] = "11" * 48
    (tmp_path / "b.json").write_text(json.dumps(raw))
    told = run("diff", tmp_path / "a.json", tmp_path / "b.json").out
    assert "more, which JSON has\n" in told
    assert len(told.splitlines()) < 300


def test_many_inputs_of_a_lock_are_compared_in_time(things: Path, tmp_path: Path) -> None:
    lock = (things / "guest.lock").read_text()
    more = "".join(f'[[input]]\nrole = "initrd"\nname = "f{number}"\nsize = {{}}\n' for number in range(4000))
    (tmp_path / "a.lock").write_text(lock + more.replace("{}", "1"))
    (tmp_path / "b.lock").write_text(lock + more.replace("{}", "2"))
    found = _json(tmp_path / "a.lock", tmp_path / "b.lock")
    assert len(found["causes"]) == 4000


def test_documents_are_compared_as_before(things: Path, tmp_path: Path) -> None:
    changed = tmp_path / "other.json"
    raw = json.loads((things / "values.json").read_text())
    raw["values"][0]["policy"] = "0xb0000"
    changed.write_text(json.dumps(raw))
    told = run("diff", things / "release", changed)
    assert (told.status, told.out.splitlines()[-1]) == (1, "1 target: 1 changed")
    found = _json(things / "release", changed)
    assert (found["same_launch_values"], found["targets"][0]["status"]) == (False, "changed")
    assert [(cause["title"], cause["level"]) for cause in found["causes"]] == [("policy", "launch")]
    assert found["causes"][0]["where"]["new"] == f"{changed}: $.values[*].policy"
    assert run("diff", things / "release", changed, "--target", "snp").status == 1
    raw["values"][0]["digest"] = "00" * 48
    raw["values"][0]["policy"] = "0x30000"
    changed.write_text(json.dumps(raw))
    (cause,) = _json(things / "values.json", changed)["causes"]
    assert cause["title"] == "nothing that both sides say, but the digest"
    raw["values"].append({**raw["values"][0], "label": "snp/qemu/EPYC-v4/vcpus2", "vcpus": 2})
    changed.write_text(json.dumps(raw))
    assert _json(things / "values.json", changed)["alone"]["new"] == ["snp/qemu/EPYC-v4/vcpus2"]
    raw["values"].pop()
    raw["guest"]["name"] = "another"
    changed.write_text(json.dumps(raw))
    found = _json(things / "values.json", changed)
    assert (found["same"], found["same_launch_values"]) == (False, False)
    raw["guest"] = {"name": "test", "version": "2"}
    raw["values"][0]["digest"] = json.loads((things / "values.json").read_text())["values"][0]["digest"]
    changed.write_text(json.dumps(raw))
    told = run("diff", things / "values.json", changed)
    assert (told.status, told.out.splitlines()[-1]) == (1, "same launch values")


def test_a_bundle_that_was_tampered_with_is_compared_without_its_files(things: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(things / "bundle", bundle)
    (plan,) = bundle.glob("targets/**/plan.json")
    (image,) = bundle.glob("**/firmware.fd")
    other = guest(tmp_path / "b", {"OVMF.fd": standard_firmware(reset=0x80C004)})
    assert _json(bundle, other)["causes"][0]["title"].startswith("firmware: other footer table entry")
    image.write_bytes(b"x" * 4096)
    plan.write_text("{}")
    found = _json(bundle, other)
    assert (found["causes"][0]["title"], found["launches"][0]["steps"]) == ("firmware", [])
    plan.write_text(
        (things / "plan.json").read_text().replace('"launch_digest": "', '"launch_digest": "0')[:-1]
    )
    assert _json(bundle, other)["launches"][0]["steps"] == []
    raw = json.loads((things / "plan.json").read_text())
    raw["updates"] = raw["updates"][:2]
    plan.write_text(json.dumps(raw))
    assert _json(bundle, other)["launches"][0]["steps"] == []
    plan.unlink()
    assert _json(bundle, other)["launches"][0]["steps"] == []


def test_documents_without_a_common_target_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for name, version in (("a", "1"), ("b", "2")):
        manifest = guest(tmp_path / name, guest={"version": version}, vcpu={"count": int(version)})
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(run("measure", manifest, "-f", "json").out)
    found = _json(*paths)
    assert (found["digest"], found["same"], [cause["title"] for cause in found["causes"]]) == (
        "none",
        False,
        ["guest.version"],
    )
    assert found["subject"] == "no target of the one is one of the other"


def test_each_target_has_its_own_causes(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", vcpu={"count": [1, 2]})
    raw = json.loads(run("measure", first, "-f", "json").out)
    (tmp_path / "old.json").write_text(json.dumps(raw))
    raw["values"][0]["digest"] = "00" * 48
    raw["values"][1] |= {"digest": "11" * 48, "guest_features": "0x21"}
    (tmp_path / "new.json").write_text(json.dumps(raw))
    causes = _json(tmp_path / "old.json", tmp_path / "new.json")["causes"]
    assert [(cause["title"].split(",")[0], cause["targets"]) for cause in causes] == [
        ("nothing that both sides say", ["snp/qemu/EPYC-v4/vcpus1"]),
        ("guest features (SEV_FEATURES)", ["snp/qemu/EPYC-v4/vcpus2"]),
    ]


def test_documents_without_ingredients_say_their_inputs(tmp_path: Path) -> None:
    def published(name: str, *firmwares: bytes) -> Path:
        for number, data in enumerate(firmwares):
            guest(tmp_path / name, {f"f{number}.fd": data})
        tables: list[dict[str, Any]] = [
            {"firmware": {"path": f"f{number}.fd"}, "vcpu": {"count": number + 1}} for number in range(2)
        ]
        manifest = guest(tmp_path / name, firmware=None, vcpu={"count": None}, matrix=None)
        text = manifest.read_text().replace('firmware = { path = "OVMF.fd" }\n', "")
        text += "".join(
            f'[[matrix]]\nfirmware.path = "{table["firmware"]["path"]}"\nvcpu.count = {table["vcpu"]["count"]}\n'
            for table in tables
        )
        manifest.write_text(text)
        raw = json.loads(run("measure", manifest, "-f", "json").out)
        raw |= {"ingredients": [], "profiles": []}
        for value in raw["values"]:
            del value["ingredients"]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(raw))
        return path

    first = published("a", standard_firmware(), standard_firmware(fill=b"1"))
    second = published("b", standard_firmware(fill=b"2"), standard_firmware(fill=b"3"))
    causes = _json(first, second)["causes"]
    assert [(cause["kind"], cause["title"]) for cause in causes] == [
        ("firmware", "firmware f0.fd"),
        ("firmware", "firmware f1.fd"),
    ]
    raw = json.loads(first.read_text())
    for value in raw["values"]:
        value["cmdline"] = None
    (tmp_path / "c.json").write_text(json.dumps(raw))
    (cause,) = _json(first, tmp_path / "c.json")["causes"]
    assert (cause["title"], cause["new"], cause["details"]) == ("command line", None, [])


def test_a_document_of_several_releases_is_that_of_the_guest(things: Path, tmp_path: Path) -> None:
    second = guest(tmp_path / "b", guest={"version": "2"}, vcpu={"model": "EPYC-Milan"})
    (tmp_path / "second.json").write_text(run("measure", second, "-f", "json").out)
    (tmp_path / "all.json").write_text(run("merge", things / "values.json", tmp_path / "second.json").out)
    for manifest in (things / "guest.toml", second):
        assert run("diff", tmp_path / "all.json", manifest).status == 0
    told = _json(tmp_path / "all.json", second, "--release", "1")
    assert [cause["title"] for cause in told["causes"]] == ["CPU model", "guest.version"]


def test_igvm_files_are_launched_as_the_other_side_says(tmp_path: Path) -> None:
    manifest = guest(tmp_path, launch={"profile": "qemu-igvm"}, initrd=None, kernel=None)
    assert run("build", manifest, "-o", tmp_path / "bundle").status == 0
    (file,) = (tmp_path / "bundle").glob("**/*.igvm")
    for other in (manifest, tmp_path / "bundle"):
        told = run("diff", file, other)
        assert (told.status, told.out.splitlines()[0]) == (0, "same digest: 1 target")
    changed = guest(
        tmp_path / "b",
        {"OVMF.fd": standard_firmware(reset=0x80C004)},
        launch={"profile": "qemu-igvm"},
        initrd=None,
        kernel=None,
    )
    told = run("diff", file, changed)
    assert told.status == 1
    assert "contents of " in told.out.splitlines()[2]
    found = _json(manifest, changed)
    assert [cause["title"] for cause in found["causes"]] == [
        "firmware: other footer table entry SEV-ES reset block"
    ]
    assert found["launches"][0]["parts_at"] is not None
    values = tmp_path / "file.json"
    values.write_text(run("measure", file, "-f", "json").out)
    assert run("diff", values, file).status == 0
    assert run("diff", file, values, "--target", "qemu").status == 0
    plan = tmp_path / "plan.json"
    plan.write_text(run("plan", file, "--loader", "qemu", "-f", "json").out)
    told = run("diff", plan, file)
    assert (told.status, told.out.splitlines()[0]) == (0, "same digest: 1 target")
    features = {"profile": "qemu-igvm", "guest-features": 0x21}
    other = guest(tmp_path / "c", launch={**features, "policy": 0xB0000}, initrd=None, kernel=None)
    causes = {cause["title"]: cause["where"] for cause in _json(file, other)["causes"]}
    assert causes["policy"] == {"old": "GUEST_POLICY", "new": f"{other}:3"}
    assert causes["guest features (SEV_FEATURES)"]["old"].lower() == "vp context 0"
    raw = json.loads(values.read_text())
    raw["values"][0]["digest"] = "00" * 48
    values.write_text(json.dumps(raw))
    assert _json(values, file)["launches"][0]["steps"] == []
    more = run("diff", file, file, "--loader", "qemu", "--vcpus", "2", "--cpu", "EPYC-Milan")
    assert more.status == 0


def test_what_loaders_refuse_is_said(tmp_path: Path) -> None:
    page = PageData(0x1000, 1, b"\1" * 4096)
    first = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), page, BSP, name="a.igvm")
    second = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), page, BSP._replace(gpa=0x8000), name="b.igvm")
    told = run("diff", first, second)
    assert "qemu: note: cannot load this file" in told.err
    assert "in the first alone: " in told.out
    assert "qemu: note" not in run("diff", first, second, "-q").err


def test_an_svsm_and_what_is_not_measured_are_compared(tmp_path: Path) -> None:
    def svsm(folder: Path, **more: Any) -> Path:
        folder.mkdir()
        (folder / "svsm.bin").write_bytes(standard_svsm(**more))
        (folder / "OVMF.fd").write_bytes(standard_firmware())
        launch = {"profile": "svsm-qemu"}
        return write_manifest(
            folder,
            firmware={"path": "OVMF.fd"},
            svsm={"path": "svsm.bin", "vars-size": 0x20000},
            launch=launch,
        )

    found = _json(svsm(tmp_path / "a"), svsm(tmp_path / "b", fill=b"x"))
    assert [cause["kind"] for cause in found["causes"]] == ["svsm"]
    unmeasured = {"hashes": False}
    first = guest(tmp_path / "c", kernel=unmeasured)
    second = guest(
        tmp_path / "d", {"vmlinuz": boot_image("6.2 x")}, kernel=unmeasured, machine={"memory": "4G"}
    )
    known = guest(tmp_path / "e", kernel={"hashes": False, "path": None, "sha256": "11" * 32})
    assert _json(first, known)["causes"][0]["new"] == "11" * 32
    found = _json(first, second)
    titles = [(cause["title"], cause["level"]) for cause in found["causes"]]
    assert titles == [("machine.memory", "launch"), ("kernel, which is not measured", "launch")]
    assert (found["same"], found["digest"]) == (False, "same")


def test_locks_are_compared_with_what_else_says_the_same(things: Path, tmp_path: Path) -> None:
    files = {"initrd": CPIO + b"x", "more": CPIO}
    other = guest(
        tmp_path / "b", files, vcpu={"count": 2}, initrd={"path": ["initrd", "more"]}, kernel={"cmdline": "x"}
    )
    assert run("lock", other).status == 0
    found = _json(things / "guest.lock", tmp_path / "b" / "guest.lock")
    assert [(cause["kind"], cause["title"].split(":")[0]) for cause in found["causes"]] == [
        ("initrd", "initrd initrd"),
        ("setting", "target"),
        ("cmdline", "command line"),
    ]
    assert found["digest"] == "none"
    assert run("diff", things / "guest.lock", other).status == 1
    assert run("diff", things / "bundle", things / "guest.lock").out.endswith(
        "not compared, for one side lacks it: profiles\n"
    )
    lock = (things / "guest.lock").read_text()
    changed = tmp_path / "changed.lock"
    changed.write_text(
        lock.replace('"vmlinuz"', '"boot/vmlinuz"').replace("EPYC-v4 = 0x00800f12", "EPYC-v4 = 0x00800f13")
    )
    found = _json(things / "guest.lock", changed)
    assert [(cause["title"], cause["level"]) for cause in found["causes"]] == [
        ("CPU EPYC-v4", "digest"),
        ("name of kernel", "note"),
    ]
    line = lock.splitlines().index("EPYC-v4 = 0x00800f12") + 1
    assert found["causes"][0]["where"] == {"old": f"{things}/guest.lock:{line}", "new": f"{changed}:{line}"}
    start, _, rest = lock.partition('[[input]]\nrole = "initrd"')
    changed.write_text(start + rest[rest.index("[") :].replace("qemu = ", "ec2 = ", 1))
    found = _json(things / "guest.lock", changed)
    assert [cause["title"] for cause in found["causes"]] == [
        "initrd initrd removed",
        "profile ec2",
        "profile qemu",
    ]
    back = _json(changed, things / "guest.lock")
    assert back["causes"][0]["title"] == "initrd initrd added"
    guest(things / "more", vcpu={"count": "1-2"})
    assert run("lock", things / "more" / "guest.toml").status == 0
    told = run("diff", things / "guest.lock", things / "more" / "guest.lock")
    assert "1 target in the second alone: snp/qemu/EPYC-v4/vcpus2\n" in told.out


def test_digests_in_place_of_files_are_compared(tmp_path: Path) -> None:
    first = guest(tmp_path / "a", initrd={"path": None, "sha256": "11" * 32})
    second = guest(tmp_path / "b", initrd={"path": None, "sha256": "22" * 32})
    (cause,) = _json(first, second)["causes"]
    assert (cause["title"], cause["details"]) == ("initrd", [])
    assert cause["where"]["old"] == f"{first}:7"


def test_a_setting_on_no_line_says_where_it_is_from(tmp_path: Path) -> None:
    first = guest(tmp_path / "a")
    second = guest(tmp_path / "b", launch={"policy": {"debug": True}, "mode": "snp"})
    causes = {cause["title"]: cause for cause in _json(first, second)["causes"]}
    assert causes["policy"]["where"] == {"old": "default of mode snp", "new": f"{second}:3"}
    assert causes["origins.policy"]["level"] == "note"


@pytest.mark.slow
@given(
    st.binary(max_size=200),
    st.sampled_from(["OVMF.fd", "vmlinuz", "initrd", "plan.json", "guest.lock", "guest.igvm"]),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_crashes_it(things: Path, tmp_path: Path, noise: bytes, name: str) -> None:
    good = (things / name).read_bytes()
    for data in (noise, good[: len(noise) * 7] + noise, noise + good):
        (tmp_path / "input").write_bytes(data)
        for words in ([things / name, tmp_path / "input"], [tmp_path / "input", things / "guest.toml"]):
            told = run("diff", *words)
            assert told.status in (0, 1, 2), told
            assert bool(told.out) == (told.status != 2)

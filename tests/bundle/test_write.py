"""A bundle has what it was measured from, and nothing of the machine that made it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sevbuild
from sevbuild.bundle import folder as folder_module
from sevbuild.bundle.layout import is_safe_path, target_folders
from sevbuild.bundle.verify import verify_bundle
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.output.disk import Disk
from tests.bundle.support import PARTS, build, contents, make_inputs, manifest_of
from tests.support.cli import run
from tests.support.shared import ROOT

SVSM: dict[str, Any] = {
    "launch": {"mode": "snp", "profile": "svsm-qemu", "policy": 0x30000},
    "svsm": {"path": "svsm.bin", "vars-path": "vars.fd"},
    "kernel": None,
    "initrd": None,
}
GUESTS: dict[str, dict[str, Any]] = {
    "direct boot": {},
    "all modes": {"launch": {"mode": ["sev", "sev-es", "snp"], "profile": ["qemu"], "policy": None}},
    "canonical": {"launch": {"order": "canonical", "profile": "list.toml", "host-data": "11" * 32}},
    "features": {"launch": {"guest-features": 0x21}, "vcpu": {"model": None, "signature": [0x800F12, 7]}},
    "unmeasured kernel": {"kernel": {"hashes": False, "cmdline": "x"}},
    "image in parts": {
        "kernel": {"path": None, "cmdline": None, "uki": "image.efi", "uki-as": "parts"},
        "initrd": None,
    },
    "whole image": {"kernel": {"path": None, "uki": "image.efi", "uki-as": "kernel"}},
    "command lines": {
        "kernel": {"cmdline": None, "cmdlines": {"a": "one {{x}} {root}", "..": "two\t\x7f\u20ac"}},
        "variables": {"root": "/dev/vda"},
    },
    "raw command line": {"kernel": {"cmdline": None, "cmdline-file": "line"}},
    "same file twice": {"initrd": {"path": "kernel"}},
    "ingredients": {
        "kernel": {"path": None, "sha256": "11" * 32},
        "initrd": {"path": None, "sha256": "22" * 32},
    },
    "svsm": SVSM,
    "svsm with size": {**SVSM, "svsm": {"path": "svsm.bin", "vars-size": 0x2000}},
    "own profile": {"launch": {"profile": ["qemu", "own.toml"]}},
    "matrix": {
        "matrix": [
            {"kernel": {"cmdline": "a={a}"}},
            {
                "launch": {"mode": "snp", "profile": "ec2"},
                "variables": {"b": "1"},
                "kernel": {"path": "ucode", "cmdline": "b={b}"},
            },
        ],
        "variables": {"a": "0"},
        "kernel": {"cmdline": None},
    },
}


def _guest(folder: Path, name: str) -> Path:
    (folder / "line").write_bytes(b"caf\xe9 {vcpus}\n")
    (folder / "own.toml").write_text(
        'schema = 1\nname = "my-own"\nsummary = "ours"\nas-of = "2026"\nextends = "qemu"\n[launch]\nvmsa-gpa = 0x1000\n'
    )
    (folder / "list.toml").write_text(
        'schema = 1\nname = "listed"\nsummary = "ours"\nas-of = "2026"\nextends = "qemu"\n[launch]\nlist-loader = "ours"\n'
    )
    return manifest_of(folder, **GUESTS[name])


@pytest.mark.parametrize("inputs", ["copy", "link", "none"])
@pytest.mark.parametrize("name", GUESTS)
def test_every_kind_of_guest_bundles_and_measures_alike(tmp_path: Path, name: str, inputs: str) -> None:
    manifest = _guest(tmp_path, name)
    expected = {item.target.label: item.digest.hex() for item in load_guest(str(manifest)).measure()}
    bundle = build(manifest, tmp_path / "dist", inputs=inputs)
    assert {entry.value.label: entry.value.digest.hex() for entry in bundle.targets} == expected
    verified = verify_bundle(str(tmp_path / "dist"))
    assert verified.document == bundle
    assert (
        bool(verified.absent) == (inputs == "none" and not name.startswith("svsm w")) or name == "ingredients"
    )
    document = json.loads(run("measure", "-q", "--format", "json", manifest).out)
    assert json.loads((tmp_path / "dist" / "reference-values.json").read_text()) == document
    sums = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path / "dist", check=False, capture_output=True
    )
    assert sums.returncode == 0
    # The bundle's own manifest is a manifest like any other, and gives the same bundle but for names.
    if inputs == "copy":
        again = build(tmp_path / "dist" / "guest.toml", tmp_path / "again")
        assert again.files == tuple(
            entry if entry.path != "reference-values.json" else other
            for entry, other in zip(bundle.files, again.files, strict=True)
        )


@pytest.mark.parametrize("inputs", ["copy", "link", "none"])
@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_that_was_read_before_bundles_alike(tmp_path: Path, name: str, inputs: str) -> None:
    manifest = _guest(tmp_path, name)
    build(manifest, tmp_path / "first", inputs=inputs)
    guest = sevbuild.load_guest(str(manifest))
    measured = guest.measure()
    for folder in ("second", "third"):
        bundle = sevbuild.build_bundle(guest, str(tmp_path / folder), inputs=inputs)
        assert [entry.value.digest for entry in bundle.targets] == [item.digest for item in measured]
        assert contents(tmp_path / folder) == contents(tmp_path / "first")


def test_inputs_are_there_as_launched(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    build(manifest, tmp_path / "dist")
    inputs = tmp_path / "dist" / "inputs"
    assert (inputs / "initrd").read_bytes() == b"microcode" + PARTS[1][1]
    assert sorted(path.name for path in inputs.iterdir()) == ["firmware.fd", "initrd", "kernel"]
    assert (
        run("measure", "-q", "--format", "json", manifest).out
        == (tmp_path / "dist" / "reference-values.json").read_text()
    )
    build(_guest(tmp_path, "image in parts"), tmp_path / "dist")
    assert (inputs / "kernel").read_bytes() == PARTS[0][1]
    assert (inputs / "initrd").read_bytes() == PARTS[1][1]
    assert 'cmdline = "quiet {{x}} "' in (tmp_path / "dist" / "guest.toml").read_text()


def test_pages_are_those_of_the_plan_and_kept_once(tmp_path: Path) -> None:
    bundle = build(_guest(tmp_path, "all modes"), tmp_path / "dist")
    files = {entry.value.label: entry.files for entry in bundle.targets}
    one, two = files["snp/qemu/EPYC-v4/vcpus1"], files["snp/qemu/EPYC-v4/vcpus2"]
    assert one["vmsa0"] == two["vmsa0"] == "targets/snp_qemu_EPYC-v4_vcpus1/vmsa0.bin"
    assert "vmsa1" not in one
    assert len((tmp_path / "dist" / two["vmsa1"]).read_bytes()) == 4096
    sev = files["sev/qemu/EPYC-v4/vcpus1"]
    assert "vmsa0" not in sev
    table = (tmp_path / "dist" / sev["kernel_hashes_table"]).read_bytes()
    page = (tmp_path / "dist" / one["kernel_hashes_page"]).read_bytes()
    assert (len(table), len(page)) == (176, 4096)
    assert page[0xC00 : 0xC00 + 176] == table
    assert sev["kernel_hashes_page"] == one["kernel_hashes_page"]
    assert "kernel_hashes_table" not in one


def test_links_share_the_file_and_fall_back_to_copies(tmp_path: Path) -> None:
    class NoLinks(Disk):
        def clone(self, source: str, path: str) -> None:
            raise OSError(95, "no reflinks", path, None, source)

    class NoHardLinks(NoLinks):
        def link(self, source: str, path: str) -> None:
            raise OSError(1, "no hard links", path, None, source)

    manifest = manifest_of(tmp_path)
    build(manifest, tmp_path / "linked", inputs="link", disk=NoLinks())
    assert os.path.samefile(tmp_path / "linked/inputs/kernel", tmp_path / "kernel")
    assert not os.path.samefile(tmp_path / "linked/inputs/initrd", tmp_path / "initrd")
    build(manifest, tmp_path / "copied", inputs="link", disk=NoHardLinks())
    assert (tmp_path / "copied/inputs/kernel").stat().st_nlink == 1
    assert (tmp_path / "copied/bundle.json").read_bytes() == (tmp_path / "linked/bundle.json").read_bytes()
    verify_bundle(str(tmp_path / "linked"))


def test_a_linked_input_that_changes_while_read_is_an_error(tmp_path: Path) -> None:
    class Meddler(Disk):
        def clone(self, source: str, path: str) -> None:
            raise OSError(95, "no reflinks", path, None, source)

        def link(self, source: str, path: str) -> None:
            super().link(source, path)
            if source.endswith("OVMF.fd"):
                with open(path, "r+b") as stream:
                    stream.write(b"!")

    with pytest.raises(SevbuildError, match="changed while it was read"):
        build(manifest_of(tmp_path), tmp_path / "dist", inputs="link", disk=Meddler())
    assert not (tmp_path / "dist").exists()


def test_what_is_kept_is_what_was_measured(tmp_path: Path) -> None:
    """The firmware is replaced once its launch was measured: the bundle keeps what was measured."""
    manifest = manifest_of(tmp_path)
    guest = load_guest(str(manifest))
    expected = [item.digest.hex() for item in guest.measure()]

    class Late(Disk):
        def make_private_folder(self, path: str) -> None:
            (tmp_path / "OVMF.fd").write_bytes(b"other")
            super().make_private_folder(path)

    from sevbuild.bundle.write import build_bundle

    fresh = load_guest(str(manifest))
    fresh.firmware(fresh.targets[0].variant)
    bundle = build_bundle(fresh, str(tmp_path / "dist"), disk=Late())
    assert [entry.value.digest.hex() for entry in bundle.targets] == expected
    verify_bundle(str(tmp_path / "dist"))


def _build_elsewhere(folder: Path, mask: int, **environment: str) -> dict[str, tuple[int, bytes]]:
    folder.mkdir()
    make_inputs(folder)
    manifest = _guest(folder, "own profile")
    command = [sys.executable, "-m", "sevbuild", "build", "-q", str(manifest), "-o", str(folder / "dist")]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        umask=mask,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    return contents(folder / "dist")


def test_two_builds_are_equal_to_the_byte(tmp_path: Path) -> None:
    first = _build_elsewhere(tmp_path / "a", 0o077, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="1")
    second = _build_elsewhere(
        tmp_path / "other", 0o000, TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="2", SOURCE_DATE_EPOCH="9"
    )
    assert first == second
    assert {mode & 0o777 for mode, data in first.values() if data} == {0o644}
    assert {mode & 0o777 for mode, data in first.values() if not data} == {0o755}
    assert (
        subprocess.run(["diff", "-r", tmp_path / "a/dist", tmp_path / "other/dist"], check=False).returncode
        == 0
    )
    for _, data in first.values():
        assert str(tmp_path).encode() not in data


@pytest.mark.slow
def test_a_fleet_is_one_folder_of_reasonable_size(tmp_path: Path) -> None:
    bundle = build(ROOT / "guests/fleet/guest.toml", tmp_path / "dist")
    assert len(bundle.targets) == 960
    assert len(bundle.files) < 2000
    assert sum(entry.size for entry in bundle.files) < 32 << 20
    assert verify_bundle(str(tmp_path / "dist")).document == bundle


def test_folders_of_targets_are_safe_and_distinct() -> None:
    labels = [
        "snp/a/b/vcpus1",
        "snp/a_b/vcpus1",
        "snp/A/b/vcpus1",
        "snp/../x",
        "snp/\n\u20ac",
        "snp/" + "y" * 999,
        "snp/\ud800",
    ]
    folders = target_folders(labels)
    assert folders["snp/a/b/vcpus1"] == "targets/snp_a_b_vcpus1"
    assert len({folder.casefold() for folder in folders.values()}) == len(labels)
    assert all(is_safe_path(f"{folder}/plan.json") for folder in folders.values())


@pytest.mark.parametrize(
    "path", ["", "/etc", "a/../b", "..", "a//b", "a/b/c/d/e", "~/x", "a b", "a" * 300, "a\n"]
)
def test_paths_that_no_bundle_has(path: str) -> None:
    assert not is_safe_path(path)


def test_what_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    dist = tmp_path / "dist"
    dist.mkdir()
    build(manifest, dist)
    (dist / "notes.txt").write_text("mine")
    result = run("build", "-q", manifest, "-o", dist)
    assert (result.status, (dist / "notes.txt").read_text()) == (2, "mine")
    assert "notes.txt, which is not part of the bundle" in result.err
    (dist / "bundle.json").unlink()
    assert "exists and is not a bundle" in run("build", "-q", manifest, "-o", dist).err
    assert "hint: build into another folder" in run("build", "-q", manifest, "-o", dist).err
    assert "is not a folder" in run("build", "-q", manifest, "-o", manifest).err
    assert run("build", "-q", manifest, "-o", "").status == 2
    assert run("build", "-q", manifest, "-o", tmp_path / "x", "--link", "--no-copy").status == 2
    assert run("build", "-q", manifest, "-o", manifest / "below").status == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_what_keeps_a_folder_from_being_replaced_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> None:
        raise MismatchError(f"{folder} differs", hint="of its own")

    monkeypatch.setattr(folder_module, "read_document", refuse)
    (tmp_path / "file").touch()
    with pytest.raises(MismatchError) as caught:
        folder_module.refuse_foreign(str(tmp_path), "dist")
    assert caught.value.message == f"dist exists and is not a bundle: {tmp_path} differs"
    assert (caught.value.hint, caught.value.exit_code) == ("of its own", 1)


def test_a_bundle_is_built_verified_and_measured_by_its_verbs(tmp_path: Path) -> None:
    manifest, dist = manifest_of(tmp_path), tmp_path / "deep" / "dist"
    result = run("build", "-q", manifest, "-o", dist)
    assert (result.status, result.err) == (0, "")
    assert result.out == run("measure", "-q", manifest).out
    one = run("build", "-q", manifest, "-o", tmp_path / "one", "--target", "snp/qemu/EPYC-v4/vcpus2")
    assert one.out.strip() == result.out.splitlines()[1].split()[0]
    assert run("verify", dist).out == f"{dist}: consistent (2 targets, 17 files)\n"
    for other in (dist, dist / "bundle.json", dist / "reference-values.json"):
        # A bundle of some targets does not match its was published, unless no more is asked for.
        part = run("verify", tmp_path / "one", "--against", other)
        assert (part.status, "not measured  snp/qemu/EPYC-v4/vcpus1" in part.err) == (1, True)
        narrowed = run("verify", tmp_path / "one", "--target", "vcpus2", "--against", other)
        assert f"matches {other}\n" in narrowed.out
        assert (
            f"matches {other} (1 of 2 targets)\n"
            in run("verify", dist, "--target", "vcpus2", "--against", other).out
        )
    lines = tmp_path / "lines"
    lines.write_text(result.out)
    assert "matches" in run("verify", dist / "bundle.json", "--against", lines, "--expect", lines).out
    assert run("verify", dist, "--against", tmp_path / "one").status == 1
    assert run("verify", tmp_path / "one", "--expect", "00" * 48).status == 1
    run("build", "-q", manifest, "-o", tmp_path / "other", "--set", "launch.policy=0xb0000")
    differs = run("verify", dist, "--against", tmp_path / "other")
    assert (differs.status, "policy: expected 0xb0000, measured 0x30000" in differs.err) == (1, True)
    shown = run("inspect", dist)
    assert "snp/qemu/EPYC-v4/vcpus2" in shown.out
    assert "ucode+initrd" in shown.out
    assert json.loads(run("inspect", "--format", "json", dist / "bundle.json").out)["targets"]
    run("build", "-q", manifest, "-o", dist, "--no-copy")
    result = run("verify", dist)
    assert "3 absent inputs" in result.out
    assert "inputs/firmware.fd (firmware OVMF.fd) is absent" in result.err
    # Put in their place, they are checked as well.
    for name, source in (("firmware.fd", "OVMF.fd"), ("kernel", "kernel")):
        (dist / "inputs").mkdir(exist_ok=True)
        shutil.copy(tmp_path / source, dist / "inputs" / name)
    assert "1 absent input)" in run("verify", dist).out
    (dist / "inputs/kernel").write_bytes(b"x")
    assert run("verify", dist).status == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_initrd(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from sevbuild.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for size in (1 << 20, 200 << 20):
        manifest = manifest_of(tmp_path)
        os.truncate(tmp_path / "initrd", size)
        for arguments in (["build", "-q", manifest, "-o", tmp_path / "dist"], ["verify", tmp_path / "dist"]):
            command = [sys.executable, "-c", script, *map(str, arguments)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            peaks.append(int(result.stdout.splitlines()[-1]))
    assert max(peaks[2:]) - min(peaks[:2]) < 20 << 10

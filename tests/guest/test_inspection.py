"""`inspect` and error hints know what a file is."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.guest import inspection
from sevbuild.guest.inspection import inspect_file
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.cli import run
from tests.support.firmware import make_firmware
from tests.support.guests import write_manifest
from tests.support.kernels import BZIMAGE, CPIO
from tests.support.pe import make_uki

UKI = make_uki([(".linux", BZIMAGE), (".initrd", CPIO), (".cmdline", b"quiet \xff\0"), (".osrel", b"ID=x")])


@pytest.mark.parametrize(
    ("data", "kind", "roles", "text"),
    [
        (BZIMAGE, "bzimage", ["kernel"], "a Linux kernel (bzImage)"),
        (CPIO, "cpio", ["initrd"], "goes under    initrd.path"),
        (gzip.compress(CPIO, mtime=0), "gzip", ["initrd"], "gzip data"),
        (make_uki([(".text", b"k")]), "efi", ["kernel"], "goes under    kernel.path"),
        (UKI, "uki", ["uki"], "goes under    kernel.uki"),
    ],
)
def test_inputs_of_a_guest_are_told_and_hashed(
    tmp_path: Path, data: bytes, kind: str, roles: list[str], text: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    document = json.loads(run("inspect", path, "-f", "json").out)
    assert (document["kind"], document["roles"]) == (kind, roles)
    assert (document["size"], document["sha256"]) == (len(data), sha256(data).hexdigest())
    shown = run("inspect", path)
    assert (shown.status, shown.err) == (0, "")
    assert text in shown.out


def test_an_image_is_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    path.write_bytes(UKI)
    document = json.loads(run("inspect", path, "-f", "json").out)
    assert {name: part["size"] for name, part in document["parts"].items()} == {
        "linux": len(BZIMAGE),
        "initrd": len(CPIO),
        "cmdline": 8,
    }
    assert document["other_sections"] == [".osrel"]
    assert document["cmdline"] == "quiet \udcff"
    text = run("inspect", path).out
    assert ".osrel" in text
    assert "command line  quiet" in text
    path.write_bytes(make_uki([(".linux", BZIMAGE), (".profile", b"ID=a")]))
    document = json.loads(run("inspect", path, "-f", "json").out)
    assert document["parts"] is None
    assert "cannot be used: the UKI has .profile sections" in run("inspect", path).out


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"x", "a text document"),
        (b"", "an empty file"),
        (b"\x7fELF\2", "an ELF file"),
        (b"QFI\xfb", "a qcow2 disk image"),
    ],
)
def test_what_is_no_part_of_a_guest(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    result = run("inspect", path)
    assert result.status == 2
    assert f"file is {what}" in result.err
    assert "hint: inspect shows firmware" in result.err


def test_a_firmware_is_one_whatever_it_begins_with(tmp_path: Path) -> None:
    image = make_firmware(size=0x2000, sections=[(0x800000, 0x1000, 1)])
    path = tmp_path / "OVMF.fd"
    path.write_bytes(b"\x1f\x8b" + image[2:])
    assert json.loads(run("inspect", path, "-f", "json").out)["kind"] == "firmware"


def test_a_firmware_volume_is_a_firmware_or_at_fault(tmp_path: Path) -> None:
    """Its mark at the start says what it is to be, so that what is wrong with it is said."""
    path = tmp_path / "OVMF.fd"
    path.write_bytes(bytes(0x28) + b"_FVH" + bytes(100))
    with pytest.raises(SevbuildError, match=r"OVMF\.fd: not a firmware image"):
        inspect_file(str(path))
    image = make_firmware(size=0x2000, sections=[(0x800000, 0x1000, 1)])
    path.write_bytes(image[:0x28] + b"_FVH" + image[0x2C:])
    document = inspect_file(str(path))
    assert (document["kind"], "findings" in document) == ("firmware", True)


def test_a_vmsa_is_one_whatever_it_begins_with(tmp_path: Path) -> None:
    page = build_vmsa(
        {"es": {"selector": 0x8B1F}, "efer": 0x1000, "cr0": 0x10, "rflags": 2, "dr6": 0xFFFF0FF0}
    )
    assert page.startswith(b"\x1f\x8b")
    path = tmp_path / "vmsa.bin"
    path.write_bytes(page)
    assert inspect_file(str(path))["kind"] == "vmsa"


def test_the_end_of_a_file_makes_no_firmware_of_what_cannot_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firmware has whole pages, and no more of them than a guest's firmware can."""
    monkeypatch.setattr(inspection, "FIRMWARE", FIRMWARE._replace(limit=0x4000))
    path = tmp_path / "file"
    for size, kind in ((0x4000, "firmware"), (0x3FFF, "gzip"), (0x5000, "gzip")):
        image = make_firmware(size=size, sections=[(0x800000, 0x1000, 1)])
        path.write_bytes(b"\x1f\x8b" + image[2:])
        assert inspect_file(str(path))["kind"] == kind


@pytest.mark.parametrize("verb", ["measure", "plan", "check", "lock"])
def test_a_kernel_is_no_manifest(tmp_path: Path, verb: str) -> None:
    for name, data, what in (
        ("vmlinuz", BZIMAGE, "a Linux kernel (bzImage)"),
        ("initrd", CPIO, "a cpio archive"),
        ("initrd.gz", gzip.compress(CPIO, mtime=0), "gzip data"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        result = run(verb, path)
        assert result.status == 2
        assert f"{name} is {what}, not a manifest" in result.err
        assert "sevbuild inspect" in result.err


def test_an_igvm_file_where_a_manifest_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "guest.igvm"
    path.write_bytes(b"IGVM\1\0\0\0")
    result = run("check", path)
    assert result.status == 2
    assert "guest.igvm is an IGVM file, not a manifest" in result.err
    assert "igvm.path" in result.err


def test_documents_and_firmware_that_are_another_thing(tmp_path: Path) -> None:
    kernel, archive = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(BZIMAGE)
    archive.write_bytes(CPIO)
    assert "vmlinuz: a Linux kernel (bzImage), not a JSON document" in run("verify", kernel).err
    assert "initrd: a cpio archive, not a JSON document" in run("verify", archive).err
    manifest = write_manifest(tmp_path, firmware={"path": "vmlinuz"})
    assert "hint: it is a Linux kernel (bzImage)" in run("measure", manifest).err
    manifest = write_manifest(tmp_path, launch={"profile": "qemu-igvm"}, igvm={"path": "vmlinuz"})
    assert "hint: it is a Linux kernel (bzImage)" in run("measure", manifest).err


def test_release_notes_say_what_speaks_against_a_boot(tmp_path: Path) -> None:
    sections = [(0x800000, 0x1000, 1), (0x810000, 0x1000, 0x10)]
    image = make_firmware(size=0x2000, sections=sections, hash_table=(0x810C00, 0x400))
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(BZIMAGE)
    for profile, doubted in (("ec2", True), ("qemu", False)):
        manifest = write_manifest(
            tmp_path, launch={"profile": profile}, firmware={"path": "OVMF.fd"}, kernel={"path": "kernel"}
        )
        release = tmp_path / profile
        result = run("publish", manifest, "-o", release, "--formats", "markdown,html")
        assert result.status == 0, result.err
        for name in ("release-notes.md", "release-notes.html"):
            assert ("cannot boot: hosts of profile" in (release / name).read_text()) == doubted, name
        values = json.loads((release / "reference-values.json").read_text())["values"]
        assert all(("doubts" in value) == doubted for value in values)

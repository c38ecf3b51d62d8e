"""Every launch that a guest declares is a start, whose setup has the digest of its target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.diagnose.change import Material
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.launches import Launches
from sevbuild.diagnose.settings import changed_settings
from sevbuild.diagnose.setup import LaidOut
from sevbuild.diagnose.starts import (
    Subject,
    known_profiles,
    subject_of_document,
    subject_of_file,
    subject_of_guest,
)
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.guest.guest import load_guest
from sevbuild.igvm.headers import PageData
from sevbuild.launch.region_data import chunks
from sevbuild.vcpu.models import CPU_MODELS
from tests.guest.test_igvm import _image
from tests.support.cli import run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import guest_of, write_manifest
from tests.support.igvm import BSP, SNP, write_file
from tests.support.pe import make_uki
from tests.support.shared import shared_file

SECTIONS = [(0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 4)]


def bytes_of(contents: Any) -> bytes:
    return b"".join(chunks(contents()))


def check(subject: Subject) -> None:
    """Hold each setup to the digest of its target."""
    launches = Launches()
    for start in (*subject.starts, *subject.others):
        assert launches.digest(start.setup) == start.digest, start.label


@pytest.mark.parametrize(
    "tables",
    [
        {"vcpu": {"count": "1-3", "model": ["EPYC-v4", "EPYC-Milan"]}},
        {"launch": {"mode": ["sev", "sev-es"]}},
        {"launch": {"profile": ["qemu", "ec2", "gce"]}, "kernel": None, "initrd": None},
        {
            "launch": {"profile": "svsm-qemu"},
            "svsm": {"path": "svsm.bin", "vars-size": 0x84000},
            "kernel": None,
        },
        {"launch": {"profile": "qemu-igvm"}, "kernel": None, "initrd": None},
        {"launch": {"profile": "qemu-igvm"}, "igvm": {"parameters": True}, "kernel": None, "initrd": None},
        {"launch": {"order": "canonical"}},
        {"kernel": {"hashes": False}},
    ],
    ids=str,
)
def test_each_setup_has_the_digest_of_its_target(tables: dict[str, Any], tmp_path: Path) -> None:
    igvm = "qemu-igvm" in str(tables)
    (tmp_path / "OVMF.fd").write_bytes(_image(SECTIONS) if igvm else standard_firmware())
    (tmp_path / "svsm.bin").write_bytes(standard_svsm())
    for name in ("vmlinuz", "one.img", "two.img"):
        (tmp_path / name).write_bytes(name.encode())
    kernel = tables.get("kernel", {})
    given = {**tables, "firmware": {"path": "OVMF.fd"}}
    if kernel is not None:
        given |= {"kernel": {"path": "vmlinuz", "cmdline": "cpus={vcpus}", **kernel}}
        given |= {"initrd": {"path": ["one.img", "two.img"]}}
    else:
        given = {name: table for name, table in given.items() if table is not None}
    subject = subject_of_guest(guest_of(tmp_path, **given), [])
    check(subject)
    for start in subject.starts:
        assert subject.policies[start.label]
        assert subject.documents[start.label].source == str(tmp_path / "guest.toml")
        assert start.where is not None
        if kernel is None:
            continue
        material = start.material
        assert material.kernel is not None
        assert bytes_of(material.kernel) == b"vmlinuz"
        assert [bytes_of(part) for part in material.initrd] == [b"one.img", b"two.img"]
        assert material.initrd_names == ("one.img", "two.img")
        assert material.cmdline == f"cpus={start.setup.vcpus}".encode()
        assert material.counted_cmdline is not None
        assert material.counted_cmdline(77) == b"cpus=77"
        assert material.firmware == standard_firmware()


def test_parts_of_an_image_are_at_hand(tmp_path: Path) -> None:
    parts = [(".linux", b"kernel".ljust(0x300, b"k")), (".initrd", b"initrd"), (".cmdline", b"quiet\n")]
    image = make_uki([*parts, (".osrel", b"ID=x")])
    (tmp_path / "image.efi").write_bytes(image)
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    kernel = {"uki": "image.efi", "uki-as": "parts"}
    subject = subject_of_guest(guest_of(tmp_path, firmware={"path": "OVMF.fd"}, kernel=kernel), [])
    check(subject)
    material = subject.starts[0].material
    assert material.kernel is not None
    assert material.image is not None
    assert bytes_of(material.kernel) == parts[0][1]
    assert [bytes_of(part) for part in material.initrd] == [b"initrd"]
    assert bytes_of(material.image) == image
    assert (material.cmdline, material.cmdline_key, material.counted_cmdline) == (b"quiet\n", None, None)
    assert material.initrd_names == ()


def test_targets_that_are_left_out_are_there_as_others(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, vcpu={"count": "1-4"})
    subject = subject_of_guest(guest, ["vcpus2"])
    assert [start.setup.vcpus for start in subject.starts] == [2]
    assert [start.setup.vcpus for start in subject.others] == [1, 3, 4]
    alone = subject_of_guest(guest, ["vcpus2"], alone=True)
    assert (len(alone.starts), alone.others) == (1, ())
    with pytest.raises(SevbuildError, match="no target matches"):
        subject_of_guest(guest, ["vcpus9"])


def test_a_ready_file_is_launched_by_its_loader(tmp_path: Path) -> None:
    write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    guest = guest_of(
        tmp_path, launch={"profile": "qemu-igvm"}, igvm={"path": "guest.igvm"}, vcpu={"count": 3}
    )
    (start,) = subject_of_guest(guest, []).starts
    assert isinstance(start.setup, FileLaunch)
    assert (start.setup.loader, start.setup.vcpus, start.setup.described) == ("qemu", 3, 1)
    assert Launches().digest(start.setup) == start.digest


def test_an_igvm_file_has_all_its_loaders(tmp_path: Path) -> None:
    path = write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    subject = subject_of_file(ForeignFile(str(path)), ForeignLaunch(("qemu",)), [], Material())
    check(subject)
    assert [start.label for start in subject.starts] == ["snp/qemu/-/vcpus1"]
    assert "snp/igvmmeasure/-/vcpus1" in [start.label for start in subject.others]
    (start,) = subject.starts
    assert isinstance(start.setup, FileLaunch)
    assert start.setup.signature == CPU_MODELS["EPYC-v4"].signature
    profiles = known_profiles(subject)
    assert profiles[0].name == "qemu"
    # Of profiles that launch alike the first is named, and that is the one which others are made of.
    lineages = [len(profile.prose.lineage) for profile in profiles]
    assert lineages == sorted(lineages)


def test_a_cpu_that_was_named_is_a_setting_where_the_file_describes_every_vcpu(tmp_path: Path) -> None:
    path = write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)
    subject = subject_of_file(ForeignFile(str(path)), ForeignLaunch(("qemu",)), [], Material())
    (start,), profiles = subject.starts, known_profiles(subject)
    assert isinstance(start.setup, FileLaunch)
    other = start.setup._replace(vcpus=2, signature=0xA00F11)
    assert changed_settings(start, other, profiles) == {
        "vcpus": ("1", "2"),
        "cpu": ("0x00800f12", "0x00a00f11"),
    }
    assert changed_settings(start, start.setup.with_vcpus(2), profiles) == {"vcpus": ("1", "2")}
    assert changed_settings(start, start.setup._replace(signature=0xA00F11), profiles) == {}


def test_a_document_gives_the_launches_of_its_ingredients(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    manifest = write_manifest(
        tmp_path,
        firmware={"path": "OVMF.fd"},
        kernel={"path": "vmlinuz", "cmdline": "cpus={vcpus}"},
        launch={"mode": ["snp", "sev"], "profile": "qemu"},
        vcpu={"count": [1, 2]},
    )
    document = tmp_path / "reference-values.json"
    document.write_text(run("measure", "-q", manifest, "-f", "json").out)
    for path in (document, tmp_path):
        subject = subject_of_document(str(path), ["vcpus2"])
        check(subject)
        assert [start.label for start in subject.starts] == ["snp/qemu/EPYC-v4/vcpus2"]
        assert subject.starts[0].material.cmdline == b"cpus=2"
        (note,) = subject.notes
        assert note.startswith(
            "2 targets left out, such as sev/qemu/EPYC-v4/vcpus1: sev/qemu: a digest of mode sev is one SHA-256"
        )
    bent = json.loads(document.read_text())
    bent["values"][0]["digest"] = "00" * 48
    document.write_text(json.dumps(bent))
    with pytest.raises(MismatchError):
        subject_of_document(str(document), [])


def test_a_profile_of_a_document_that_is_shipped_no_more(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    profile = tmp_path / "mine.toml"
    profile.write_text('schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "ours"\nas-of = "today"\n')
    manifest = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, launch={"profile": "./mine.toml"})
    document = tmp_path / "values.json"
    document.write_text(run("measure", "-q", manifest, "-f", "json").out)
    (start,) = subject_of_document(str(document), []).starts
    assert isinstance(start.setup, LaidOut)
    assert start.setup.profile.name == "mine"
    assert start.setup.profile.prose.summary == "as it was published"
    shipped = known_profiles(subject_of_document(str(document), []))
    assert [item.name for item in shipped][:1] == ["mine"]
    assert "qemu" in [item.name for item in shipped]


def test_several_releases_are_named_by_their_versions(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    names = []
    for version, count in (("1", 1), ("2", 1), ("3", 2)):
        manifest = write_manifest(
            tmp_path,
            guest={"version": version},
            firmware={"path": "OVMF.fd"},
            vcpu={"count": count},
        )
        names.append(tmp_path / f"{version}.json")
        names[-1].write_text(run("measure", "-q", manifest, "-f", "json").out)
    merged = tmp_path / "merged.json"
    merged.write_text(run("merge", *names).out)
    labels = [start.label for start in subject_of_document(str(merged), []).starts]
    assert labels == ["snp/qemu/EPYC-v4/vcpus1 (1..2)", "snp/qemu/EPYC-v4/vcpus2 (3)"]


def test_ingredients_of_others(tmp_path: Path) -> None:
    path = shared_file("publish/dstack/measurement.snp.ingredients.json")
    subject = subject_of_document(str(path), [])
    check(subject)
    assert subject.title == "measurement.snp.ingredients.json"
    with pytest.raises(SevbuildError, match="no target matches"):
        subject_of_document(str(path), ["vcpus511"])
    contrast = tmp_path / "manifest.json"
    values = {"TrustedMeasurement": "00" * 48, "APEIP": "0080b004", "CPUs": 1, "ProductName": "Milan"}
    contrast.write_text(json.dumps({"ReferenceValues": {"snp": [values]}}))
    with pytest.raises(SevbuildError, match="a digest of one vCPU tells no launch") as refused:
        subject_of_document(str(contrast), [])
    assert refused.value.hint == "`sevbuild recompute` computes other vCPU counts from it"


def test_a_manifest_alone_has_a_guest(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SevbuildError):
        load_guest(str(tmp_path / "empty"))

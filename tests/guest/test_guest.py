"""A guest and its inputs: UKIs, command lines, SVSMs, and everything a publisher is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import FaultsError, MismatchError, Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import InputReader
from sevbuild.guest.notices import firmware_notices
from sevbuild.image.ovmf import parse_firmware
from sevbuild.manifest.inputs import PathSource
from sevbuild.manifest.profiles import load_profile
from tests.support.cli import run
from tests.support.firmware import SECTIONS, make_firmware, standard_firmware, standard_svsm
from tests.support.guests import digest_of, digests_of, guest_of, write_manifest
from tests.support.pe import make_uki

FIRMWARE = {"path": "OVMF.fd"}
PARTS = [(".linux", b"kernel" * 99), (".initrd", b"initrd" * 9999), (".cmdline", b"quiet ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with firmware, kernel, initrd and the same in one image."""
    image = standard_firmware()
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(PARTS[0][1])
    (tmp_path / "initrd").write_bytes(PARTS[1][1])
    (tmp_path / "image.efi").write_bytes(make_uki([*PARTS, (".ucode", b"x"), (".osrel", b"y")]))
    return tmp_path


def _warnings(guest: Guest) -> list[str]:
    guest.measure()
    return [notice.message for notice in guest.notices if notice.level == "warning"]


def _notices(folder: Path, **tables: Any) -> list[Notice]:
    guest = guest_of(folder, firmware=FIRMWARE, **tables)
    guest.measure()
    return guest.notices


def _sees(folder: Path, *words: str, **tables: Any) -> bool:
    warnings = _warnings(guest_of(folder, firmware=FIRMWARE, **tables))
    return any(all(word in warning for word in words) for warning in warnings)


def test_the_parts_of_an_image_are_measured_as_files_are(folder: Path) -> None:
    files = {"kernel": {"path": "kernel", "cmdline": "quiet "}, "initrd": {"path": "initrd"}}
    parts = {"kernel": {"uki": "image.efi", "uki-as": "parts"}}
    assert digest_of(folder, firmware=FIRMWARE, **parts) == digest_of(folder, firmware=FIRMWARE, **files)
    whole = {"kernel": {"uki": "image.efi", "uki-as": "kernel", "cmdline": "quiet "}}
    as_file = {"kernel": {"path": "image.efi", "cmdline": "quiet "}}
    assert digest_of(folder, firmware=FIRMWARE, **whole) == digest_of(folder, firmware=FIRMWARE, **as_file)
    assert _sees(folder, "extracted from the image", **parts)
    assert _sees(folder, "the whole image as the kernel", **whole)
    assert _sees(folder, ".ucode of the image are not launched", **parts)
    assert _sees(folder, "ends in white space", **parts)


def test_an_image_without_initrd_and_command_line(folder: Path) -> None:
    (folder / "bare.efi").write_bytes(make_uki(PARTS[:1]))
    parts = {"kernel": {"uki": "bare.efi", "uki-as": "parts"}}
    assert digest_of(folder, firmware=FIRMWARE, **parts) == digest_of(
        folder, firmware=FIRMWARE, kernel={"path": "kernel"}
    )


def test_inputs_of_an_image_are_listed(folder: Path) -> None:
    path = write_manifest(folder, firmware=FIRMWARE, kernel={"uki": "image.efi", "uki-as": "parts"})
    inputs = json.loads(run("measure", "-q", path, "-f", "json").out)["inputs"]
    assert [(entry["role"], entry["name"]) for entry in inputs] == [
        ("firmware", "OVMF.fd"),
        ("kernel", ".linux"),
        ("uki", "image.efi"),
        ("initrd", ".initrd"),
    ]
    path = write_manifest(folder, firmware=FIRMWARE, kernel={"uki": "image.efi", "uki-as": "kernel"})
    inputs = json.loads(run("measure", "-q", path, "-f", "json").out)["inputs"]
    assert [entry["role"] for entry in inputs] == ["firmware", "uki"]


def test_an_image_can_be_pinned(folder: Path) -> None:
    for taken_as in ("parts", "kernel"):
        kernel = {"uki": "image.efi", "uki-as": taken_as, "sha256": "00" * 32}
        with pytest.raises(MismatchError, match=r"image\.efi: sha256 is"):
            digest_of(folder, firmware=FIRMWARE, kernel=kernel)


def test_what_is_no_image(folder: Path) -> None:
    with pytest.raises(SevbuildError, match=r"kernel: not a PE image"):
        digest_of(folder, firmware=FIRMWARE, kernel={"uki": "kernel", "uki-as": "parts"})
    with pytest.raises(SevbuildError, match="cannot read"):
        digest_of(folder, firmware=FIRMWARE, kernel={"uki": "absent", "uki-as": "parts"})


def test_initrds_are_concatenated(folder: Path) -> None:
    (folder / "a").write_bytes(PARTS[1][1][:100])
    (folder / "b").write_bytes(PARTS[1][1][100:])
    kernel = {"path": "kernel"}
    one = digest_of(folder, firmware=FIRMWARE, kernel=kernel, initrd={"path": "initrd"})
    assert digest_of(folder, firmware=FIRMWARE, kernel=kernel, initrd={"path": ["a", "b"]}) == one
    assert digest_of(folder, firmware=FIRMWARE, kernel=kernel, initrd={"path": ["b", "a"]}) != one


def test_command_lines_from_a_file_are_byte_exact(folder: Path) -> None:
    (folder / "line").write_bytes(b"quiet {x}\n")
    from_file = {"path": "kernel", "cmdline-file": "line"}
    inline = {"path": "kernel", "cmdline": "quiet 1\n"}
    variables = {"x": 1}
    assert digest_of(folder, firmware=FIRMWARE, kernel=from_file, variables=variables) == digest_of(
        folder, firmware=FIRMWARE, kernel=inline
    )
    assert _sees(folder, "ends in a newline", kernel=from_file, variables=variables)
    (folder / "line").write_bytes(b"\xff\xfe raw bytes")
    guest = guest_of(folder, firmware=FIRMWARE, kernel=from_file)
    assert guest.kernels.cmdline(guest.targets[0]) == b"\xff\xfe raw bytes"
    (folder / "line").write_bytes(b"a\0b")
    with pytest.raises(SevbuildError, match="contains a NUL"):
        digest_of(folder, firmware=FIRMWARE, kernel=from_file)


def test_placeholders_make_a_line_for_each_target(folder: Path) -> None:
    kernel = {"path": "kernel", "cmdline": "cpus={vcpus} {cpu} {cpu_signature} {root} {{}}"}
    guest = guest_of(
        folder, firmware=FIRMWARE, kernel=kernel, variables={"root": "r"}, vcpu={"count": [1, 2]}
    )
    assert [guest.kernels.cmdline(target) for target in guest.targets] == [
        b"cpus=1 EPYC-v4 0x00800f12 r {}",
        b"cpus=2 EPYC-v4 0x00800f12 r {}",
    ]
    assert len({item.digest for item in guest.measure()}) == 2


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        (
            {"kernel": {"path": "kernel", "cmdline": "{rot}"}, "variables": {"root": "x"}},
            "kernel.cmdline: unknown placeholder {rot}",
        ),
        (
            {"kernel": {"path": "kernel", "cmdline": "x"}, "variables": {"root": "x"}},
            "variables.root: no command line uses it",
        ),
        ({"variables": {"root": "x"}}, "variables.root: no command line uses it"),
        (
            {"kernel": {"path": "kernel", "cmdline": "{"}},
            "kernel.cmdline: character 1 is a stray brace",
        ),
        (
            {"kernel": {"path": "kernel", "cmdlines": {"a": "}"}}},
            "kernel.cmdlines.a: character 1 is a stray brace",
        ),
    ],
)
def test_placeholders_and_variables_must_match(folder: Path, tables: dict[str, Any], fault: str) -> None:
    with pytest.raises(FaultsError) as caught:
        digests_of(folder, firmware=FIRMWARE, **tables)
    assert fault in str(caught.value)


def test_warnings_on_kernels(folder: Path) -> None:
    (folder / "empty").touch()
    assert _sees(folder, "the kernel file is empty", kernel={"path": "empty"})
    assert _sees(folder, "the initrd is empty", kernel={"path": "kernel"}, initrd={"path": "empty"})
    assert _sees(folder, "ends in white space", kernel={"path": "kernel", "cmdline": "quiet "})
    assert _sees(folder, "ends in a newline", kernel={"path": "kernel", "cmdline": "quiet\n"})
    assert _sees(folder, "2048 bytes; Linux keeps 2047", kernel={"path": "kernel", "cmdline": "x" * 2048})
    assert not _sees(folder, "Linux keeps", kernel={"path": "kernel", "cmdline": "x" * 2047})
    assert _sees(folder, "booted unmeasured", kernel={"path": "kernel", "hashes": False})
    assert _sees(
        folder, "ec2 start no kernel of the tenant's", kernel={"path": "kernel"}, launch={"profile": "ec2"}
    )


def test_warnings_on_launches(folder: Path) -> None:
    assert _sees(folder, "may debug", launch={"policy": 0xB0000})
    assert _sees(folder, "may debug", launch={"mode": "sev", "policy": 0x0})
    assert _sees(folder, "never set debug-swap", launch={"guest-features": 0x21})
    assert _sees(folder, "never set bit-22", launch={"guest-features": 0x400201})
    assert _sees(folder, "snp-active (bit 0) is clear", launch={"guest-features": 0x0})
    assert _sees(folder, "snp-active (bit 0) is set", launch={"mode": "sev-es", "guest-features": 0x1})
    assert not _sees(folder, "never set", launch={"guest-features": 0x21, "profile": "qemu-snp-debugswap"})
    assert _sees(folder, "never set vtom, bit-22", launch={"guest-features": 0x400003})


def test_bits_of_newer_hosts_are_noted_and_no_warning(folder: Path) -> None:
    """SecureTSC and SecureAVIC need hosts after the date of profile qemu; EC2 and old hosts have neither."""
    notices = _notices(folder, launch={"guest-features": 0x10201})
    (note,) = [notice for notice in notices if "set by hosts newer than profile qemu" in notice.message]
    assert (note.level, note.message.split(" are ")[0]) == ("note", "secure-tsc, secure-avic")
    assert "as of 2026-02-12" in (note.hint or "")
    assert not [notice for notice in notices if "never set" in notice.message]
    one = [
        note.message
        for note in _notices(folder, launch={"guest-features": 0x201})
        if "newer than" in note.message
    ]
    assert one == ["secure-tsc is set by hosts newer than profile qemu, and only on request"]
    for profile in ("ec2", "gce", "qemu-snp-legacy-fpu", "qemu-snp-debugswap", "svsm-qemu"):
        launch = {"guest-features": 0x201, "profile": profile}
        assert not load_profile(profile).prose.host_features["snp"].newer
        if profile != "svsm-qemu":
            assert _sees(folder, "never set secure-tsc", launch=launch)


@pytest.mark.parametrize(
    ("profile", "model", "warned"),
    [
        ("gce", "EPYC-Genoa", True),
        ("gce", "EPYC-Turin", True),
        ("gce", "EPYC-Milan", False),
        ("gce-genoa", "EPYC-Milan", True),
        ("gce-genoa", "EPYC-Genoa", False),
    ],
)
def test_gce_hosts_differ_by_product(folder: Path, profile: str, model: str, warned: bool) -> None:
    assert (
        _sees(folder, "GCE launches the VMSA", launch={"profile": profile}, vcpu={"model": model}) is warned
    )


def test_warnings_on_firmware(folder: Path) -> None:
    def told(image: bytes, mode: str = "snp") -> str:
        guest = guest_of(folder, firmware=FIRMWARE, launch={"mode": mode})
        variant = guest.manifest.variants[0]
        return " ".join(
            notice.message for notice in firmware_notices(variant, parse_firmware(image), guest.targets)
        )

    assert told(standard_firmware()) == ""
    assert "not a multiple of 64 KiB" in told(make_firmware(size=0x11000))
    assert "at most 8 MiB" in told(make_firmware(size=9 << 20))
    assert "no footer table: is this an OVMF?" in told(bytes(0x10000))
    odd = standard_firmware(sections=[*SECTIONS, (0x900000, 0x1000, 9)])
    assert "unknown kind 0x9" in told(odd)
    assert told(odd, "sev") == ""


def test_in_mode_sev_only_the_regions_count(folder: Path) -> None:
    digests = digests_of(
        folder,
        firmware=FIRMWARE,
        launch={"mode": "sev"},
        vcpu={"count": [1, 5], "model": ["EPYC", "EPYC-Genoa"]},
    )
    assert len(digests) == 4
    assert len(set(digests.values())) == 1


@pytest.mark.parametrize("store", [{"vars-size": 0x84000}, {"vars-path": "vars.fd"}])
def test_an_svsm_below_the_variable_store(folder: Path, store: dict[str, Any]) -> None:
    (folder / "vars.fd").write_bytes(bytes(0x84000))
    svsm = standard_svsm()
    (folder / "svsm.bin").write_bytes(svsm)
    tables = {"launch": {"profile": "svsm-qemu"}, "svsm": {"path": "svsm.bin", **store}, "vcpu": {"count": 2}}
    guest = guest_of(folder, firmware=FIRMWARE, **tables)
    (measured,) = guest.measure()
    assert [(update.origin, update.gpa) for update in measured.plan.regions[:2]] == [
        ("firmware", 0xFFFF0000),
        ("svsm", 0xFFFF0000 - 0x84000 - 0x3000),
    ]
    path = write_manifest(folder, firmware=FIRMWARE, **tables)
    assert [
        entry["role"] for entry in json.loads(run("measure", "-q", path, "-f", "json").out)["inputs"]
    ] == ["firmware", "svsm"]
    with pytest.raises(MismatchError, match=r"svsm\.bin: sha256"):
        guest_of(
            folder, firmware=FIRMWARE, **{**tables, "svsm": {**tables["svsm"], "sha256": "00" * 32}}
        ).measure()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"svsm": {"path": "OVMF.fd", "vars-size": 0}}, "OVMF.fd: the SVSM has no entry point"),
        ({"svsm": {"path": "absent", "vars-size": 0}}, "cannot read"),
        ({"svsm": {"path": "svsm.bin", "vars-path": "absent"}}, "cannot read"),
        ({"svsm": {"path": "svsm.bin", "vars-size": 0}, "firmware": {"path": None, "seed": "ab" * 48, "metadata": {"sections": [{"gpa": 0, "size": 4096, "kind": 1}]}}}, "requires the firmware file"),
    ],
)  # fmt: skip
def test_svsms_at_fault(folder: Path, tables: dict[str, Any], message: str) -> None:
    (folder / "svsm.bin").write_bytes(standard_svsm(reset=0x80B004))
    merged = {"firmware": FIRMWARE, "launch": {"profile": "svsm-qemu"}, **tables}
    with pytest.raises(SevbuildError, match=message):
        guest_of(folder, **merged).measure()


def test_a_malformed_firmware_is_named(folder: Path) -> None:
    (folder / "OVMF.fd").write_bytes(b"text")
    with pytest.raises(SevbuildError, match=r"OVMF\.fd: not a firmware image: 4 bytes"):
        digest_of(folder, firmware=FIRMWARE)


def test_overlapping_regions_name_the_target(folder: Path) -> None:
    image = standard_firmware(sections=[*SECTIONS, (0xFFFF0000, 0x1000, 1)])
    (folder / "OVMF.fd").write_bytes(image)
    with pytest.raises(
        SevbuildError, match=r"snp/qemu/EPYC-v4/vcpus1: SNP_LAUNCH_UPDATE \(section 4 .* INVALID_PAGE_STATE"
    ):
        digest_of(folder, firmware=FIRMWARE)


def test_canonical_order_in_a_manifest(folder: Path) -> None:
    launch = {"mode": ["sev-es", "snp"], "order": "canonical"}
    guest = guest_of(folder, firmware=FIRMWARE, launch=launch, kernel={"path": "kernel"}, vcpu={"count": 2})
    for measured in guest.measure():
        gpas = [update.gpa for update in measured.plan.regions]
        assert gpas == sorted(gpas)
        assert measured.plan.regions[-1].origin == "firmware"
        assert [update.origin for update in measured.plan.vmsas] == ["vmsa 0", "vmsa 1"]


def test_files_are_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sevbuild import fs
    from sevbuild.guest import inputs

    seen: list[tuple[str, ...]] = []
    original = fs.hash_files

    def spy(paths: tuple[str, ...], *rest: Any, **more: Any) -> Any:
        seen.append(tuple(Path(path).name for path in paths))
        return original(paths, *rest, **more)

    monkeypatch.setattr(inputs, "hash_files", spy)
    digests_of(
        folder,
        firmware=FIRMWARE,
        kernel={"path": "kernel", "cmdline": "{vcpus}"},
        initrd={"path": "initrd"},
        launch={"mode": ["sev", "sev-es", "snp"]},
        vcpu={"count": "1-8"},
    )
    assert sorted(seen) == [("initrd",), ("kernel",)]


def test_paths_start_from_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "kernel").write_bytes(b"")
    reader = InputReader(str(tmp_path))
    assert reader.path_of(PathSource("./sub//../kernel")) == str(tmp_path / "kernel")
    assert reader.path_of(PathSource("./kernel")) == str(tmp_path / "kernel")
    assert reader.path_of(PathSource("/absolute")) == "/absolute"
    # Through nothing, and through a file, there is no way back: the operating system says so.
    for path in ("absent/../kernel", "kernel/../kernel", "kernel/"):
        with pytest.raises(SevbuildError, match="cannot read"):
            reader.size(PathSource(path))


def test_a_way_back_through_a_link_is_the_operating_systems(tmp_path: Path) -> None:
    (tmp_path / "else" / "where").mkdir(parents=True)
    (tmp_path / "else" / "kernel").write_bytes(b"the one behind the link")
    (tmp_path / "kernel").write_bytes(b"the one beside it")
    (tmp_path / "link").symlink_to("else/where")
    source = PathSource("link/../kernel")
    assert InputReader(str(tmp_path)).read(source, 64) == b"the one behind the link"

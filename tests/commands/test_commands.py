"""Launch commands say what the target says, and any shell or parser reads them back."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from sevbuild.bundle.own_files import own_files, single_target
from sevbuild.commands.files import (
    earlier_domain,
    launch_files,
    libvirt_xml,
    qemu_arguments,
    qemu_json,
    shell_script,
)
from sevbuild.commands.launch import Launch, qemu_cpu
from sevbuild.commands.shell import quote
from sevbuild.errors import SevbuildError
from sevbuild.manifest.model import Cpu
from sevbuild.text import visible
from tests.support.cli import run
from tests.support.launches import FILES, launch_of, launching_guest

KERNEL = {"path": "vmlinuz", "cmdline": "console=ttyS0 quiet"}
INITRD = {"path": "initrd.img"}

IGVM_PROFILE = """schema = 1
name = "igvm"
extends = "qemu"
summary = "QEMU with an IGVM file"
as-of = "2026"

[command]
launcher = "qemu-igvm"
"""


def igvm_launch(folder: Path, **tables: dict[str, Any]) -> Any:
    """Return the launch of a guest whose profile loads an IGVM file."""
    (folder / "igvm.toml").write_text(IGVM_PROFILE)
    return launch_of(launching_guest(folder, launch={"profile": "igvm.toml"}, kernel=KERNEL, **tables))


def test_an_snp_guest_with_a_measured_kernel(tmp_path: Path) -> None:
    launch = launch_of(
        launching_guest(
            tmp_path,
            launch={"policy": 0xB0000, "host-data": "01" * 32},
            kernel=KERNEL,
            initrd=INITRD,
            vcpu={"count": 3, "model": "EPYC-Milan-v2"},
            machine={
                "memory": "4G",
                "cbitpos": 47,
                "reduced-phys-bits": 5,
                "extra-args": ["-device", "virtio-rng-pci"],
            },
        )
    )
    guest = "sev-snp-guest,id=sev0,cbitpos=47,reduced-phys-bits=5,policy=0xb0000,kernel-hashes=on"
    guest += ",host-data=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
    assert qemu_arguments(launch) == [
        "-machine", "q35,confidential-guest-support=sev0,memory-backend=ram0", "-accel", "kvm", "-cpu", "EPYC-Milan-v2",
        "-smp", "3", "-m", "4G", "-object", "memory-backend-memfd,id=ram0,size=4G,share=true", "-object", guest,
        "-bios", "OVMF.fd", "-kernel", "vmlinuz", "-initrd", "initrd.img", "-append", "console=ttyS0 quiet",
        "-nographic", "-no-reboot", "-device", "virtio-rng-pci",
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "policy"), [("sev", "0x1"), ("sev-es", "0x5")])
def test_an_sev_guest_has_its_object_and_policy(tmp_path: Path, mode: str, policy: str) -> None:
    arguments = qemu_arguments(launch_of(launching_guest(tmp_path, launch={"mode": mode})))
    assert f"sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy={policy}" in arguments
    assert "q35,confidential-guest-support=sev0" in arguments
    assert "-kernel" not in arguments


def test_a_kernel_that_is_not_measured(tmp_path: Path) -> None:
    launch = launch_of(launching_guest(tmp_path, kernel={"path": "vmlinuz", "hashes": False}))
    arguments = qemu_arguments(launch)
    assert any(argument.endswith(",kernel-hashes=off") for argument in arguments)
    assert arguments[arguments.index("-kernel") + 1] == "vmlinuz"
    assert "-append" not in arguments


def test_a_profile_adds_properties(tmp_path: Path) -> None:
    launch = launch_of(launching_guest(tmp_path, launch={"mode": "sev-es", "profile": "qemu-es-init2"}))
    assert any(argument.endswith("policy=0x5,legacy-vm-type=off") for argument in qemu_arguments(launch))
    # libvirt has no element for it.
    xml = libvirt_xml(launch).decode()
    assert "launchSecurity" not in xml
    assert "legacy-vm-type=off" in xml


def test_an_igvm_guest_repeats_the_policy_and_has_no_firmware(tmp_path: Path) -> None:
    launch = igvm_launch(tmp_path)._replace(files={**FILES, "igvm": "a,b.igvm"})
    arguments = qemu_arguments(launch)
    assert "-bios" not in arguments
    assert "igvm-cfg,id=igvm0,file=a,,b.igvm" in arguments
    assert any(argument.endswith(",policy=0x30000,kernel-hashes=off") for argument in arguments)
    assert "q35,confidential-guest-support=sev0,memory-backend=ram0,igvm-cfg=igvm0" in arguments
    # The kernel is offered through fw_cfg; the hashes in the file hold it.
    assert arguments[arguments.index("-append") + 1] == KERNEL["cmdline"]
    xml = libvirt_xml(launch).decode()
    assert "<loader" not in xml
    assert "<launchSecurity type='sev-snp' kernelHashes='no'>" in xml
    assert "sev0" not in xml
    assert "<qemu:arg value='igvm-cfg=igvm0'/>" in xml


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (0x00A00F11, "EPYC-v4,family=25,model=1,stepping=1"),
        (0x00800F12, "EPYC-v4,family=23,model=1,stepping=2"),
        (0x00000543, "EPYC-v4,family=5,model=4,stepping=3"),
    ],
)
def test_a_cpu_by_its_signature(signature: int, expected: str) -> None:
    assert qemu_cpu(Cpu(f"0x{signature:08x}", signature)) == expected


@pytest.mark.parametrize("signature", [0x10A00F11, 0x00A0FF11, 0x00A00511])
def test_a_signature_that_no_qemu_cpu_has(signature: int) -> None:
    with pytest.raises(SevbuildError, match="no QEMU CPU has the signature"):
        qemu_cpu(Cpu(f"0x{signature:08x}", signature))


@pytest.mark.parametrize("profile", ["ec2", "ec2-rdx0", "gce", "gce-genoa", "svsm-qemu"])
def test_what_qemu_cannot_launch_has_no_command(tmp_path: Path, profile: str) -> None:
    guest = launching_guest(tmp_path, launch={"profile": profile})
    with pytest.raises(SevbuildError, match="has no launch command") as caught:
        launch_of(guest)
    assert caught.value.hint
    assert launch_files(guest, guest.targets[0], FILES) == {}


def test_a_profile_that_says_nothing_has_no_command(tmp_path: Path) -> None:
    import tomli

    from sevbuild.manifest.profiles import PROFILE_DIRECTORY, load_profile

    text = Path(PROFILE_DIRECTORY, "qemu.toml").read_text().replace('[command]\nlauncher = "qemu"\n', "")
    text = text.replace('name = "qemu"', 'name = "own"', 1)
    assert "command" not in tomli.loads(text)
    (tmp_path / "own.toml").write_text(text)
    command = load_profile("own.toml", str(tmp_path)).prose.command
    assert (command.launcher, command.properties) == ("none", {})
    (tmp_path / "own.toml").write_text(text + '[command]\nlauncher = "none"\n')
    with pytest.raises(SevbuildError, match="missing: what launches these guests"):
        load_profile("own.toml", str(tmp_path))


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    guest = launching_guest(tmp_path, kernel=KERNEL, initrd=INITRD)
    for role in ("firmware", "kernel", "initrd"):
        with pytest.raises(SevbuildError, match=f"there is no {role} file"):
            launch_of(guest, {name: path for name, path in FILES.items() if name != role})
    with pytest.raises(SevbuildError, match="is not a file of a launch"):
        launch_of(guest, {**FILES, "disk": "x"})
    with pytest.raises(SevbuildError, match="there is no igvm file"):
        launch_of(guest_with_igvm(tmp_path), {"firmware": "OVMF.fd"})


def guest_with_igvm(folder: Path) -> Any:
    (folder / "igvm.toml").write_text(IGVM_PROFILE)
    return launching_guest(folder, launch={"profile": "igvm.toml"})


def test_what_a_command_cannot_say_is_noted(tmp_path: Path) -> None:
    guest = launching_guest(tmp_path, launch={"guest-features": 0x21, "order": "canonical"})
    launch = launch_of(guest)
    assert "SEV_FEATURES must be 0x21" in launch.notes[0]
    assert "order canonical" in launch.notes[1]
    assert "# Note: SEV_FEATURES must be 0x21" in shell_script(launch, here=True).decode()


def test_the_files_of_a_target_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    tables: dict[str, Any] = {"kernel": KERNEL, "initrd": INITRD, "launch": {"mode": "sev-es"}}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    found = []
    for name in ("a", "b"):
        guest = launching_guest(tmp_path / name, **tables)
        found.append(launch_files(guest, guest.targets[0], FILES))
    assert found[0] == found[1]
    assert sorted(found[0]) == ["launch.sh", "libvirt.xml", "qemu.json", "validate.sh"]
    for data in found[0].values():
        assert data.endswith(b"\n")
        assert b"\r" not in data
        assert str(tmp_path).encode() not in data
    snp = launching_guest(tmp_path)
    assert "validate.sh" not in launch_files(snp, snp.targets[0], FILES)


def _echo(script: bytes, folder: Path, *arguments: str, **environment: str) -> list[bytes]:
    """Run a script with a program in QEMU's place that prints its arguments, NUL after each."""
    program = folder / "echo-arguments"
    program.write_text('#!/bin/sh\nfor argument; do printf "%s\\0" "$argument"; done\n')
    program.chmod(0o755)
    path = folder / "script"
    path.write_bytes(script)
    result = subprocess.run(
        ["bash", str(path), *arguments],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "QEMU": str(program), **environment},
        cwd=folder,
    )
    return result.stdout.split(b"\0")[:-1]


@settings(max_examples=25, deadline=None)
@given(cmdline=st.binary(max_size=60).filter(lambda data: b"\0" not in data))
def test_bash_gives_any_command_line_back(cmdline: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        guest = launching_guest(folder, kernel=KERNEL, machine={"extra-args": ["-name", "'\n\"$HOME`"]})
        launch = launch_of(guest)._replace(cmdline=cmdline)
        words = _echo(shell_script(launch, here=True), folder)
        assert words == [os.fsencode(argument) for argument in qemu_arguments(launch)]
        if cmdline:
            assert words[words.index(b"-append") + 1] == cmdline
        assert json.loads(qemu_json(launch)) == qemu_arguments(launch)


def test_the_host_supplies_its_values_and_further_arguments(tmp_path: Path) -> None:
    launch = launch_of(launching_guest(tmp_path))
    words = _echo(
        shell_script(launch, here=False),
        tmp_path,
        "-drive",
        "a b",
        CBITPOS="47",
        REDUCED_PHYS_BITS="5",
        MEMORY="8G",
    )
    text = b" ".join(words).decode()
    assert "cbitpos=47,reduced-phys-bits=5," in text
    assert "-m 8G" in text
    assert "size=8G," in text
    assert words[-2:] == [b"-drive", b"a b"]


def test_names_cannot_leave_their_comment() -> None:
    assert visible("a\nrm -rf\r\x1b\u2028b") == r"a\nrm -rf\r\x1b\u2028b"
    assert quote("") == "''"


@pytest.mark.parametrize("tool", ["libvirt", "sevctl"])
def test_the_measurement_is_checked_with_either_tool(tmp_path: Path, tool: str) -> None:
    guest = launching_guest(
        tmp_path,
        launch={"mode": "sev-es", "policy": 0x7},
        kernel={"path": "vmlinuz", "cmdline": "a 'b'\nc"},
        initrd=INITRD,
        vcpu={"count": 2},
    )
    files = launch_files(guest, guest.targets[0], {**FILES, "vmsa0": "v0.bin"})
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("virt-qemu-sev-validate", "sevctl"):
        program = binaries / name
        program.write_text(
            '#!/bin/sh\nfor argument; do printf "%s\\0" "$argument"; done >"$OUT"\necho "$ANSWER"\n'
        )
        program.chmod(0o755)
    (tmp_path / "validate.sh").write_bytes(files["validate.sh"])
    environment = {
        "PATH": f"{binaries}:{os.environ['PATH']}", "OUT": str(tmp_path / "out"), "ANSWER": "M", "MEASUREMENT": "M",
        "API_MAJOR": "1", "API_MINOR": "55", "BUILD_ID": "8", "TIK": "tik.bin", "TEK": "tek.bin",
    }  # fmt: skip

    def validate(*arguments: str, **more: str) -> int:
        command = ["sh", str(tmp_path / "validate.sh"), *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, env={**environment, **more}
        ).returncode

    assert validate(tool) == 0
    words = (tmp_path / "out").read_bytes().decode().split("\0")[:-1]
    assert words[words.index("--policy") + 1] == "7"
    if tool == "libvirt":
        assert words[-14:] == [
            "--firmware", "OVMF.fd", "--kernel", "vmlinuz", "--initrd", "initrd.img", "--cmdline", "a 'b'\nc",
            "--num-cpus", "2", "--vmsa-cpu0", "v0.bin", "--vmsa-cpu1", "vmsa1.bin",
        ]  # fmt: skip
    else:
        from base64 import b64decode

        (measured,) = guest.measure()
        assert b64decode(words[words.index("--launch-digest") + 1]) == measured.digest
        assert validate(tool, ANSWER="other") == 1
    assert validate() == 2


def test_an_sev_measurement_has_no_vcpus(tmp_path: Path) -> None:
    guest = launching_guest(tmp_path, launch={"mode": "sev"})
    script = launch_files(guest, guest.targets[0], FILES, digest=bytes(32))["validate.sh"].decode()
    assert "--num-cpus" not in script
    assert "--kernel" not in script
    assert "is the launch digest" in script


def test_xml_keeps_every_character_it_can(tmp_path: Path) -> None:
    cmdline = " a='<&\">' \t\r\n]]> \u00e9 "
    launch = launch_of(
        launching_guest(
            tmp_path,
            kernel={"path": "vmlinuz", "cmdline": cmdline},
            machine={"extra-args": ["-name", "a\nb\t'\"<"]},
        )
    )
    root = etree.fromstring(libvirt_xml(launch, folder="/srv/guest"))
    assert root.findtext("os/cmdline") == cmdline
    assert root.findtext("os/kernel") == "/srv/guest/vmlinuz"
    arguments = [arg.get("value") for arg in root.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
    assert arguments[-2:] == ["-name", "a\nb\t'\"<"]


@pytest.mark.parametrize("cmdline", [b"a\x1bb", b"a\xffb"])
def test_what_no_xml_can_hold_is_left_to_the_script(tmp_path: Path, cmdline: bytes) -> None:
    (tmp_path / "cmdline").write_bytes(cmdline)
    guest = launching_guest(tmp_path, kernel={"path": "vmlinuz", "cmdline-file": "cmdline"})
    found = launch_files(guest, guest.targets[0], FILES)
    assert sorted(found) == ["launch.sh", "qemu.json"]
    assert cmdline in found["launch.sh"]
    assert any("no libvirt.xml" in notice.message for notice in guest.notices)


def test_the_manifests_own_files(tmp_path: Path) -> None:
    guest = launching_guest(tmp_path, kernel=KERNEL, initrd=INITRD)
    found = own_files(guest, guest.targets[0])
    assert found == {
        role: str(tmp_path / name)
        for role, name in (("firmware", "OVMF.fd"), ("kernel", "vmlinuz"), ("initrd", "initrd.img"))
    }
    two = launching_guest(tmp_path, kernel=KERNEL, initrd={"path": ["initrd.img", "initrd.img"]})
    with pytest.raises(SevbuildError, match="initrd of 2 files"):
        own_files(two, two.targets[0])
    uki = launching_guest(tmp_path, kernel={"uki": "vmlinuz", "uki-as": "parts"})
    with pytest.raises(SevbuildError, match="parts of vmlinuz"):
        own_files(uki, uki.targets[0])
    many = launching_guest(tmp_path, vcpu={"count": [1, 2]})
    with pytest.raises(SevbuildError, match="2 targets"):
        single_target(many, "")
    assert single_target(many, many.targets[1].label).vcpus == 2


def test_paths_of_a_domain_start_where_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    launching_guest(tmp_path, firmware={"path": "../OVMF.fd"})
    (tmp_path / "guest.toml").rename(tmp_path / "below" / "guest.toml")
    monkeypatch.chdir(tmp_path / "below")

    def loader(*options: str) -> str:
        result = run("qemu-args", "guest.toml", "--format", "libvirt", *options)
        assert result.status == 0
        root = etree.fromstring(result.out)
        assert ("sed " in result.out) == (not options)
        return root.findtext("os/loader") or ""

    assert loader() == "/bundle/../OVMF.fd"
    assert loader("--folder", "/srv/guest") == "/srv/guest/../OVMF.fd"
    assert os.path.samefile(loader("--folder", "."), "../OVMF.fd")
    refused = run("qemu-args", "guest.toml", "--folder", "/srv")
    assert (refused.status, refused.out) == (2, "")
    assert "--format libvirt" in refused.err


def test_a_bundle_with_a_domain_as_it_was_written_before_is_consistent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = launching_guest(tmp_path, kernel=KERNEL)
    with monkeypatch.context() as patch:

        def before(placed: Launch) -> bytes:
            del placed
            return earlier_domain(guest, guest.targets[0], named, folder)

        folder = "targets/snp_qemu_EPYC-v4_vcpus1"
        named = {"firmware": "inputs/firmware.fd", "kernel": "inputs/kernel"}
        patch.setattr("sevbuild.commands.files.libvirt_xml", before)
        assert run("build", tmp_path / "guest.toml", "-o", tmp_path / "dist").status == 0
    domain = tmp_path / "dist" / folder / "libvirt.xml"
    assert b"<kernel>/inputs/kernel</kernel>" in domain.read_bytes()
    assert run("verify", tmp_path / "dist").status == 0

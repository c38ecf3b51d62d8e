"""An import takes what QEMU would, and what it cannot know keeps the manifest incomplete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli

from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware

GUEST = "sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on"
BASE = [
    "-machine", "q35,confidential-guest-support=sev0", "-enable-kvm", "-cpu", "EPYC-v4", "-m", "2G", "-object", GUEST,
]  # fmt: skip
FIRMWARE = ["-bios", "OVMF.fd"]


def inputs(folder: Path) -> None:
    """Write a firmware that takes kernel hashes, a kernel and an initrd."""
    firmware = standard_firmware()
    for name, data in (("OVMF.fd", firmware), ("vmlinuz", b"kernel"), ("initrd.img", b"initrd")):
        (folder / name).write_bytes(data)


def imported(folder: Path, arguments: list[str]) -> tuple[dict[str, Any], Result]:
    """Import the arguments of QEMU, and return the tables and how the command ended."""
    source = folder / "arguments.json"
    source.write_text(json.dumps(["qemu-system-x86_64", *arguments]))
    result = run("import", source)
    assert result.status == 0, result.err
    return tomli.loads(result.out), result


def value_of(tables: dict[str, Any], key: str) -> Any:
    """Return the value at a dotted key, None where there is none."""
    found: Any = tables
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["-machine", "kernel=vmlinuz"], "kernel.path", "vmlinuz"),
        (["-machine", "kernel=vmlinuz,append=a,,b c"], "kernel.cmdline", "a,b c"),
        (["-machine", "append=x", "-kernel", "vmlinuz"], "kernel.cmdline", "x"),
        (["-M", "kernel=vmlinuz,initrd=initrd.img"], "initrd.path", "initrd.img"),
        (["-machine", "smp.cpus=4"], "vcpu.count", 4),
        (["-smp", "2", "-machine", "smp.cpus=8"], "vcpu.count", 8),
        (["-smp", "3", "-smp", "maxcpus=8"], "vcpu.count", 3),
        (["-smp", "010"], "vcpu.count", 8),
        (["-kernel", "other", "-machine", "kernel=vmlinuz"], "kernel.path", "vmlinuz"),
        (["-machine", "firmware=OVMF.fd", "-bios", "OVMF.fd", "-machine", "firmware=new.fd"], "firmware.path", "new.fd"),
        (["-machine", "vmport=off"], "machine.extra-args", ["-machine", "vmport=off"]),
    ],
)  # fmt: skip
def test_properties_of_the_machine_count_in_their_order(
    tmp_path: Path, arguments: list[str], key: str, value: Any
) -> None:
    if key == "vcpu.count" and "010" in arguments:
        # A number that begins with 0 is octal, which was no number at all.
        source = tmp_path / "x.json"
        source.write_text(json.dumps([*BASE, *FIRMWARE, *arguments]))
        assert run("import", source).status == 0
    tables, _ = imported(tmp_path, [*BASE, *FIRMWARE, *arguments])
    assert value_of(tables, key) == value


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["-machine", "kernel=/other"], "kernel.path", "/other"),
        (["-smp", "4"], "vcpu.count", 4),
        (["-append", "other"], "kernel.cmdline", "other"),
        (["-machine", "initrd=/other"], "initrd.path", "/other"),
        (["-bios", "/other.fd"], "firmware.path", None),
    ],
)
def test_arguments_in_a_domain_change_what_libvirt_says(
    tmp_path: Path, arguments: list[str], key: str, value: Any
) -> None:
    given = "".join(f"<qemu:arg value='{argument}'/>" for argument in arguments)
    domain = f"""<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <name>g</name><memory unit='GiB'>2</memory><vcpu>2</vcpu>
      <os><type machine='q35'>hvm</type><loader type='pflash'>/OVMF.fd</loader><kernel>/k</kernel><cmdline>c</cmdline></os>
      <cpu mode='custom'><model fallback='forbid'>EPYC</model></cpu>
      <launchSecurity type='sev-snp' kernelHashes='yes'><policy>0x30000</policy></launchSecurity>
      <qemu:commandline>{given}<qemu:arg value='-cpu'/><qemu:arg value='EPYC-Milan'/>
      <qemu:arg value='-object'/><qemu:arg value='id=mine,qom-type=sev-snp-guest,policy=0xb0000,kernel-hashes=on,secure-tsc=on'/>
      <qemu:arg value='-machine'/><qemu:arg value='confidential-guest-support=mine'/></qemu:commandline>
    </domain>"""
    (tmp_path / "guest.xml").write_text(domain)
    result = run("import", tmp_path / "guest.xml")
    assert result.status == 0, result.err
    tables = tomli.loads(result.out)
    assert value_of(tables, key) == value
    assert value_of(tables, "vcpu.model") == "EPYC-Milan"
    assert value_of(tables, "launch.policy") == 0xB0000
    assert "# guest-features = ... # UNKNOWN: secure-tsc=on" in result.out


@pytest.mark.parametrize("flash", ["-drive", "-pflash", "-blockdev"])
@pytest.mark.parametrize("mode", ["sev", "snp"])
def test_flash_beside_bios_is_not_passed_over(tmp_path: Path, flash: str, mode: str) -> None:
    options = {
        "-drive": ["-drive", "file=flash.fd,format=raw,if=pflash"],
        "-pflash": ["-pflash", "flash.fd"],
        "-blockdev": ["-blockdev", "driver=raw,node-name=f,file.driver=file,file.filename=flash.fd", "-machine", "pflash0=f"],
    }  # fmt: skip
    guest = GUEST if mode == "snp" else GUEST.replace("sev-snp-guest", "sev-guest")
    tables, result = imported(tmp_path, [*BASE[:-1], guest, *FIRMWARE, *options[flash]])
    if mode == "sev":
        assert value_of(tables, "firmware.path") == "flash.fd"
        assert "-bios OVMF.fd" in result.out
    else:
        assert value_of(tables, "firmware.path") is None
        assert "# path = ... # UNKNOWN: " in result.out


SCRIPT = """#!/bin/bash
set -eu
OVMF=OVMF.fd   # from the package
VCPUS=4
KERNEL="vmlinuz"
export CPU='EPYC-Milan'
APPEND="console=ttyS0  root=/dev/vda"
sev="sev-snp-guest,id=sev0,policy=0x30000,kernel-hashes=on"
exec qemu-system-x86_64 -enable-kvm -machine q35,confidential-guest-support=sev0 \\
    -cpu ${CPU} -smp $VCPUS,maxcpus=8 -bios "${OVMF}" -kernel $KERNEL -append "$APPEND" -object "$sev" -m 2G
"""


def test_assignments_above_the_command_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "launch.sh").write_text(SCRIPT)
    result = run("import", "launch.sh", "-o", "guest.toml")
    assert result.status == 0, result.err
    tables = tomli.loads((tmp_path / "guest.toml").read_text())
    assert value_of(tables, "vcpu.count") == 4
    assert value_of(tables, "vcpu.model") == "EPYC-Milan"
    assert value_of(tables, "firmware.path") == "OVMF.fd"
    assert value_of(tables, "kernel.cmdline") == "console=ttyS0  root=/dev/vda"
    assert value_of(tables, "launch.policy") == 0x30000
    assert "UNKNOWN" not in result.err
    assert run("measure", "-q", "guest.toml").status == 0


@pytest.mark.parametrize(
    ("before", "change", "key", "value"),
    [
        ("", ["-smp", "$VCPUS"], "vcpu.count", "4"),
        ('if [ -n "$X" ]; then VCPUS=4; fi\n', ["-smp", "$VCPUS"], "vcpu.count", "4"),
        ("VCPUS=$(nproc)\n", ["-smp", "$VCPUS"], "vcpu.count", "4"),
        ("", ["-machine", "smp.cpus=$VCPUS"], "vcpu.count", "4"),
        ("", ["-cpu", "$CPU"], "vcpu.model", "EPYC-v4"),
        ("", ["-cpu", "host"], "vcpu.model", "EPYC-v4"),
        ("", ["-cpu", "EPYC-v4,family=$F"], "vcpu.signature", "0x800f12"),
        ("", ["-global", "EPYC-v4-x86_64-cpu.stepping=3"], "vcpu.model", "EPYC-v4"),
        ("", ["-device", "EPYC-v4-x86_64-cpu,socket-id=1,core-id=0,thread-id=0"], "vcpu.count", "4"),
        ("", ["-append", "root=$ROOT"], "kernel.cmdline", "root=/dev/vda"),
        ("", ["-append", "`cat cmdline`"], "kernel.cmdline", "root=/dev/vda"),
        ("", ["-kernel", "/boot/vmlinuz-$(uname -r)"], "kernel.path", "vmlinuz"),
        ("", ["-kernel", "~/vmlinuz"], "kernel.path", "vmlinuz"),
        ("", ["-dtb", "x.dtb"], "kernel.path", "vmlinuz"),
        ("", ["-initrd", "$INITRD"], "initrd.path", "initrd.img"),
        ("", ["-bios", "$OVMF"], "firmware.path", "OVMF.fd"),
        ("", ["-object", "sev-snp-guest,id=s,policy=$POLICY", "-machine", "confidential-guest-support=s"], "launch.policy", "0x30000"),
        ("", ["-object", "sev-snp-guest,id=s,secure-tsc=on", "-machine", "confidential-guest-support=s"], "launch.guest-features", "0x1"),
        ("", ["-machine", "confidential-guest-support=other"], "launch.mode", "snp"),
        ("", ["-readconfig", "guest.cfg"], "machine.extra-args", "[]"),
        ("", ["-set", "object.sev0.policy=0xb0000"], "machine.extra-args", "[]"),
        ("", ["-device", "loader,addr=0,cpu-num=0"], "machine.extra-args", "[]"),
        ("", ["-machine", "dt-compatible=x"], "machine.extra-args", "[]"),
        ("", ["$EXTRA"], "machine.extra-args", "[]"),
        ("A=(-S -usb)\n", ["${A[@]}"], "machine.extra-args", "[]"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_keeps_the_manifest_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, change: list[str], key: str, value: str
) -> None:
    inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = [*BASE, *FIRMWARE, "-smp", "4", "-kernel", "vmlinuz", "-append", "root=/dev/vda", *change]
    quoted = [f"'{word}'" if word not in change else f'"{word}"' for word in arguments]
    quoted = [word.strip('"') if '"~' in word else word for word in quoted]
    (tmp_path / "launch.sh").write_text(f"{before}exec qemu-system-x86_64 {' '.join(quoted)}\n")
    result = run("import", "launch.sh", "-o", "guest.toml")
    assert result.status == 0, result.err
    table, _, name = key.partition(".")
    lines = (tmp_path / "guest.toml").read_text().splitlines()
    left = "model" if name == "signature" else name
    found = [number for number, line in enumerate(lines, 1) if line.startswith(f"# {left} = ... # UNKNOWN: ")]
    assert found, lines
    refused = run("measure", "guest.toml")
    assert (refused.status, refused.out) == (2, "")
    assert f"guest.toml:{found[0]}: {table}.{left}: UNKNOWN: " in refused.err
    assert f"--set {table}.{left}=" in refused.err
    measured = run("measure", "-q", "guest.toml", "--set", f"{key}={value}")
    assert measured.status == 0, measured.err
    # The line counts no more where the key has a value.
    lines[found[0] - 1] += f"\n{name} = {value if value[0] in '0123456789[' else json.dumps(value)}"
    (tmp_path / "guest.toml").write_text("\n".join(lines) + "\n")
    again = run("measure", "-q", "guest.toml")
    assert (again.status, again.out) == (0, measured.out)


INFLUENTIAL = [
    ["-shim", "TOKEN"],
    ["-machine", "shim=TOKEN"],
    ["-accel", "TOKEN"],
    ["-L", "TOKEN"],
    ["-machine", "sgx-epc.0.memdev=TOKEN"],
    ["-cpu", "EPYC-v4,TOKEN=on", "-global", "EPYC-v4-x86_64-cpu.TOKEN=on"],
    ["-machine", "pc-TOKEN"],
    ["-kernel", "k", "-machine", "kernel=TOKEN"],
    ["-incoming", "TOKEN"],
    ["-loadvm", "TOKEN"],
    ["-device", "loader,file=TOKEN"],
    ["-device", '{"driver":"TOKEN"}'],
    ["-object", "id=x,qom-type=TOKEN"],
    ["-set", "TOKEN"],
    ["-global", "TOKEN.x=y"],
    ["-fw_cfg", "name=TOKEN,string=x"],
    ["-mem-path", "TOKEN"],
]


@pytest.mark.parametrize("arguments", INFLUENTIAL, ids=" ".join)
def test_what_is_not_taken_is_named(tmp_path: Path, arguments: list[str]) -> None:
    """Each is a value in the manifest, or named in it and on standard error as what is not kept."""
    _, result = imported(tmp_path, [*BASE, *FIRMWARE, *arguments])
    kept = [line for line in result.out.splitlines() if "TOKEN" in line and not line.startswith("#")]
    assert not [line for line in kept if line.startswith("extra-args")]
    assert kept or ("TOKEN" in result.out and "TOKEN" in result.err)

"""Extra arguments stand for nothing that is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

REFUSED = [
    ["-machine", "kernel=/tmp/other"],
    ["-machine", "initrd=/tmp/other"],
    ["-machine", "append=other"],
    ["-machine", "firmware=/tmp/other.fd"],
    ["-machine", "usb=off,smp.cpus=8"],
    ["-M", "smp.cpus=8"],
    ["-machine", "pc"],
    ["-machine", "confidential-guest-support=mine"],
    ["-machine", "pflash0=node"],
    ["-readconfig", "guest.cfg"],
    ["-set", "object.sev0.policy=0xb0000"],
    ["-global", "EPYC-v4-x86_64-cpu.stepping=3"],
    ["-global", "driver=EPYC-v4-x86_64-cpu,property=stepping,value=3"],
    ["-global", "cpu.stepping=3"],
    ["-device", "EPYC-v4-x86_64-cpu,socket-id=1,core-id=0,thread-id=0"],
    ["-device", "id=c1,driver=EPYC-v4-x86_64-cpu"],
    ["-device", json.dumps({"driver": "EPYC-v4-x86_64-cpu", "id": "c1"})],
    ["-device", "virtio-rng-pci,driver=loader"],
    ["-device", "loader,addr=0x1000,cpu-num=0"],
    ["-drive", "if=pflash,format=raw,file=other.fd"],
    ["-drive", "file=other.fd,format=raw,if=pflash"],
    ["-drive", "if=none,if=pflash,file=other.fd"],
    ["-object", json.dumps({"qom-type": "sev-snp-guest", "id": "mine", "policy": 0xB0000})],
    ["-object", "id=mine,qom-type=sev-snp-guest,policy=0xb0000"],
    ["-object", "id=mine,qom-type=igvm-cfg,file=other.igvm"],
    ["-fw_cfg", "name=etc/boot/kernel,file=other"],
    ["-incoming", "unix:/tmp/socket"],
    ["-loadvm", "tag"],
    ["-preconfig"],
    ["-dtb", "other.dtb"],
    ["-nonsense", "x"],
    # A value is no option, and an option is no value.
    ["-name", "-S", "-readconfig", "x"],
    ["-S", "-readconfig", "-name"],
    ["-netdev"],
]


@pytest.mark.parametrize("extra", REFUSED, ids=" ".join)
def test_an_argument_that_could_be_measured_is_a_fault(tmp_path: Path, extra: list[str]) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    tables = {"firmware": {"path": "OVMF.fd"}}
    harmless = ["-device", "virtio-rng-pci", "-name", "-S", "-drive", "if=none,id=d,file=disk.img", "-S"]
    assert run("check", write_manifest(tmp_path, **tables, machine={"extra-args": harmless})).status == 0
    result = run("check", write_manifest(tmp_path, **tables, machine={"extra-args": [*harmless, *extra]}))
    assert result.status == 2
    assert "guest.toml:" in result.err
    assert "machine.extra-args[" in result.err
    assert "launch.sh" in result.err

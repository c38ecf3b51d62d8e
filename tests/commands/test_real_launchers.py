"""What is emitted, held to the real software that reads it: libvirt's schemas and QEMU's own properties."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from sevbuild.commands.files import libvirt_xml, qemu_arguments
from sevbuild.commands.launch import Launch
from tests.support.id_blocks import ID_KEY, private_pem
from tests.support.launches import launch_of, launching_guest
from tests.support.real import QEMU, require
from tests.support.shared import ROOT

SCHEMA = ROOT / ".cache/newest/usr/share/libvirt/schemas/domain.rng"
BACKPORTS = ROOT / ".cache/backports/usr"

IGVM_NAMES = {
    ("object", "igvm-cfg", "file"): "QEMU 10.1 qapi/qom.json: IgvmCfgProperties",
    ("machine", "igvm-cfg", ""): "QEMU 10.1 hw/i386/pc.c, hw/i386/x86.c: a link property of x86 machines",
}
"""Names that no QEMU of Debian knows, for none is built with IGVM, and where each is defined."""

KERNEL = {"path": "vmlinuz", "cmdline": " quiet <&'\">\n"}
CASES: dict[str, dict[str, Any]] = {
    "snp": {"launch": {"host-data": "ab" * 32}, "kernel": KERNEL, "initrd": {"path": "initrd.img"}, "vcpu": {"count": 4, "model": "EPYC-Milan"}},
    "snp firmware only": {"vcpu": {"model": None, "signature": 0xA00F11}, "machine": {"extra-args": ["-device", "virtio-rng-pci"]}},
    "snp id block": {"id-block": {"key": "id.pem", "author-key": "id.pem"}, "vcpu": {"model": "EPYC-Milan"}},
    "sev": {"launch": {"mode": "sev"}, "kernel": {"path": "vmlinuz", "hashes": False}},
    "sev-es": {"launch": {"mode": "sev-es", "policy": 0x7}, "kernel": KERNEL},
    "sev-es-init2": {"launch": {"mode": "sev-es", "profile": "qemu-es-init2"}, "kernel": KERNEL},
    "igvm": {"launch": {"profile": "igvm.toml"}, "kernel": KERNEL},
}  # fmt: skip


@pytest.fixture(params=CASES)
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Launch:
    (tmp_path / "igvm.toml").write_text(
        'schema = 1\nname = "igvm"\nextends = "qemu"\nsummary = "s"\nas-of = "2026"\n[command]\nlauncher = "qemu-igvm"\n'
    )
    (tmp_path / "id.pem").write_bytes(private_pem(ID_KEY))
    return launch_of(launching_guest(tmp_path, **CASES[request.param]))


def test_libvirts_newest_schema_accepts_the_domain(launch: Launch) -> None:
    require(SCHEMA.exists(), f"{SCHEMA.relative_to(ROOT)}, of the newest suite's libvirt-common")
    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    domain = etree.fromstring(libvirt_xml(launch))
    assert schema.validate(domain), schema.error_log
    # The schema sees what it should: a policy that is no number is refused.
    for policy in domain.iter("policy"):
        policy.text = "none"
        assert not schema.validate(domain)


class Monitor:
    """Ask a QEMU without a machine over QMP."""

    def __init__(self, name: str, program: str, environment: dict[str, str], arguments: list[str]) -> None:
        self.name = name
        command = [
            program,
            "-machine",
            "none",
            "-nodefaults",
            "-display",
            "none",
            "-qmp",
            "stdio",
            *arguments,
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert "QMP" in self._read()
        self.ask("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "QEMU ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, command: str, **arguments: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        while True:
            answer = self._read()
            if "event" not in answer:
                return answer

    def properties(self, kind: str) -> set[str] | None:
        """Return the names of a type's properties, None for a type that this QEMU does not have."""
        answer = self.ask("qom-list-properties", typename=kind)
        return {entry["name"] for entry in answer["return"]} if "return" in answer else None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module", params=["bookworm", "bookworm-backports"])
def monitor(request: pytest.FixtureRequest) -> Any:
    if request.param == "bookworm":
        require(QEMU, "qemu-system-x86_64")
        found = Monitor(request.param, str(QEMU), dict(os.environ), [])
    else:
        program = BACKPORTS / "bin/qemu-system-x86_64"
        require(program.exists(), f"{program.relative_to(ROOT)}, of bookworm-backports' qemu-system-x86")
        environment = {**os.environ, "LD_LIBRARY_PATH": str(BACKPORTS / "lib/x86_64-linux-gnu")}
        firmware = [part for name in ("qemu", "seabios") for part in ("-L", str(BACKPORTS / "share" / name))]
        found = Monitor(request.param, str(program), environment, firmware)
    yield found
    found.close()


def _objects(launch: Launch) -> list[tuple[str, list[str]]]:
    arguments = qemu_arguments(launch)
    found = []
    for index, argument in enumerate(arguments):
        if argument == "-object":
            kind, *given = arguments[index + 1].replace(",,", "").split(",")
            found.append((kind, [entry.partition("=")[0] for entry in given]))
    return found


def test_qemu_has_every_property_that_is_set(launch: Launch, monitor: Any) -> None:
    old = monitor.name == "bookworm"
    assert monitor.properties("memory-backend-nonsense") is None
    for kind, given in _objects(launch):
        known = monitor.properties(kind)
        if kind == "igvm-cfg":
            assert known is None, "this QEMU has IGVM: ask it, and not the table"
            assert [(("object", kind, name) in IGVM_NAMES) for name in given if name != "id"] == [True]
        elif old and kind == "sev-snp-guest":
            assert known is None, "QEMU 7.2 has no SNP"
        else:
            assert known is not None, kind
            missing = {name for name in given if name != "id"} - known
            # legacy-vm-type is of QEMU 9.1.
            assert missing == ({"legacy-vm-type"} & set(given) if old else set()), kind


def test_qemu_has_every_property_of_the_machine(launch: Launch, monitor: Any) -> None:
    arguments = qemu_arguments(launch)
    machine, *given = arguments[arguments.index("-machine") + 1].split(",")
    assert machine == "q35"
    known = monitor.properties("pc-q35-7.2-machine")
    names = {entry.partition("=")[0] for entry in given}
    assert known is not None
    assert names - known == {name for name in names if ("machine", name, "") in IGVM_NAMES}


def test_vcpus_are_a_count_alone(launch: Launch) -> None:
    arguments = qemu_arguments(launch)
    assert arguments.count("-smp") == 1
    assert arguments[arguments.index("-smp") + 1] == str(launch.vcpus)

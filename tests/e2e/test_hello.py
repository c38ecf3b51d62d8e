"""guests/hello runs with the launch that its manifest declares, less what only SEV hardware has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.machines import Qemu, boot, qemu_before_10, qemu_from_10
from tests.support.cli import run
from tests.support.shared import ROOT

pytestmark = pytest.mark.e2e

LINE = b"hello from sevbuild\r\n"


def launch_arguments(bundle: Path) -> tuple[Path, list[str]]:
    """Return the folder that QEMU runs in and its arguments, as the bundle of one target has them."""
    (target,) = json.loads((bundle / "bundle.json").read_text())["targets"]
    path = bundle / str(target["files"]["qemu_arguments"])
    arguments: list[str] = json.loads(path.read_text())
    return path.parent, arguments


def without_sev(arguments: Sequence[str]) -> list[str]:
    """Return a launch that needs neither SEV nor KVM: no confidential object, no accelerator, not stopped."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument in ("-S", "-no-reboot", "-nographic"):
            continue
        if argument in ("-accel", "-serial", "-display", "-monitor"):
            next(given)
            continue
        value = next(given) if argument in ("-object", "-machine") else None
        if argument == "-object" and value is not None and value.startswith(("sev-guest", "sev-snp-guest")):
            continue
        kept.append(argument)
        if value is not None:
            parts = value.split(",")
            kept.append(
                ",".join(p for p in parts if not p.startswith(("confidential-guest-support=", "accel=")))
            )
    return kept


def test_only_what_needs_hardware_is_left_out() -> None:
    given = ["-machine", "q35,confidential-guest-support=sev0,memory-backend=ram0", "-accel", "kvm", "-S"]
    given += [
        "-object",
        "memory-backend-memfd,id=ram0,size=2G",
        "-object",
        "sev-snp-guest,id=sev0,policy=0x30000",
    ]
    kept = ["-machine", "q35,memory-backend=ram0", "-object", "memory-backend-memfd,id=ram0,size=2G"]
    assert without_sev([*given, "-smp", "1"]) == [*kept, "-smp", "1"]


@pytest.mark.parametrize("qemu", [qemu_before_10, qemu_from_10])
def test_it_prints_its_line(tmp_path: Path, qemu: object) -> None:
    assert callable(qemu)
    chosen: Qemu = qemu()
    manifest = ROOT / "guests" / "hello" / "guest.toml"
    result = run("build", "--quiet", manifest, "-o", tmp_path / "bundle")
    assert result.status == 0, result.err
    folder, arguments = launch_arguments(tmp_path / "bundle")
    with boot(chosen, tmp_path, without_sev(arguments), cwd=folder) as started:
        started.wait_for(LINE)
        assert started.serial == LINE
        assert started.process.poll() is None

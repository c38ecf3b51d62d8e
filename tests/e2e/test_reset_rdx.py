"""OVMF ignores RDX at reset, so a described vCPU may start with 0 there whatever its model.

QEMU and KVM start a vCPU with its CPUID signature in RDX, which makes a launch digest depend on the CPU
model. An IGVM file of ours has 0. Here the real firmware is stepped from its reset vector with several
values.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.vcpu.models import CPU_MODELS
from tests.e2e.gdb import held
from tests.e2e.guests import as_launched, firmware_path, original, page_of, place
from tests.e2e.machines import KERNEL_LINE, some_qemu

pytestmark = pytest.mark.e2e

STEPS = 2000
Trace = list[dict[str, int]]


def _trace(folder: Path, register: str, value: int | None, *, after: int = 0) -> Trace:
    """Return the registers before the first instruction and after each of STEPS.

    A register is given a value after that many steps.
    """
    arguments = ["-machine", "q35", "-cpu", "max", "-m", "256", "-bios", str(firmware_path())]
    with held(some_qemu(), folder, arguments) as (vcpu, _):
        trace = []
        for step in range(STEPS):
            if value is not None and step == after:
                vcpu.set(register, value)
            trace.append(vcpu.registers())
            vcpu.step()
    return trace


def _without(register: str, trace: Trace) -> Trace:
    return [{name: value for name, value in step.items() if name != register} for step in trace]


def test_the_reset_code_overwrites_rdx_before_it_reads_it(tmp_path: Path) -> None:
    own = _trace(tmp_path / "own", "rdx", None)
    assert own[0]["rdx"] != 0, "QEMU starts a vCPU with its signature"
    for value in (0, 0xFFFFFFFF, CPU_MODELS["EPYC-Milan"].signature):
        other = _trace(tmp_path / f"{value:x}", "rdx", value)
        assert other[0]["rdx"] == value
        # Nothing but RDX itself ever differs: no branch, no other register.
        assert _without("rdx", other) == _without("rdx", own)
        equal = next(step for step in range(STEPS) if own[step] == other[step])
        assert own[equal:] == other[equal:]
        # What ends the difference is the first CPUID, which writes EAX, EBX, ECX and EDX at once, from
        # 32-bit code at the end of the image.
        before, after = own[equal - 1], own[equal]
        image = firmware_path().read_bytes()
        offset = before["rip"] - (1 << 32)
        assert image[offset:][:2] == b"\x0f\xa2"
        assert after["rip"] == before["rip"] + 2


def test_the_method_sees_a_register_that_is_read(tmp_path: Path) -> None:
    """After its first instruction the reset code has CR0 in EAX, and goes on with it."""
    own = _trace(tmp_path / "own", "rax", None)
    other = _trace(tmp_path / "other", "rax", 0x1234, after=1)
    assert _without("rax", own) != _without("rax", other)


@pytest.mark.parametrize("value", [0, CPU_MODELS["EPYC-Milan"].signature, 0xFFFFFFFF], ids=hex)
def test_a_measured_kernel_starts_with_any_rdx(tmp_path: Path, value: int) -> None:
    qemu, parts = some_qemu(), original(initrd=True)
    page = page_of(as_launched(parts, qemu), tmp_path / "measured")
    with held(qemu, tmp_path / "run", place(parts, page, qemu, tmp_path / "guest")) as (vcpu, started):
        vcpu.set("rdx", value)
        assert vcpu.registers()["rdx"] == value
        vcpu.let_run()
        started.wait_for(KERNEL_LINE)

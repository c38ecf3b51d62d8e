"""The registers a vCPU starts with, read from a running QEMU, against profile `qemu` and our CPU table."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sevbuild.manifest.profiles import load_profile
from sevbuild.vcpu.models import CPU_MODELS, decode_signature
from sevbuild.vcpu.reset import initial_vmsa
from sevbuild.vcpu.save_area import parse_vmsa
from tests.support.real import QEMU, require

pytestmark = pytest.mark.emulator

KVM_DIFFERENCES = {
    "cr0": (0x60000010, 0x10, "KVM clears CD and NW (KVM_X86_QUIRK_CD_NW_CLEARED)"),
    "efer": (0x0, 0x1000, "KVM sets SVME for every guest"),
    "cr4": (0x0, 0x40, "KVM adds the host's MCE"),
}
"""Register: what QEMU resets it to, what KVM puts into the VMSA, and why."""


@contextmanager
def _stopped(model: str) -> Iterator[Any]:
    """Start a QEMU whose vCPU has not run, and yield a function that asks its monitor."""
    require(QEMU, "qemu-system-x86_64")
    command = [
        str(QEMU),
        "-machine",
        "q35",
        "-accel",
        "tcg",
        "-m",
        "64",
        "-S",
        "-display",
        "none",
        "-cpu",
        model,
        "-qmp",
        "stdio",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(request: dict[str, Any]) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                return answer["return"]
        pytest.fail("QEMU ended before it answered")

    try:
        process.stdout.readline()
        ask({"execute": "qmp_capabilities"})
        yield lambda line: ask({"execute": "human-monitor-command", "arguments": {"command-line": line}})
    finally:
        process.kill()
        process.communicate()


def _known_models() -> list[str]:
    require(QEMU, "qemu-system-x86_64")
    shown = subprocess.run([str(QEMU), "-cpu", "help"], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"^\s*(?:x86 )?((?:EPYC|Dhyana)[\w-]*)", shown, re.MULTILINE)))


def _number(text: str, name: str) -> int:
    match = re.search(rf"\b{name}\s*=\s*([0-9a-f]+)", text)
    assert match, f"{name} in {text}"
    return int(match.group(1), 16)


def _segment(text: str, name: str) -> tuple[int, int, int, int]:
    """Return selector, base, limit and flags of a segment as `info registers` prints them."""
    match = re.search(rf"^{name}\s*=([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", text, re.MULTILINE)
    assert match, f"{name} in {text}"
    selector, base, limit, flags = (int(group, 16) for group in match.groups())
    return selector, base, limit, flags


def test_every_model_that_qemu_knows_has_our_signature() -> None:
    models = _known_models()
    assert "EPYC-Milan" in models
    assert [model for model in models if model not in CPU_MODELS] == []
    compared = {}
    for model in models:
        with _stopped(model) as ask:
            registers = ask("info registers")
        # At reset EDX holds the signature (APM vol. 2 table 14-1), as it does in a VMSA's RDX.
        compared[model] = _number(registers, "[ER]DX")
        assert compared[model] == CPU_MODELS[model].signature, model
    print(f"compared {len(compared)} models: {compared}")  # noqa: T201 - shown by pytest -rP
    assert {decode_signature(signature)[0] for signature in compared.values()} >= {23, 25}


@pytest.mark.parametrize("model", ["EPYC", "EPYC-v3", "EPYC-Milan"])
def test_registers_at_reset_are_those_of_the_save_area(model: str) -> None:
    state = load_profile("qemu").rules.launch.vcpu_state("snp", "bsp")
    page: Any = parse_vmsa(
        initial_vmsa(state, entry=0xFFFFFFF0, signature=CPU_MODELS[model].signature, guest_features=1)
    )
    with _stopped(model) as ask:
        text = ask("info registers")
    names = {"rip": "[ER]IP", "rflags": "[ER]FL", "dr6": "DR6", "dr7": "DR7", "mxcsr": "MXCSR", "x87_fcw": "FCW", "rax": "[ER]AX", "rbx": "[ER]BX", "rcx": "[ER]CX", "rsi": "[ER]SI", "rdi": "[ER]DI", "rbp": "[ER]BP", "rsp": "[ER]SP", "cr2": "CR2", "cr3": "CR3"}  # fmt: skip
    for field, name in names.items():
        assert _number(text, name) == page[field], field
    for field, (reset, measured, why) in KVM_DIFFERENCES.items():
        assert _number(text, field.upper()) == reset, why
        assert page[field] == measured, why
    for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
        shown = _segment(text, {"ldtr": "LDT", "tr": "TR"}.get(name, name.upper()))
        segment = page[name]
        assert shown[:3] == (segment["selector"], segment["base"], segment["limit"]), name
        # QEMU keeps attributes where a descriptor has them: bits 15:8 are the VMSA's 7:0, 23:20 its 11:8.
        assert (shown[3] >> 8 & 0xFF) | (shown[3] >> 12 & 0xF00) == segment["attributes"], name
    for name in ("gdtr", "idtr"):
        match = re.search(rf"^{name[:3].upper()}=\s*([0-9a-f]+) ([0-9a-f]+)", text, re.MULTILINE)
        assert match
        assert (int(match.group(1), 16), int(match.group(2), 16)) == (page[name]["base"], page[name]["limit"])

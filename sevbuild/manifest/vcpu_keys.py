"""Decode the `[vcpu]` table: counts, and CPU models or signatures."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import U32, Document, Table, check_integer, check_type, suggest
from sevbuild.errors import SevbuildError
from sevbuild.manifest.model import Cpu
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature, signature_text

__all__ = ["MAX_VCPUS", "cpu_named", "decode_counts", "decode_cpus", "signature_cpu"]

MAX_VCPUS = 4096
"""More than any x86 hypervisor starts (KVM_MAX_VCPUS is 4096 with 4 KiB APIC maps)."""

_MOST_DIGITS = 10


def cpu_named(name: str) -> Cpu:
    """Return the CPU of a model's name, or of a signature (u32) as a number; raises SevbuildError."""
    digits, base = (name[2:].lower(), 16) if name[:2].lower() == "0x" else (name, 10)
    if 0 < len(digits) <= _MOST_DIGITS and set(digits) <= set("0123456789abcdef"[:base]):
        signature = int(digits, base)
        if signature <= U32:
            return signature_cpu(signature)
    return _model_cpu(name)


def signature_cpu(signature: int) -> Cpu:
    """Return the CPU that is given by its signature (u32) alone."""
    return Cpu(signature_text(signature), signature)


def decode_counts(vcpu: Table) -> tuple[int, ...]:
    """Return the vCPU counts, ascending."""
    document = vcpu.document
    value = vcpu.any("count")
    path = vcpu.at("count")
    if value is None:
        vcpu.fault("count", 'missing: a number, a list, or a range like "1-64"')
        return ()
    entries = value if isinstance(value, list) else [value]
    if not entries:
        vcpu.fault("count", "must not be empty")
    counts: set[int] = set()
    for index, entry in enumerate(entries):
        at = f"{path}[{index}]" if isinstance(value, list) else path
        found = _range(document, at, entry) if isinstance(entry, str) else _one(document, at, entry)
        again = counts.intersection(found)
        if again:
            document.fault(at, f"{min(again)} is listed twice")
        counts.update(found)
    return tuple(sorted(counts))


def decode_cpus(vcpu: Table) -> tuple[Cpu, ...]:
    """Return the CPU models, in the order given."""
    document = vcpu.document
    by_number = [key for key in ("family", "model-number", "stepping") if vcpu.has(key)]
    given = [key for key in ("model", "signature") if vcpu.has(key)] + by_number[:1]
    if not given:
        vcpu.fault("model", "missing: a CPU model, a signature, or family, model-number and stepping")
    elif len(given) > 1:
        vcpu.fault(given[1], f"cannot be combined with {given[0]}: give the CPU in one way")
    models = vcpu.items("model", lambda path, value: _model(document, path, value)) or []
    signatures = (
        vcpu.items("signature", lambda path, value: check_integer(document, path, value, 0, U32)) or []
    )
    cpus = [*models, *map(signature_cpu, signatures)]
    if by_number:
        numbers = [
            vcpu.integer(key, 0, high, required=True)
            for key, high in (("family", 0x10E), ("model-number", 0xFF), ("stepping", 0xF))
        ]
        if None not in numbers:
            at = vcpu.at("family")
            signature = document.attempt(at, cpu_signature, *[number or 0 for number in numbers])
            cpus += [] if signature is None else [signature_cpu(signature)]
    else:
        for key in ("family", "model-number", "stepping"):
            vcpu.any(key)
    if len({cpu.label for cpu in cpus}) != len(cpus):
        vcpu.fault(given[0], "lists the same CPU twice")
    return tuple(cpus)


def _model(document: Document, path: str, value: Any) -> Cpu | None:
    return (
        None if check_type(document, path, value, str) is None else document.attempt(path, _model_cpu, value)
    )


def _model_cpu(name: str) -> Cpu:
    """Return the CPU of a model's name; raises SevbuildError with what may have been meant."""
    if name in CPU_MODELS:
        return Cpu(name, CPU_MODELS[name].signature)
    hint = suggest(name, CPU_MODELS) or (
        "`sevbuild cpus` lists them; any other CPU can be given by its signature, such as 0x00a00f11"
    )
    if name in ("host", "max"):
        hint = f"what `-cpu {name}` is depends on the host: give its signature (CPUID Fn0000_0001_EAX)"
    raise SevbuildError(f"unknown CPU model {name[:80]!r}", hint=hint)


def _one(document: Document, path: str, value: Any) -> list[int]:
    count = check_integer(document, path, value, 1, MAX_VCPUS)
    return [] if count is None else [count]


def _range(document: Document, path: str, value: str) -> list[int]:
    low, dash, high = value.partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) < 6 for part in (low, high))):
        from sevbuild.documents.hints import type_hint

        message = f'must be a number or a range like "1-64", got {value!r}'
        document.fault(path, message, type_hint(value, int))
        return []
    first, last = int(low), int(high)
    if not 1 <= first <= last <= MAX_VCPUS:
        document.fault(path, f"must be within 1..{MAX_VCPUS} and ascending, got {value!r}")
        return []
    return list(range(first, last + 1))

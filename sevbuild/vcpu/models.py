"""The SEV-capable CPU models of QEMU, and the signature each puts into a VMSA."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["CPU_MODELS", "CpuModel", "cpu_signature", "decode_signature", "models_of", "signature_text"]

_MAX_FAMILY = 0x0F + 0xFF
_MAX_MODEL = 0xFF
_MAX_STEPPING = 0x0F


class CpuModel(NamedTuple):
    """One CPU model of a guest, with its family, model and stepping as CPUID means them."""

    name: str
    family: int
    model: int
    stepping: int

    @property
    def signature(self) -> int:
        """Return CPUID Fn0000_0001_EAX of this model (u32), the initial RDX of its vCPUs."""
        return cpu_signature(self.family, self.model, self.stepping)


# QEMU 10.2 target/i386/cpu.c, builtin_x86_defs: every version of a model has the same signature.
# EPYC-IBPB is QEMU's alias of EPYC-v2. EPYC-Turin-v2 is in virtee/sev 8.0 and was proposed to QEMU in
# November 2025; 10.2 has v1 alone.
_VERSIONS = (
    ("EPYC", 23, 1, 2, ("v1", "v2", "IBPB", "v3", "v4", "v5")),
    ("EPYC-Rome", 23, 49, 0, ("v1", "v2", "v3", "v4", "v5")),
    ("EPYC-Milan", 25, 1, 1, ("v1", "v2", "v3")),
    ("EPYC-Genoa", 25, 17, 0, ("v1", "v2")),
    ("EPYC-Turin", 26, 0, 0, ("v1", "v2")),
    ("Dhyana", 24, 0, 1, ("v1", "v2")),
)

CPU_MODELS: dict[str, CpuModel] = {
    name: CpuModel(name, family, model, stepping)
    for base, family, model, stepping, versions in _VERSIONS
    for name in (base, *(f"{base}-{version}" for version in versions))
}
"""Every model by its QEMU name, oldest silicon first, each base name before its versions."""


def cpu_signature(family: int, model: int, stepping: int) -> int:
    """Return CPUID Fn0000_0001_EAX (u32) of a family, model and stepping.

    A family above 15 goes into the extended family field (APM vol. 3 appendix E.3.2). Raises
    SevbuildError for what the fields cannot hold: family 0..270, model 0..255, stepping 0..15.
    """
    for name, value, high in (
        ("family", family, _MAX_FAMILY),
        ("model", model, _MAX_MODEL),
        ("stepping", stepping, _MAX_STEPPING),
    ):
        if not 0 <= value <= high:
            raise SevbuildError(f"a CPU's {name} must be within 0..{high}, got {value}")
    high_bits = (family - 0xF) << 20 | 0xF00 if family > 0xF else family << 8
    return high_bits | (model >> 4) << 16 | (model & 0xF) << 4 | stepping


def decode_signature(signature: int) -> tuple[int, int, int]:
    """Return family, model and stepping of CPUID Fn0000_0001_EAX (APM vol. 3 appendix E.3.2).

    Bits 12..15 and 28..31 are reserved and take no part. Raises SevbuildError if it is not a u32.
    """
    if not 0 <= signature <= 0xFFFFFFFF:
        raise SevbuildError(f"a CPU signature is a 32-bit number, got {signature:#x}")
    family = signature >> 8 & 0xF
    if family == 0xF:
        family += signature >> 20 & 0xFF
    return family, signature >> 12 & 0xF0 | signature >> 4 & 0xF, signature & 0xF


def signature_text(signature: int) -> str:
    """Return a signature (u32) as labels and documents write it, such as `0x00a00f11`."""
    return f"0x{signature:08x}"


def models_of(signature: int) -> list[str]:
    """Return the names of the models with this signature, in the order of CPU_MODELS."""
    return [cpu.name for cpu in CPU_MODELS.values() if cpu.signature == signature]

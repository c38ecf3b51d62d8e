"""What hosts launch otherwise than QEMU of today, as the independent chain takes it (docs/profiles.md)."""

from __future__ import annotations

from typing import Any

from tests.support.chain import segment

__all__ = [
    "DEBUGSWAP",
    "EC2",
    "EC2_RDX0",
    "GCE",
    "GCE_GENOA",
    "IGVM",
    "INIT2",
    "LEGACY_FPU",
    "SVSM",
    "number",
]


def number(value: int, size: int = 8) -> bytes:
    """Return a register as a VMSA holds it."""
    return value.to_bytes(size, "little")


LEGACY_FPU: dict[str, Any] = {"fpu": False}
"""SNP host kernels before 6.9."""

INIT2: dict[str, Any] = {"fpu": True}
"""SEV-ES by KVM_SEV_INIT2."""

DEBUGSWAP: dict[str, Any] = {"features": 0x21}

_EC2_VMSA = {0x020: segment(0x92), 0x090: segment(0x83)}
EC2: dict[str, Any] = {
    "fpu": False,
    "last": (3,),
    "vmsa": {**_EC2_VMSA, 0x310: number(0x600)},
    "bsp": {0x012: number(0x9A, 2)},
}
EC2_RDX0: dict[str, Any] = {**EC2, "vmsa": {**_EC2_VMSA, 0x310: number(0)}}

GCE: dict[str, Any] = {
    "fpu": False,
    "types": {1: 4},
    "vmsa": {0x268: number(0x00070106), 0x310: number(0x600)},
}
GCE_GENOA: dict[str, Any] = {**GCE, "gpa": 0xFFFFFFFFFF000}

IGVM: dict[str, Any] = {
    "ascending": True,
    "types": {1: 1, 4: 1, 0x10: 1},
    "vmsa": {0x310: number(0)},
}
"""QEMU with the IGVM file that `sevbuild build` writes: by address, zeros written, RDX of the file."""

SVSM: dict[str, Any] = {
    "fpu": False,
    "vmsa": {
        **{at: segment(0xC93, 0x10, 0xFFFFFFFF) for at in (0x000, 0x020, 0x030, 0x040)},
        0x010: segment(0xC9B, 8, 0xFFFFFFFF),
        0x158: number(0x11),
    },
}
"""COCONUT-SVSM on its QEMU fork; its entry point is in `vmsa`, too."""

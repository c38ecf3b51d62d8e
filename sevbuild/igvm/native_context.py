"""The registers of a VP context that is no VMSA: IgvmNativeVpContextX64, of NATIVE and SEV platforms.

Source: microsoft/igvm e6c3ff1c (2026-06-09) igvm_defs/src/lib.rs. The rest of its page is zero.
"""

from __future__ import annotations

__all__ = ["NATIVE_CONTEXT_SIZE", "native_registers"]

NATIVE_CONTEXT_SIZE = 0xE8
"""The bytes of the structure."""

# Offset and bytes of the fields that a VMSA has as well, under the names that it has them by.
_FIELDS = {
    "cs.base": (0xAC, 4),
    "ss.base": (0xB8, 4),
    "rip": (0x80, 8),
    "cr0": (0xC8, 8),
    "cr3": (0xD0, 8),
    "cr4": (0xD8, 8),
    "efer": (0xE0, 8),
    "rdx": (0x10, 8),
}


def native_registers(page: bytes) -> dict[str, int]:
    """Return the registers that `inspect` shows of a context; SS is the one data segment there is."""
    return {name: int.from_bytes(page[at : at + size], "little") for name, (at, size) in _FIELDS.items()}

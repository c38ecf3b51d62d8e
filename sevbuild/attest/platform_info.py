"""PLATFORM_INFO: what a report says of the machine."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PLATFORM_INFO_BITS", "bit_names", "platform_info_names"]

PLATFORM_INFO_BITS = {
    "smt": 0,
    "tsme": 1,
    "ecc": 2,
    "rapl-dis": 3,
    "ciphertext-hiding-dram": 4,
    "alias-check-complete": 5,
    "iommu-write-safe": 6,
    "tio": 7,
}
"""Bits of PLATFORM_INFO, u64 (SNP ABI 56860, table 24; 6 as verifiers of Turin's reports found it)."""


def platform_info_names(value: int) -> list[str]:
    """Return the names of the bits that are set in a PLATFORM_INFO, lowest first."""
    return bit_names(value, PLATFORM_INFO_BITS)


def bit_names(value: int, names: Mapping[str, int]) -> list[str]:
    """Return the names of the bits that are set in a number, lowest first; one without a name is `bit N`."""
    by_bit = {bit: name for name, bit in names.items()}
    return [by_bit.get(bit, f"bit {bit}") for bit in range(value.bit_length()) if value >> bit & 1]

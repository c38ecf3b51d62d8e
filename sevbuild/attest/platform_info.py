"""PLATFORM_INFO: what a report says of the machine."""

from __future__ import annotations

__all__ = ["PLATFORM_INFO_BITS"]

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

"""The products that sign reports, how each numbers its parts, and which TCB layout each has."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError

__all__ = ["PRODUCTS", "Product", "Tcb", "product_named", "product_of"]


class Tcb(NamedTuple):
    """The security version numbers of one TCB, each u8; `fmc` is None on products without that part."""

    boot_loader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None

    @property
    def parts(self) -> dict[str, int]:
        """The parts that the product has by the keys of an appraisal policy, in the order they start in."""
        order = {"fmc": self.fmc, "boot-loader": self.boot_loader, "tee": self.tee, "snp": self.snp}
        found = {**order, "microcode": self.microcode}
        return {key: number for key, number in found.items() if number is not None}

    def __str__(self) -> str:
        return ", ".join(f"{key} {number}" for key, number in self.parts.items())

    def covers(self, least: Tcb) -> bool:
        """Tell whether no part is below that of `least`; parts that either has not are not compared."""
        return all(
            mine >= other
            for mine, other in zip(self, least, strict=True)
            if mine is not None and other is not None
        )


class Product(NamedTuple):
    """One line of processors, as AMD's key service names it.

    `parts` says which byte of a TCB_VERSION (u64, little-endian) is which part; the others are reserved.
    `hwid_size` is how many bytes of CHIP_ID identify a chip. `models` are the (family, first, last) models
    as CPUID means them.
    """

    name: str
    parts: tuple[tuple[str, int], ...]
    hwid_size: int
    models: tuple[tuple[int, int, int], ...]

    def tcb(self, version: int) -> Tcb:
        """Return what a TCB_VERSION (u64) says on this product."""
        return Tcb(**{part: version >> 8 * at & 0xFF for part, at in self.parts})

    def reserved(self, version: int) -> int:
        """Return the bits of a TCB_VERSION that no part of this product uses."""
        return version & ~sum(0xFF << 8 * at for _part, at in self.parts)


# SNP ABI 2.2, table 3 (TCB_VERSION) for families 19h and 1Ah; models as in Linux arch/x86/kernel/cpu/amd.c
# and AMD's key service (VCEK specification 57230, 3.1): Siena and Bergamo are Genoa there.
_FAMILY_19 = (("boot_loader", 0), ("tee", 1), ("snp", 6), ("microcode", 7))
_FAMILY_1A = (("fmc", 0), ("boot_loader", 1), ("tee", 2), ("snp", 3), ("microcode", 7))

PRODUCTS = (
    Product("Milan", _FAMILY_19, 64, ((0x19, 0x00, 0x0F),)),
    Product("Genoa", _FAMILY_19, 64, ((0x19, 0x10, 0x1F), (0x19, 0xA0, 0xAF))),
    Product("Turin", _FAMILY_1A, 8, ((0x1A, 0x00, 0x11),)),
    Product("Venice", _FAMILY_1A, 8, ((0x1A, 0x50, 0x57), (0x1A, 0x90, 0xAF), (0x1A, 0xC0, 0xC7))),
)
"""Every product that is known, oldest first; no certificate of Venice has been seen."""


def product_of(family: int, model: int) -> Product | None:
    """Return the product of a CPU's family and model, None for one that is not known."""
    for product in PRODUCTS:
        if any(family == of and first <= model <= last for of, first, last in product.models):
            return product
    return None


def product_named(name: str) -> Product:
    """Return the product of this name, in any case; raises SevbuildError for a name there is not."""
    for product in PRODUCTS:
        if product.name.lower() == name.lower():
            return product
    known = ", ".join(product.name for product in PRODUCTS)
    raise SevbuildError("unknown product", hint=f"one of {known}; Siena and Bergamo are Genoa")

"""Products by CPU, and the two layouts of a TCB."""

from __future__ import annotations

import pytest

from sevbuild.attest.product import PRODUCTS, Tcb, product_named, product_of
from sevbuild.errors import SevbuildError


@pytest.mark.parametrize(
    ("family", "model", "name"),
    [
        (0x19, 0x01, "Milan"),
        (0x19, 0x0F, "Milan"),
        (0x19, 0x10, "Genoa"),
        (0x19, 0x11, "Genoa"),
        (0x19, 0xA0, "Genoa"),
        (0x1A, 0x02, "Turin"),
        (0x1A, 0x11, "Turin"),
        (0x1A, 0x50, "Venice"),
        (0x1A, 0xC7, "Venice"),
        (0x19, 0x20, None),
        (0x1A, 0x12, None),
        (0x17, 0x31, None),
    ],
)
def test_a_cpu_tells_its_product(family: int, model: int, name: str | None) -> None:
    product = product_of(family, model)
    assert (None if product is None else product.name) == name


def test_a_turin_tcb_is_not_read_as_milans() -> None:
    # Turin's reports of ../shared/vectors/reports have these numbers in their certificates.
    value = 0x5000000004000101
    assert product_named("turin").tcb(value) == Tcb(1, 0, 4, 0x50, 1)
    assert product_named("Milan").tcb(0xD918000000000004) == Tcb(4, 0, 0x18, 0xD9)


def test_reserved_bytes_of_a_tcb_are_told() -> None:
    assert product_named("Milan").reserved(0xFF_FF_01_00_00_00_FF_FF) == 0x01_00_00_00_00_00
    assert product_named("Turin").reserved(0xFF_00_00_02_FF_FF_FF_FF) == 0x02_00_00_00_00


def test_a_minimum_is_compared_part_by_part() -> None:
    least = Tcb(3, 0, 8, 115)
    assert least.covers(least)
    assert Tcb(4, 1, 9, 116).covers(least)
    assert not Tcb(9, 9, 7, 255).covers(least)
    assert not Tcb(1, 1, 1, 1, 0).covers(Tcb(1, 1, 1, 1, 1))


def test_products_have_names_of_their_own() -> None:
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS)
    with pytest.raises(SevbuildError, match="unknown product") as raised:
        product_named("Naples")
    assert raised.value.hint == "one of Milan, Genoa, Turin, Venice; Siena and Bergamo are Genoa"


def test_a_tcb_is_written_by_the_keys_of_an_appraisal_policy() -> None:
    assert str(Tcb(4, 0, 24, 219)) == "boot-loader 4, tee 0, snp 24, microcode 219"
    assert str(Tcb(1, 2, 3, 80, 5)) == "fmc 5, boot-loader 1, tee 2, snp 3, microcode 80"
    assert Tcb(4, 0, 24, 219).parts == {"boot-loader": 4, "tee": 0, "snp": 24, "microcode": 219}

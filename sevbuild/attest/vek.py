"""What AMD says of a signing key in the extensions of its certificate: product, TCB, chip or provider."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sevbuild.attest.certificate import Certificate, common_name
from sevbuild.attest.der import Reader
from sevbuild.attest.product import Product, Tcb, product_named
from sevbuild.errors import SevbuildError, within

__all__ = ["KINDS", "VEK_EXTENSIONS", "VekFacts", "VekKind", "decode_vek", "kind_of_vek"]

VekKind = Literal["VCEK", "VLEK"]
"""Whose key it is: one chip's, or one provider's for its whole fleet."""
KINDS: dict[str, VekKind] = {"SEV-VCEK": "VCEK", "SEV-VLEK": "VLEK"}
"""The kind of a key by the common name of its certificate's subject."""

# VCEK specification 57230, table 9 and VLEK specification 58369, table 6, with their own names. Turin has
# structVersion 1: its fmcSPL is 3.9, and spl4 (3.4) is no more.
_ARC = "1.3.6.1.4.1.3704.1"
_STRUCT_VERSION = f"{_ARC}.1"
_PRODUCT_NAME = f"{_ARC}.2"
_HWID = f"{_ARC}.4"
_CSP_ID = f"{_ARC}.5"
_PARTS = {
    "boot_loader": f"{_ARC}.3.1",
    "tee": f"{_ARC}.3.2",
    "snp": f"{_ARC}.3.3",
    "microcode": f"{_ARC}.3.8",
    "fmc": f"{_ARC}.3.9",
}
_RESERVED = tuple(f"{_ARC}.3.{number}" for number in (4, 5, 6, 7))
_NAMES = {
    _STRUCT_VERSION: "structVersion",
    _PRODUCT_NAME: "productName",
    _HWID: "hwID",
    _CSP_ID: "cspID",
    _PARTS["boot_loader"]: "blSPL",
    _PARTS["tee"]: "teeSPL",
    _PARTS["snp"]: "snpSPL",
    _PARTS["microcode"]: "ucodeSPL",
    _PARTS["fmc"]: "fmcSPL",
    **{number: f"spl{number[-1]}" for number in _RESERVED},
}
VEK_EXTENSIONS = tuple(_NAMES)
"""Every extension of a VEK's certificate that is understood."""


class VekFacts(NamedTuple):
    """What the extensions of one certificate say.

    `product_name` is as it stands there ("Milan-B0" has a stepping), `product` the line it is of. `version`
    is the TCB as a u64, as reports have it, `tcb` its parts. `hwid` is of a VCEK, `csp_id` of a VLEK.
    """

    kind: VekKind
    product_name: str
    product: Product
    version: int
    tcb: Tcb
    hwid: bytes | None
    csp_id: str | None
    struct_version: int


def kind_of_vek(certificate: Certificate) -> VekKind | None:
    """Return the kind that a certificate's subject says it has, None for a name that is of neither."""
    return KINDS.get(common_name(certificate.subject))


def decode_vek(certificate: Certificate) -> VekFacts:
    """Return what a VEK's certificate says.

    Raises SevbuildError for an extension that is missing or that has no value of its type, and for what
    belongs to the other kind of key or to another product.
    """
    kind = kind_of_vek(certificate)
    if kind is None:
        name = common_name(certificate.subject)
        raise SevbuildError(f"its subject {name or 'without a name'} is neither SEV-VCEK nor SEV-VLEK")
    name = _text(certificate, _PRODUCT_NAME)
    with within(_said(_PRODUCT_NAME)):
        product = product_named(name.partition("-")[0])
    struct_version = _byte(certificate, _STRUCT_VERSION)
    if struct_version != int(_has_fmc(product)):
        raise SevbuildError(f"{_said(_STRUCT_VERSION)}: {struct_version} is not that of {product.name}")
    foreign = {"VCEK": [_CSP_ID], "VLEK": [_HWID]}[kind]
    foreign += [] if _has_fmc(product) else [_PARTS["fmc"]]
    for number in foreign:
        if number in certificate.extensions:
            raise SevbuildError(f"{_said(number)}: a {kind} of {product.name} has none")
    version = _tcb_version(certificate, product)
    return VekFacts(
        kind,
        name,
        product,
        version,
        product.tcb(version),
        _hwid(certificate, product) if kind == "VCEK" else None,
        _text(certificate, _CSP_ID) if kind == "VLEK" else None,
        struct_version,
    )


def _has_fmc(product: Product) -> bool:
    return any(part == "fmc" for part, _at in product.parts)


def _tcb_version(certificate: Certificate, product: Product) -> int:
    """Return the TCB_VERSION (u64) that a certificate's numbers make up on a product."""
    found = sum(_byte(certificate, _PARTS[part]) << 8 * at for part, at in product.parts)
    free = [at for at in range(8) if at not in {at for _part, at in product.parts}]
    # What is reserved ends with spl7 on every product; it may be left out, for it says nothing.
    for number, at in zip(_RESERVED[-len(free) :], free, strict=True):
        if number in certificate.extensions:
            found |= _byte(certificate, number) << 8 * at
    return found


def _said(number: str) -> str:
    return f"extension {number} ({_NAMES[number]})"


def _value(certificate: Certificate, number: str) -> bytes:
    if number not in certificate.extensions:
        raise SevbuildError(f"{_said(number)}: it is missing")
    return certificate.extensions[number][1]


def _byte(certificate: Certificate, number: str) -> int:
    reader = Reader(_value(certificate, number), _said(number))
    found = reader.integer()
    reader.finish()
    if found not in range(0x100):
        raise SevbuildError(f"{_said(number)}: {found} is no byte")
    return found


def _text(certificate: Certificate, number: str) -> str:
    reader = Reader(_value(certificate, number), _said(number))
    found = reader.text()
    reader.finish()
    return found


def _hwid(certificate: Certificate, product: Product) -> bytes:
    """Return the bytes of a chip's identifier, which are in no element of their own."""
    found = _value(certificate, _HWID)
    if len(found) != product.hwid_size:
        raise SevbuildError(
            f"{_said(_HWID)}: {len(found)} bytes, where {product.name} has {product.hwid_size}"
        )
    return found

"""Where AMD's key service has the certificates that a report needs: URLs alone, nothing is asked here."""

from __future__ import annotations

from sevbuild.attest.product import PRODUCTS, Product, Tcb
from sevbuild.attest.report import Report

__all__ = ["KEY_SERVICE", "chain_url", "crl_url", "store_names", "vcek_url"]

KEY_SERVICE = "https://kdsintf.amd.com"
"""AMD's key distribution service (VCEK specification 57230, 4)."""

# 57230, 4.1: the query's names, in the order in which AMD's own tools write them.
_QUERY = (
    ("fmcSPL", "fmc"),
    ("blSPL", "boot_loader"),
    ("teeSPL", "tee"),
    ("snpSPL", "snp"),
    ("ucodeSPL", "microcode"),
)


def vcek_url(report: Report, product: Product) -> str | None:
    """Return where the VCEK is that signed a report, None where its CHIP_ID is masked.

    A VLEK is nowhere that a relying party could ask: its provider hands it out with the report.
    """
    hwid = report.chip_id[: product.hwid_size]
    if not any(hwid):
        return None
    tcb = product.tcb(report.reported_tcb)
    parts = [(name, getattr(tcb, part)) for name, part in _QUERY]
    query = "&".join(f"{name}={number:02d}" for name, number in parts if number is not None)
    return f"{KEY_SERVICE}/vcek/v1/{product.name}/{hwid.hex()}?{query}"


def chain_url(product: Product, kind: str) -> str:
    """Return where the two certificates above a product's keys of a kind (`VCEK`, `VLEK`) are, as PEM."""
    return f"{KEY_SERVICE}/{kind.lower()}/v1/{product.name}/cert_chain"


def crl_url(product: Product, kind: str) -> str:
    """Return where the list of a product's revoked certificates is."""
    return f"{KEY_SERVICE}/{kind.lower()}/v1/{product.name}/crl"


def store_names(report: Report, product: Product | None) -> tuple[str, ...]:
    """Return the paths below a store, Trustee's or our own, at which a report's VCEK may be, best first.

    Where the product is not known, those of every layout are tried. None are there for a masked CHIP_ID.
    """
    names = dict[str, None]()
    for each in PRODUCTS if product is None else (product,):
        hwid = report.chip_id[: each.hwid_size]
        if any(hwid):
            names[f"vcek/{hwid.hex()}/{_tcb_name(each.tcb(report.reported_tcb))}_vcek.der"] = None
            names[f"vcek/{hwid.hex()}/vcek.der"] = None
    return tuple(names)


def _tcb_name(tcb: Tcb) -> str:
    # confidential-containers/trustee at 78962cd4, deps/verifier/src/snp/mod.rs: its offline store.
    name = f"bl{tcb.boot_loader:02d}_tee{tcb.tee:02d}_snp{tcb.snp:02d}_ucode{tcb.microcode:02d}"
    return name if tcb.fmc is None else f"{name}_fmc{tcb.fmc:02d}"

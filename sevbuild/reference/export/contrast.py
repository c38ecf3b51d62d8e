"""`contrast`: an entry of `ReferenceValues.snp` in a Contrast manifest (edgelesssys/contrast, PR 2344)."""

from __future__ import annotations

from typing import Any

from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS
from sevbuild.reference.export.ingredients import ingredients_of
from sevbuild.reference.export.interface import Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import json_bytes, number
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["EXPORTER"]

_PRODUCTS = {"Milan": "EPYC-Milan", "Genoa": "EPYC-Genoa"}
"""The CPU Contrast gives each product's guests and extends digests with (internal/snp/vcpu_types.go)."""

_POLICY_NAMES = {
    "SMT": "smt",
    "MigrateMA": "migrate-ma",
    "Debug": "debug",
    "SingleSocket": "single-socket",
    "CXLAllowed": "cxl-allow",
    "MemAES256XTS": "mem-aes-256-xts",
    "RAPLDis": "rapl-dis",
    "CipherTextHidingDRAM": "ciphertext-hiding-dram",
    "PageSwapDisable": "page-swap-disable",
}


class Contrast(Exporter):
    """The one-vCPU digests with the AP reset address: the verifier extends them by further vCPUs."""

    name = "contrast"
    summary = "Contrast's snp reference values: one vCPU and the AP reset address"
    files = ("contrast.json",)

    def refusal(self, document: Document) -> str | None:
        """Return why there is nothing a verifier could extend."""
        reason = super().refusal(document)
        if reason is not None:
            return reason
        single = _single(document)
        if not single:
            return "Contrast extends the digest of one vCPU under profile qemu, and no target has it"
        for value in single:
            entry = ingredients_of(document, value)
            if entry is None or entry["reset"] is None:
                return f"{value['label']}: the AP reset address is not among its ingredients"
        return None

    def notes(self, document: Document, options: ExportOptions) -> list[str]:
        """Return which targets the entries stand for."""
        del options
        taken, total = len(_single(document)), len(document["values"])
        if taken == total:
            return []
        return [f"holds {taken} of {total} targets, those of profile qemu and one vCPU, which it extends"]

    def warnings(self, document: Document, options: ExportOptions) -> list[str]:
        """Return which targets have another CPU than Contrast computes with."""
        product = str(options.extra.get("product-name"))
        if product not in _PRODUCTS:
            return []
        model = _PRODUCTS[product]
        signature = CPU_MODELS[model].signature
        return [
            f"Contrast computes with {model} ({signature:#010x}) on {product}, and {value['label']} has "
            f"{value['signature']}: no digest that it arrives at is this guest's"
            for value in _single(document)
            if number(value["signature"]) != signature
        ]

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `contrast.json`; platform, product and minimum TCB are the publisher's."""
        extra = options.extra
        if extra["product-name"] not in _PRODUCTS:
            raise SevbuildError(
                f"contrast: product-name {extra['product-name']!r} is not known", hint=" or ".join(_PRODUCTS)
            )
        entries = []
        for value in _single(document):
            entry = ingredients_of(document, value) or {}
            entries.append(
                {
                    "Platform": extra["platform"],
                    "ProductName": extra["product-name"],
                    "TrustedMeasurement": value["digest"],
                    "APEIP": f"{number(entry['reset']):08x}",
                    "CPUs": value["vcpus"],
                    "MinimumTCB": {
                        "BootloaderVersion": extra["tcb-bootloader"],
                        "TEEVersion": extra["tcb-tee"],
                        "SNPVersion": extra["tcb-snp"],
                        "MicrocodeVersion": extra["tcb-microcode"],
                    },
                    "GuestPolicy": _policy(number(value["policy"])),
                    "PlatformInfo": {
                        "SMTEnabled": extra["smt-enabled"],
                        "TSMEEnabled": extra["tsme-enabled"],
                    },
                    "MinimumMitigationVector": extra["minimum-mitigation-vector"],
                    "AllowedChipIDs": [chip.hex() for chip in extra.get("allowed-chip-ids", ())],
                }
            )
        return {"contrast.json": json_bytes({"snp": entries})}


def _single(document: Document) -> list[dict[str, Any]]:
    values = values_of(document, ("snp",))
    return [value for value in values if value["vcpus"] == 1 and value["profile"] == "qemu"]


def _policy(policy: int) -> dict[str, int | bool]:
    found: dict[str, int | bool] = {"ABIMinor": policy & 0xFF, "ABIMajor": policy >> 8 & 0xFF}
    found |= {name: bool(policy >> SNP_POLICY_BITS[bit] & 1) for name, bit in _POLICY_NAMES.items()}
    return found


EXPORTER = Contrast()

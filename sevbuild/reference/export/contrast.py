"""`contrast`: an entry of `ReferenceValues.snp` in a Contrast manifest (edgelesssys/contrast, PR 2344)."""

from __future__ import annotations

from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS, SnpPolicy
from sevbuild.reference.export.interface import RECOMPUTED_PROFILE, Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import ordered_json
from sevbuild.reference.model import ReferenceValues, Value
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

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why there is nothing a verifier could extend."""
        reason = super().refusal(values)
        if reason is not None:
            return reason
        single = _single(values)
        if not single:
            return "Contrast extends the digest of one vCPU under profile qemu, and no target has it"
        without = next((value for value, reset in single if reset is None), None)
        return (
            None if without is None else f"{without.label}: the AP reset address is not among its ingredients"
        )

    def notes(self, values: ReferenceValues, _options: ExportOptions) -> list[str]:
        """Return which targets the entries stand for."""
        taken, total = len(_single(values)), len(values.values)
        if taken == total:
            return []
        return [f"holds {taken} of {total} targets, those of profile qemu and one vCPU, which it extends"]

    def warnings(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return which targets have another CPU than Contrast computes with."""
        product = str(options.extra.get("product-name"))
        if product not in _PRODUCTS:
            return []
        model = _PRODUCTS[product]
        signature = CPU_MODELS[model].signature
        return [
            f"Contrast computes with {model} ({signature:#010x}) on {product}, and {value.label} has "
            f"{value.signature:#010x}: no digest that it arrives at is this guest's"
            for value, _ in _single(values)
            if value.signature not in (None, signature)
        ]

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `contrast.json`; platform, product and minimum TCB are the publisher's."""
        extra = options.extra
        if extra["product-name"] not in _PRODUCTS:
            raise SevbuildError(
                f"contrast: product-name {extra['product-name']!r} is not known", hint=" or ".join(_PRODUCTS)
            )
        entries = [
            {
                "Platform": extra["platform"],
                "ProductName": extra["product-name"],
                "TrustedMeasurement": value.digest.hex(),
                "APEIP": f"{reset:08x}",
                "CPUs": value.vcpus,
                "MinimumTCB": {
                    "BootloaderVersion": extra["tcb-bootloader"],
                    "TEEVersion": extra["tcb-tee"],
                    "SNPVersion": extra["tcb-snp"],
                    "MicrocodeVersion": extra["tcb-microcode"],
                },
                "GuestPolicy": _policy(value.policy),
                "PlatformInfo": {
                    "SMTEnabled": extra["smt-enabled"],
                    "TSMEEnabled": extra["tsme-enabled"],
                },
                "MinimumMitigationVector": extra["minimum-mitigation-vector"],
                "AllowedChipIDs": [chip.hex() for chip in extra.get("allowed-chip-ids", ())],
            }
            for value, reset in _single(values)
        ]
        return {"contrast.json": ordered_json({"snp": entries})}


def _single(values: ReferenceValues) -> list[tuple[Value, int | None]]:
    """Return the targets of one vCPU that Contrast could extend, each with its AP reset address."""
    single = [
        value
        for value in values_of(values, ("snp",))
        if (value.vcpus, value.profile) == (1, RECOMPUTED_PROFILE)
    ]
    entries = [(value, values.ingredients_of(value)) for value in single]
    return [(value, None if entry is None else entry.metadata.reset) for value, entry in entries]


def _policy(policy: int) -> dict[str, int | bool]:
    major, minor = SnpPolicy(policy).abi
    found: dict[str, int | bool] = {"ABIMinor": minor, "ABIMajor": major}
    found |= {name: bool(policy >> SNP_POLICY_BITS[bit] & 1) for name, bit in _POLICY_NAMES.items()}
    return found


EXPORTER = Contrast()

"""The formats that reference values are published in, and what each needs that no guest determines."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FORMATS", "FormatKey"]


class FormatKey(NamedTuple):
    """One value a publisher gives: a key of `[publish.FORMAT]`, or `--extra KEY=VALUE`.

    `kind` is text, integer, boolean, hex (of `size` bytes), or hex-list. A `required` value has no default:
    without it the format is not rendered. `high` bounds an integer, which starts at 0.
    """

    name: str
    kind: str
    meaning: str
    required: bool = False
    size: int = 0
    high: int = 0xFFFFFFFF


_TCB = "SVN of the lowest TCB to accept."
_ENABLED = "Whether the platform may have it enabled (PLATFORM_INFO)."

FORMATS: dict[str, tuple[FormatKey, ...]] = {
    "hex": (),
    "sha384sums": (),
    "rvps": (
        FormatKey("name", "text", "The reference value's name. Default `snp_launch_measurement`."),
        FormatKey(
            "expiration",
            "text",
            "When the values expire, as `2027-01-01T00:00:00Z`; the ConfigMap is written only with it.",
        ),
        FormatKey(
            "config-map", "text", "The name of the operator's ConfigMap. Default `rvps-reference-values`."
        ),
        FormatKey("namespace", "text", "The ConfigMap's namespace. Default `trustee-operator-system`."),
    ),
    "corim": (
        FormatKey("class-id", "text", "The class-id OID. Default 1.3.6.1.4.1.3704.3.1 (by chip)."),
        FormatKey("entity-name", "text", "Who made the tags."),
        FormatKey("entity-uri", "text", "The maker's URI."),
        FormatKey("signer-name", "text", "Who signs; required with --sign."),
        FormatKey("signer-uri", "text", "The signer's URI."),
    ),
    "in-toto": (),
    "contrast": (
        FormatKey("platform", "text", "Contrast's name of the platform.", required=True),
        FormatKey("product-name", "text", "The host's product: Milan or Genoa.", required=True),
        FormatKey("tcb-bootloader", "integer", f"Bootloader {_TCB}", required=True, high=0xFF),
        FormatKey("tcb-tee", "integer", f"TEE {_TCB}", required=True, high=0xFF),
        FormatKey("tcb-snp", "integer", f"SNP firmware {_TCB}", required=True, high=0xFF),
        FormatKey("tcb-microcode", "integer", f"Microcode {_TCB}", required=True, high=0xFF),
        FormatKey("smt-enabled", "boolean", f"SMT: {_ENABLED}", required=True),
        FormatKey("tsme-enabled", "boolean", f"TSME: {_ENABLED}", required=True),
        FormatKey(
            "minimum-mitigation-vector",
            "integer",
            "The mitigations a host must have.",
            required=True,
            high=0xFFFFFFFFFFFFFFFF,
        ),
        FormatKey("allowed-chip-ids", "hex-list", "Chip ids to accept. Default: any.", size=64),
    ),
    "tinfoil": (
        FormatKey("rtmr1", "hex", "TDX RTMR1.", required=True, size=48),
        FormatKey("rtmr2", "hex", "TDX RTMR2.", required=True, size=48),
        FormatKey("memory-mb", "integer", "The machine's memory, MiB.", required=True),
        FormatKey("gpus", "integer", "How many GPUs it has.", required=True),
        FormatKey("disks", "integer", "How many disks it has.", required=True),
        FormatKey("image-version", "text", "The image's version.", required=True),
        FormatKey("root", "hex", "The dm-verity root hash.", required=True, size=32),
        FormatKey("raw", "hex", "SHA-256 of the raw disk image.", required=True, size=32),
        FormatKey("config", "text", "The deployment's configuration; base64 in the document.", required=True),
    ),
    "hyperbeam": (),
    "dstack": (),
    "igvm-identity": (FormatKey("guest-svn", "integer", "The guest's SVN (ID block).", required=True),),
    "go-sev-guest": (
        FormatKey(
            "product-line",
            "text",
            "The host's product line: Milan or Genoa. Default: that of the appraisal policy, if it names one.",
            required=True,
        ),
    ),
    "trustee-policy": (),
    "snpguest": (),
    "markdown": (),
    "html": (),
    "sevctl": (),
    "virt-qemu-sev-validate": (),
}
"""Every format by name, in the order they are listed, with the keys of its table."""

"""The JSON Schema of appraisal policies (draft-7 keywords, which TOML editors read)."""

from __future__ import annotations

from typing import Any

from sevbuild.attest.appraisal import APPRAISAL_SCHEMA, LOWEST_VMPL
from sevbuild.attest.check_names import CHECKS, NEVER_WAIVED
from sevbuild.attest.platform_info import PLATFORM_INFO_BITS
from sevbuild.attest.product import PRODUCTS, Product
from sevbuild.documents.document import U32, U64
from sevbuild.documents.schema_shapes import filled_table, hex_digits, integer, one_or_list, table, text, word
from sevbuild.launch.policy import SNP_POLICY_BITS

__all__ = ["appraisal_schema"]

_TEXT = text(minLength=1)


def appraisal_schema() -> dict[str, Any]:
    """Return the schema; what depends on two keys at once is left to the reader."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"sevbuild appraisal policy, version {APPRAISAL_SCHEMA}",
        "description": "What a relying party accepts of an attestation report (RFC 9334).",
        "type": "object",
        "properties": {
            "schema": {"description": "The version of this format.", "const": APPRAISAL_SCHEMA},
            "published": _published(),
            "guest": _guest(),
            "platform": _platform(),
            "minimum-tcb": _minima(
                "The least REPORTED_TCB, by product. A product that is not listed is refused."
            ),
            "minimum-launch-tcb": _minima("The least LAUNCH_TCB, by product."),
            "checks": _checks(),
        },
        "required": ["schema"],
        "additionalProperties": False,
    }


def _published() -> dict[str, Any]:
    return table(
        "Which launch digests are accepted, of those given with --against and --expect.",
        {
            "guest": one_or_list("Only these guests, by name.", _TEXT),
            "release": one_or_list("Only these releases, by version.", _TEXT),
            "target": one_or_list(
                "Only these targets: a label, whole parts of one (vcpus2), or a glob.", _TEXT
            ),
            "measurement": one_or_list("Launch digests that are accepted without a name.", hex_digits(48)),
        },
    )


def _guest() -> dict[str, Any]:
    version = text(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}$")
    bits = filled_table({**{name: {"type": "boolean"} for name in SNP_POLICY_BITS}, "abi": version})
    policy = {"anyOf": [integer(0, U64), bits]}
    return table(
        "How the guest was launched, and who in it asked for the report.",
        {
            "vmpl": one_or_list(
                "The VMPL at which the report was asked for. Default 0.",
                integer(0, LOWEST_VMPL),
            ),
            "policy": {
                "description": "The one guest policy that is accepted. Absent: that of the target, without debug and migrate-ma.",
                **policy,
            },
            "maximum-policy": {
                "description": "In place of policy: the most that is permitted, the least that is demanded, and the lowest minimum ABI.",
                **policy,
            },
            "host-data": one_or_list("HOST_DATA, 32 bytes in hex.", hex_digits(32)),
            "report-data": one_or_list("REPORT_DATA, 64 bytes in hex.", hex_digits(64)),
            "tpm-nonce": one_or_list(
                "The nonce of the TPM's quote that comes with evidence of Azure, in hex.",
                text(pattern="^(0[xX])?([0-9a-fA-F]{2}){1,64}$"),
            ),
            "family-id": one_or_list("FAMILY_ID of the ID block, 16 bytes in hex.", hex_digits(16)),
            "image-id": one_or_list("IMAGE_ID of the ID block, 16 bytes in hex.", hex_digits(16)),
            "guest-svn": integer(0, U32, "The least GUEST_SVN of the ID block."),
            "id-key-digest": one_or_list("The key that signed the ID block, by its SHA-384.", hex_digits(48)),
            "author-key-digest": one_or_list(
                "The key that signed the ID key, by its SHA-384.", hex_digits(48)
            ),
        },
    )


def _platform() -> dict[str, Any]:
    bits = word(PLATFORM_INFO_BITS)
    chip = text(pattern="^(0[xX])?([0-9a-fA-F]{16}|[0-9a-fA-F]{128})$")
    return table(
        "The machine and its firmware.",
        {
            "product": one_or_list("Only these products.", word(product.name for product in PRODUCTS)),
            "required": one_or_list("Bits of PLATFORM_INFO that must be set.", bits),
            "forbidden": one_or_list("Bits of PLATFORM_INFO that must be clear.", bits),
            "chip-id": one_or_list("Only these chips: CHIP_ID in hex, or its 8 bytes from Turin on.", chip),
            "csp-id": one_or_list(
                "Only VLEKs of these cloud providers, as the certificate names them.", _TEXT
            ),
            "firmware-version": text(
                'The oldest SNP firmware, "1.55" or with its build "1.55.21"; as it runs, and as committed.',
                pattern=r"^[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,3})?$",
            ),
            "provisional-firmware": {
                "description": "Whether firmware is accepted that is not committed. Default false.",
                "type": "boolean",
            },
            "launch-mitigations": integer(
                0, U64, "Bits that LAUNCH_MIT_VECTOR must have; reports have it from version 5 on."
            ),
            "current-mitigations": integer(0, U64, "Bits that CURRENT_MIT_VECTOR must have."),
        },
    )


def _minima(description: str) -> dict[str, Any]:
    return table(description, {product.name: _tcb(product) for product in PRODUCTS})


def _tcb(product: Product) -> dict[str, Any]:
    parts = [part.replace("_", "-") for part, _ in product.parts]
    number = integer(0, 0xFF)
    return table(f"The least of each part on {product.name}.", dict.fromkeys(parts, number), required=parts)


def _checks() -> dict[str, Any]:
    names = word(CHECKS)
    waivable = word(name for name in CHECKS if name not in NEVER_WAIVED)
    return table(
        "Which checks must be made. One that fails refuses the report whatever stands here.",
        {
            "require": one_or_list(
                "Checks without which the report is refused, beside those of the default.", names
            ),
            "waive": one_or_list(
                "Checks of the default without which it is not refused; signature and chain are none.",
                waivable,
            ),
            "strict": {
                "description": "Refuse reserved fields of the signed report that are set. Default false.",
                "type": "boolean",
            },
            "unknown-versions": {
                "description": "Read reports of versions above 5 as version 5. Default false.",
                "type": "boolean",
            },
        },
    )

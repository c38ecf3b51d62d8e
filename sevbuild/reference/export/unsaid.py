"""What an appraisal policy asks for, in words, so that a format can say what a verifier does not look at."""

from __future__ import annotations

from collections.abc import Collection

from sevbuild.attest.appraisal import AppraisalPolicy

__all__ = ["asked_for", "unsaid_warning"]

_KEYS = {
    "measurements": "published.measurement",
    "policy": "guest.policy",
    "maximum_policy": "guest.maximum-policy",
    "host_data": "guest.host-data",
    "report_data": "guest.report-data",
    "tpm_nonces": "guest.tpm-nonce",
    "family_ids": "guest.family-id",
    "image_ids": "guest.image-id",
    "guest_svn": "guest.guest-svn",
    "id_keys": "guest.id-key-digest",
    "author_keys": "guest.author-key-digest",
    "products": "platform.product",
    "platform_required": "platform.required",
    "platform_forbidden": "platform.forbidden",
    "chip_ids": "platform.chip-id",
    "csp_ids": "platform.csp-id",
    "firmware_version": "platform.firmware-version",
    "launch_mitigations": "platform.launch-mitigations",
    "current_mitigations": "platform.current-mitigations",
    "minimum_tcb": "minimum-tcb",
    "minimum_launch_tcb": "minimum-launch-tcb",
    "strict": "checks.strict",
}
"""Fields of a policy that narrow what is accepted, and the keys that say so."""


def asked_for(policy: AppraisalPolicy) -> dict[str, str]:
    """Return the fields that a policy narrows, and their keys."""
    empty = AppraisalPolicy()
    return {field: key for field, key in _KEYS.items() if getattr(policy, field) != getattr(empty, field)}


def unsaid_warning(policy: AppraisalPolicy, said: Collection[str], tool: str) -> list[str]:
    """Return the warning that a tool does not look at all that a policy asks for, if it does not.

    `said` are the fields of the policy that the format passes on.
    """
    keys = [key for field, key in asked_for(policy).items() if field not in said]
    keys += (
        ["checks.require: revocation"] if "revocation" in policy.required and "revocation" not in said else []
    )
    return [f"{tool} does not look at {', '.join(keys)}"] if keys else []

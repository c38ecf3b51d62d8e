"""Every check of a report: its name, what it is of, and whether a report is refused where it was not made."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["CHECKS", "NEVER_WAIVED", "CheckKind", "Claim"]

Claim = Literal["instance-identity", "configuration", "executables", "hardware"]
"""A claim of AR4SI (draft-ietf-rats-ar4si, 2.3) that a check belongs to."""


class CheckKind(NamedTuple):
    """One kind of check: `claim` is what a failure says something against, `meaning` what a pass says.

    `required` tells whether a report is refused where the check was not made and nothing else is said.
    """

    claim: Claim
    required: bool
    meaning: str


CHECKS: dict[str, CheckKind] = {
    "version": CheckKind("hardware", True, "the report's version is one of 2 to 5, so its fields are known"),
    "reserved": CheckKind("hardware", False, "reserved fields that are signed are zero"),
    "signature": CheckKind("hardware", True, "the report was signed by the key of the VCEK or VLEK"),
    "signing-key": CheckKind("hardware", True, "SIGNING_KEY names that kind of key"),
    "chain": CheckKind("hardware", True, "the key's certificate leads to AMD's root, or to the one given"),
    "certificate-names": CheckKind(
        "hardware", True, "subjects and issuers are those that AMD gives such certificates"
    ),
    "validity": CheckKind("hardware", True, "every certificate is valid at the time of the verdict"),
    "revocation": CheckKind("hardware", False, "no certificate is on AMD's revocation list"),
    "vek-extensions": CheckKind("hardware", True, "the certificate has each of AMD's extensions once"),
    "product": CheckKind("hardware", True, "report, certificate and chain are of one product"),
    "reported-tcb": CheckKind("hardware", True, "REPORTED_TCB is the TCB that the certificate is for"),
    "chip-id": CheckKind("instance-identity", True, "CHIP_ID is the chip of the certificate, and accepted"),
    "csp-id": CheckKind("instance-identity", False, "the VLEK is of an accepted cloud provider"),
    "tcb-order": CheckKind("hardware", True, "reported <= committed <= current, in each part"),
    "minimum-tcb": CheckKind("hardware", False, "no part of REPORTED_TCB is below the minimum"),
    "minimum-launch-tcb": CheckKind("hardware", False, "no part of LAUNCH_TCB is below the minimum"),
    "firmware-version": CheckKind("hardware", False, "the SNP firmware, also as committed, is new enough"),
    "provisional-firmware": CheckKind(
        "hardware", True, "the firmware that runs is committed: the host cannot go back to an older one"
    ),
    "platform-info": CheckKind("hardware", False, "PLATFORM_INFO has the required bits, no forbidden one"),
    "mitigations": CheckKind("hardware", False, "the required mitigations were there at launch and now"),
    "measurement": CheckKind("executables", True, "MEASUREMENT is the launch digest of an accepted target"),
    "policy": CheckKind("configuration", True, "the guest policy is the target's; no debugging in silence"),
    "policy-platform": CheckKind("configuration", True, "the platform keeps to the guest policy"),
    "vmpl": CheckKind("configuration", True, "the report was asked for at an accepted VMPL"),
    "host-data": CheckKind("configuration", False, "HOST_DATA is what was expected"),
    "family-id": CheckKind("configuration", False, "FAMILY_ID is what was expected"),
    "image-id": CheckKind("configuration", False, "IMAGE_ID is what was expected"),
    "guest-svn": CheckKind("configuration", False, "GUEST_SVN is not below the minimum"),
    "id-key": CheckKind("configuration", False, "the ID block was signed by an accepted key"),
    "author-key": CheckKind("configuration", False, "the ID key was signed by an accepted author key"),
    "report-data": CheckKind(
        "instance-identity", False, "REPORT_DATA is what was asked for, so the report is no older one"
    ),
    "hcl-binding": CheckKind("instance-identity", False, "Azure's runtime data is what REPORT_DATA binds"),
    "tpm-quote": CheckKind("instance-identity", False, "the TPM quote is signed by the key in that data"),
    "tpm-nonce": CheckKind(
        "instance-identity", False, "the nonce of that quote is what was asked for, so it is no older one"
    ),
}
"""Every check by name, in the order of a verdict."""

NEVER_WAIVED = ("signature", "chain")
"""Checks without which nothing in a report is anybody's word."""

"""`trustee-policy`: an attestation policy of Trustee (confidential-containers/trustee, 78962cd), in Rego.

What is accepted stands in it as data, so that nothing of it waits for a reference value service. Claims are
those of Trustee's SNP verifier (deps/verifier/src/snp/mod.rs, parse_tee_evidence); it has itself checked
signature, chain and TCB of the certificate, and that the report is of VMPL 0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS, SNP_READABLE, SnpPolicy
from sevbuild.reference.accepted import Accepted
from sevbuild.reference.export.interface import Exporter, ExportOptions
from sevbuild.reference.export.unsaid import unsaid_warning
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.reference.model import ReferenceValues

__all__ = ["EXPORTER"]

_SAID = frozenset(
    {
        "measurements",
        "policy",
        "host_data",
        "platform_required",
        "platform_forbidden",
        "chip_ids",
        "minimum_tcb",
    }
)
_TCB_CLAIMS = {
    "boot_loader": "reported_tcb_bootloader",
    "tee": "reported_tcb_tee",
    "snp": "reported_tcb_snp",
    "microcode": "reported_tcb_microcode",
}
_POLICY_CLAIMS = {
    "smt": "policy_smt_allowed",
    "migrate-ma": "policy_migrate_ma",
    "debug": "policy_debug_allowed",
    "single-socket": "policy_single_socket",
}
_PLATFORM_CLAIMS = {"smt": "platform_smt_enabled", "tsme": "platform_tsme_enabled"}

_RULES = """
default executables := 33

default hardware := 97

default configuration := 36

# The launch digest is that of an accepted target: approved executables were booted.
executables := 3 if {
	some target in accepted.targets
	input.snp.measurement == target.measurement
}

# Genuine hardware, new enough, and a machine that is accepted.
hardware := 2 if {
	input.snp
	every claim, least in accepted.minimum {
		input.snp[claim] >= least
	}
	every claim, values in accepted.platform {
		input.snp[claim] in values
	}
}

# Launched with the guest policy of that target, and with the host data that is accepted.
configuration := 2 if {
	some target in accepted.targets
	every claim, value in target {
		input.snp[claim] == value
	}
	every claim, values in accepted.guest {
		input.snp[claim] in values
	}
}

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

extensions := []
"""


class TrusteePolicy(Exporter):
    """A policy of the attestation service, whose rules are the same for every guest and read its data."""

    name = "trustee-policy"
    summary = "an attestation policy of Trustee, in Rego"
    files = ("trustee-policy.rego",)
    appraises = True

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return how the attestation service takes it."""
        return [
            *super().notes(values, options),
            f"`kbs-client config set-attestation-policy --policy-file {self.files[0]} --type rego` sets it",
        ]

    def warnings(self, _values: ReferenceValues, options: ExportOptions, /) -> list[str]:
        """Return what of the appraisal policy is in no claim of Trustee's."""
        policy = options.appraisal
        found = unsaid_warning(policy, _SAID, "Trustee")
        bits = [
            bit
            for bit in (*policy.platform_required, *policy.platform_forbidden)
            if bit not in _PLATFORM_CLAIMS
        ]
        if bits:
            found.append(f"Trustee has no claim of these bits of PLATFORM_INFO: {', '.join(bits)}")
        if policy.vmpls != (0,):
            found.append("Trustee refuses every report of a VMPL other than 0")
        if any(tcb.fmc for tcb in policy.minimum_tcb.values()):
            found.append("Trustee has no claim of a TCB's fmc")
        return found

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `trustee-policy.rego`; raises SevbuildError for minima of several products."""
        policy = options.appraisal
        data = {
            "targets": _targets(values, policy),
            "minimum": _minimum(policy),
            "platform": _platform(policy),
            "guest": {"init_data": [one.hex() for one in policy.host_data]} if policy.host_data else {},
        }
        head = (
            "package policy\n\nimport rego.v1\n\n"
            f"# What is accepted of {visible(values.title())}. The values of trust_claims are AR4SI's.\n"
        )
        text = f"{head}accepted := {json.dumps(data, indent=2)}\n{_RULES}"
        return {"trustee-policy.rego": text.encode("utf-8", "backslashreplace")}


def _targets(values: ReferenceValues, policy: AppraisalPolicy) -> list[dict[str, Any]]:
    """Return for each accepted launch the claims that it has: digest and guest policy."""
    found = []
    for value in Accepted(values, policy.published).snp_values():
        guest = value.policy & ~SNP_READABLE if policy.policy is None else policy.policy
        found.append(_claims(value.digest, guest))
    for digest in policy.measurements:
        # Without a target nothing is known of the policy, but that the guest is not to be read.
        known = {"policy_debug_allowed": False, "policy_migrate_ma": False}
        found.append(
            {"measurement": digest.hex(), **known}
            if policy.policy is None
            else _claims(digest, policy.policy)
        )
    if not found:
        raise SevbuildError("trustee-policy: the appraisal policy accepts no target")
    return [dict(entry) for entry in dict.fromkeys(tuple(entry.items()) for entry in found)]


def _claims(digest: bytes, policy: int) -> dict[str, Any]:
    major, minor = SnpPolicy(policy).abi
    return {
        "measurement": digest.hex(),
        "policy_abi_major": major,
        "policy_abi_minor": minor,
        **{claim: bool(policy >> SNP_POLICY_BITS[bit] & 1) for bit, claim in _POLICY_CLAIMS.items()},
    }


def _minimum(policy: AppraisalPolicy) -> dict[str, int]:
    """Return the least of each part: for one product, since no claim says which one it is."""
    minima = list(policy.minimum_tcb.values())
    if not minima:
        return {}
    if len(minima) > 1:
        hint = "leave one product in [minimum-tcb]"
        raise SevbuildError(
            "trustee-policy: no claim of Trustee's says which product a report is of", hint=hint
        )
    return {claim: getattr(minima[0], part) for part, claim in _TCB_CLAIMS.items()}


def _platform(policy: AppraisalPolicy) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for bit, claim in _PLATFORM_CLAIMS.items():
        if bit in policy.platform_required or bit in policy.platform_forbidden:
            found[claim] = [bit in policy.platform_required]
    if policy.chip_ids:
        found["chip_id"] = [chip.hex() for chip in policy.chip_ids]
    return found


EXPORTER = TrusteePolicy()

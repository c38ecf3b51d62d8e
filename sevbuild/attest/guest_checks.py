"""The guest of a report held to an appraisal policy: its policy, VMPL, host data, ID block, report data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.attest.appraisal import DEFAULT_MAXIMUM_POLICY, HOST_VMPL, LOWEST_VMPL
from sevbuild.attest.platform_info import PLATFORM_INFO_BITS, bit_names
from sevbuild.attest.verdict import Check, failed, not_checked, passed
from sevbuild.launch.policy import (
    SNP_HIGHEST_BIT,
    SNP_MUST_BE_ONE,
    SNP_PERMISSIONS,
    SNP_POLICY_BITS,
    SnpPolicy,
    version_text,
)

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.report import Report

__all__ = ["check_guest", "policy_faults"]

_PLATFORM_DEMANDS = ("rapl-dis", "ciphertext-hiding-dram")
"""Bits of the guest policy that need the bit of the same name in PLATFORM_INFO (SNP ABI 4.3)."""


def check_guest(report: Report, policy: AppraisalPolicy, target: NamedTarget | None) -> list[Check]:
    """Return the checks of how the guest was launched and who asked; `target` is what was measured."""
    return [
        _policy(report, policy, target),
        _policy_platform(report),
        _vmpl(report, policy),
        _one_of("host-data", report.host_data, policy.host_data, "--host-data HEX"),
        *_identity(report, policy, target),
        _report_data(report, policy),
    ]


def policy_faults(policy: int, most: int) -> list[str]:
    """Return what a guest policy permits, or does not demand, that `most` does; its ABI is a minimum."""
    faults = []
    if not policy & SNP_MUST_BE_ONE:
        faults.append("bit 17, which is always one, is clear")
    unknown = bit_names(policy >> (SNP_HIGHEST_BIT + 1) << (SNP_HIGHEST_BIT + 1), {})
    if unknown:
        faults.append(f"set though unknown: {', '.join(unknown)}")
    for name, bit in SNP_POLICY_BITS.items():
        has, may = bool(policy >> bit & 1), bool(most >> bit & 1)
        if name in SNP_PERMISSIONS and has and not may:
            faults.append(f"it permits {name}")
        elif name not in SNP_PERMISSIONS and may and not has:
            faults.append(f"it does not demand {name}")
    abi, least = SnpPolicy(policy).abi, SnpPolicy(most).abi
    if abi < least:
        faults.append(f"its minimum ABI is {version_text(abi)}, below {version_text(least)}")
    return faults


def _policy(report: Report, policy: AppraisalPolicy, target: NamedTarget | None) -> Check:
    if policy.policy is not None:
        return _exact("the appraisal policy's", report.policy, policy.policy)
    readable = [name for name in ("debug", "migrate-ma") if report.policy >> SNP_POLICY_BITS[name] & 1]
    if policy.maximum_policy is None and readable:
        reason = f"it permits {' and '.join(readable)}, by which the guest's memory can be read from outside"
        hint = "guest.policy of an appraisal policy can accept it"
        return failed("policy", f"{reason} ({hint})", f"{report.policy:#x}")
    if policy.maximum_policy is None and target is not None and target.policy is not None:
        return _exact(f"that of {target.label}", report.policy, target.policy)
    most = DEFAULT_MAXIMUM_POLICY if policy.maximum_policy is None else policy.maximum_policy
    return _at_most(report.policy, most, given=policy.maximum_policy is not None)


def _at_most(policy: int, most: int, *, given: bool) -> Check:
    wanted = f"at most {most:#x}"
    faults = policy_faults(policy, most)
    if faults:
        return failed("policy", "; ".join(faults), f"{policy:#x}", wanted)
    reason = "within that of the appraisal policy" if given else "neither debug nor migrate-ma is permitted"
    return passed("policy", reason, f"{policy:#x}", wanted)


def _exact(whose: str, policy: int, wanted: int) -> Check:
    if policy == wanted:
        return passed("policy", whose, f"{policy:#x}", f"{wanted:#x}")
    changed = policy ^ wanted
    bits = [
        f"{name} is {'set' if policy >> bit & 1 else 'clear'}"
        for name, bit in SNP_POLICY_BITS.items()
        if changed >> bit & 1
    ]
    abi, other = SnpPolicy(policy).abi, SnpPolicy(wanted).abi
    if abi != other:
        bits.append(f"the minimum ABI is {version_text(abi)}, not {version_text(other)}")
    others = changed & ~sum(1 << bit for bit in SNP_POLICY_BITS.values()) & ~0xFFFF
    bits += [f"{name} differs" for name in bit_names(others, {})]
    return failed("policy", f"not {whose}: {', '.join(bits)}", f"{policy:#x}", f"{wanted:#x}")


def _policy_platform(report: Report) -> Check:
    found = f"policy {report.policy:#x}, platform {report.platform_info:#x}"
    wrong = []
    if (
        report.platform_info >> PLATFORM_INFO_BITS["smt"] & 1
        and not report.policy >> SNP_POLICY_BITS["smt"] & 1
    ):
        wrong.append("SMT is on, which the guest policy does not permit")
    for name in _PLATFORM_DEMANDS:
        demanded = report.policy >> SNP_POLICY_BITS[name] & 1
        if demanded and not report.platform_info >> PLATFORM_INFO_BITS[name] & 1:
            wrong.append(f"{name} is off, which the guest policy demands")
    abi, least = report.current_version[:2], SnpPolicy(report.policy).abi
    if least > abi:
        wrong.append(
            f"the firmware's ABI is {version_text(abi)}, below the guest policy's minimum {version_text(least)}"
        )
    if wrong:
        return failed("policy-platform", "; ".join(wrong), found)
    return passed("policy-platform", "the platform is as the guest policy demands", found)


def _vmpl(report: Report, policy: AppraisalPolicy) -> Check:
    if report.vmpl == HOST_VMPL:
        return failed("vmpl", "0xffffffff: the host asked for this report, no guest did", "0xffffffff")
    wanted = ", ".join(map(str, policy.vmpls))
    found = str(report.vmpl)
    if report.vmpl in policy.vmpls:
        return passed("vmpl", f"VMPL {found}", found, wanted)
    more = f" (--vmpl {found} accepts it)" if report.vmpl <= LOWEST_VMPL else ""
    return failed("vmpl", f"VMPL {found}, accepted is {wanted}{more}", found, wanted)


def _identity(report: Report, policy: AppraisalPolicy, target: NamedTarget | None) -> list[Check]:
    """Return the checks of what an ID block says: held to the policy, and to the block of the target."""
    block = None if target is None else target.id_block
    of_block = (block.family_id, block.image_id) if block is not None else (None, None)
    family, image = (
        _one_of(name, found, given, f"guest.{name}", published)
        for name, found, given, published in (
            ("family-id", report.family_id, policy.family_ids, of_block[0]),
            ("image-id", report.image_id, policy.image_ids, of_block[1]),
        )
    )
    key = None if block is None else block.id_key_digest
    author = None if block is None else block.author_key_digest
    return [
        family,
        image,
        _svn(report, policy, None if block is None else block.guest_svn),
        _one_of("id-key", report.id_key_digest, policy.id_keys, "guest.id-key-digest", key),
        _author(report, policy, author),
    ]


def _svn(report: Report, policy: AppraisalPolicy, published: int | None) -> Check:
    found = str(report.guest_svn)
    bounds = [bound for bound in (policy.guest_svn, published) if bound is not None]
    if not bounds:
        return not_checked("guest-svn", "no minimum was given (guest.guest-svn)", found)
    least = max(bounds)
    if report.guest_svn >= least:
        return passed("guest-svn", f"at least {least}", found, str(least))
    return failed("guest-svn", f"below {least}", found, str(least))


def _author(report: Report, policy: AppraisalPolicy, published: bytes | None) -> Check:
    digest = report.author_key_digest
    if report.author_key_en != any(digest):
        said = "set, but the digest is zero" if report.author_key_en else "clear, but there is a digest"
        return failed("author-key", f"AUTHOR_KEY_EN is {said}", digest.hex())
    return _one_of("author-key", digest, policy.author_keys, "guest.author-key-digest", published)


def _report_data(report: Report, policy: AppraisalPolicy) -> Check:
    if policy.report_data:
        return _one_of("report-data", report.report_data, policy.report_data, "")
    reason = "none was given: nothing shows that this report is not an older one (--report-data HEX)"
    return not_checked("report-data", reason, report.report_data.hex())


def _one_of(
    name: str, found: bytes, given: tuple[bytes, ...], option: str, published: bytes | None = None
) -> Check:
    """Return whether a field is one of those given, and as well what was published of the target."""
    wanted = list(given)
    if published is not None and (not wanted or published in wanted):
        wanted = [published]
    elif published is not None:
        reason = "what the appraisal policy accepts is not what the target was published with"
        return failed(name, reason, found.hex(), published.hex())
    if not wanted:
        return not_checked(name, f"none was given ({option})", found.hex())
    shown = ", ".join(digest.hex() for digest in wanted)
    if found in wanted:
        return passed(
            name, "as published" if published is not None else "as was asked for", found.hex(), shown
        )
    unset = " (it is zero: there is none)" if not any(found) else ""
    whose = "what was published" if published is not None else "what was asked for"
    return failed(name, f"not {whose}{unset}", found.hex(), shown)

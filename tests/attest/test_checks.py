"""Every check of a report's fields: what passes, what fails and why, and what is not checked."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.attest.appraisal import AppraisalPolicy
from sevbuild.attest.check_names import CHECKS
from sevbuild.attest.checks import check_measurement, check_report
from sevbuild.attest.guest_checks import policy_faults
from sevbuild.attest.named_target import NamedTarget
from sevbuild.attest.product import Tcb, product_named
from sevbuild.attest.report import FirmwareVersion, Report
from sevbuild.attest.verdict import Check
from sevbuild.launch.id_block import ReportedIdBlock
from tests.attest.reports import MEASUREMENT, report

MILAN = product_named("Milan")
TURIN = product_named("Turin")
DEBUG = 0xB0000
RESERVED = bytes(0x4C) + b"\1" + bytes(1184 - 0x4D)
BY_POLICY = "(guest.policy of an appraisal policy can accept it)"
TCBS = ("reported_tcb", "committed_tcb", "current_tcb", "launch_tcb")
LABEL = "snp/qemu/EPYC-Milan/vcpus8"


def target(**changes: Any) -> NamedTarget:
    return NamedTarget("acme-guest", "1.4.0", LABEL, "snp", MEASUREMENT, 0x30000)._replace(**changes)


def checked(found: Report, policy: AppraisalPolicy | None = None, *targets: NamedTarget) -> dict[str, Check]:
    product = TURIN if found.cpuid_fam_id == 0x1A else MILAN if found.cpuid_fam_id else None
    checks, _ = check_report(found, policy or AppraisalPolicy(), targets, product)
    by_name = {check.name: check for check in checks}
    assert len(by_name) == len(checks)
    assert by_name.keys() <= CHECKS.keys()
    return by_name


def said(check: Check) -> tuple[str, str]:
    return check.status, check.reason


def test_a_plain_report_against_its_target() -> None:
    checks = checked(report(), None, target())
    assert {name for name, check in checks.items() if check.status == "fail"} == set()
    assert said(checks["measurement"]) == ("pass", f"the launch digest of acme-guest 1.4.0, {LABEL}")
    assert said(checks["policy"]) == ("pass", f"that of {LABEL}")
    assert said(checks["vmpl"]) == ("pass", "VMPL 0")
    assert {name for name, check in checks.items() if check.status == "not checked"} == {
        "minimum-tcb",
        "minimum-launch-tcb",
        "firmware-version",
        "platform-info",
        "mitigations",
        "host-data",
        "family-id",
        "image-id",
        "guest-svn",
        "id-key",
        "author-key",
        "report-data",
    }


FIELDS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    # A version that is not known is never a pass.
    ("version", {"version": 2}, {}, "pass", "version 2"),
    ("version", {"version": 4}, {}, "pass", "version 4"),
    ("version", {"version": 6}, {}, "not checked", "version 6 is unknown: read as version 5"),
    ("reserved", {"raw": RESERVED}, {}, "not checked", "set, for which --strict would refuse the report: 0x04c"),
    ("reserved", {"raw": RESERVED}, {"strict": True}, "fail", "set: 0x04c"),
    ("reserved", {}, {"strict": True}, "pass", "every reserved field is zero"),
    # TCBs, part by part: a lower microcode is not made up for by a higher part above it.
    ("tcb-order", {"reported_tcb": 0xDC18_0000_0000_0004}, {}, "fail", "not reported <= committed <= current"),
    ("tcb-order", {"current_tcb": 0xDB17_0000_0000_0005}, {}, "fail", "not reported <= committed <= current"),
    ("tcb-order", {"current_tcb": 0xDC18_0000_0000_0005}, {}, "pass", "reported <= committed <= current"),
    ("minimum-tcb", {}, {"minimum_tcb": {"Milan": Tcb(4, 0, 24, 219)}}, "pass", "no part is below the minimum"),
    (
        "minimum-tcb",
        {},
        {"minimum_tcb": {"Milan": Tcb(5, 0, 24, 220)}},
        "fail",
        "below the minimum: boot-loader 4, at least 5; microcode 219, at least 220",
    ),
    (
        "minimum-tcb",
        {},
        {"minimum_tcb": {"Genoa": Tcb(0, 0, 0, 0)}},
        "fail",
        "the appraisal policy has none for Milan",
    ),
    (
        "minimum-tcb",
        # The bytes of a Turin's TCB are other parts: microcode 81 here, and not a boot loader 1 below it.
        {"cpuid_fam_id": 0x1A, "cpuid_mod_id": 2, **dict.fromkeys(TCBS, 0x51_00_00_00_04_01_01_01)},
        {"minimum_tcb": {"Turin": Tcb(1, 1, 4, 81, 2)}},
        "fail",
        "below the minimum: fmc 1, at least 2",
    ),
    (
        "minimum-launch-tcb",
        {"launch_tcb": 0xDA18_0000_0000_0004},
        {"minimum_launch_tcb": {"Milan": Tcb(4, 0, 24, 219)}},
        "fail",
        "below the minimum: microcode 218, at least 219",
    ),
    ("firmware-version", {}, {"firmware_version": FirmwareVersion(1, 55, 40)}, "pass", "at least 1.55.40"),
    ("firmware-version", {}, {"firmware_version": FirmwareVersion(1, 55, 41)}, "fail", "older than 1.55.41"),
    (
        "firmware-version",
        {"committed_version": FirmwareVersion(1, 54, 99)},
        {"firmware_version": FirmwareVersion(1, 55, 0)},
        "fail",
        "older than 1.55.0",
    ),
    (
        "provisional-firmware",
        {"current_version": FirmwareVersion(1, 55, 41)},
        {},
        "fail",
        "the host can still go back to the committed firmware (platform.provisional-firmware accepts it)",
    ),
    (
        "provisional-firmware",
        {"current_version": FirmwareVersion(1, 55, 41)},
        {"provisional_firmware": True},
        "pass",
        "not committed yet, which the appraisal policy accepts",
    ),
    # Bits of the platform: one that nobody knows is shown and tolerated.
    ("platform-info", {}, {"platform_required": ("ecc",)}, "pass", "every bit is as required"),
    ("platform-info", {"platform_info": 0x105}, {"platform_required": ("ecc",)}, "pass", "every bit is as required"),
    (
        "platform-info",
        {},
        {"platform_required": ("tsme", "tio"), "platform_forbidden": ("smt", "rapl-dis")},
        "fail",
        "tsme is clear, tio is clear, smt is set",
    ),
    ("mitigations", {}, {"launch_mitigations": 3, "current_mitigations": 5}, "pass", "every one that is required is there"),
    ("mitigations", {}, {"launch_mitigations": 5}, "fail", "missing at launch 0x4"),
    (
        "mitigations",
        {"version": 3, "launch_mit_vector": None, "current_mit_vector": None},
        {"current_mitigations": 1},
        "fail",
        "missing at current 0x1 (a version 3 report has none)",
    ),
    # The guest policy: debugging never in silence.
    (
        "policy",
        {"policy": DEBUG},
        {},
        "fail",
        f"it permits debug, by which the guest's memory can be read from outside {BY_POLICY}",
    ),
    (
        "policy",
        {"policy": 0x70000 | DEBUG},
        {},
        "fail",
        f"it permits debug and migrate-ma, by which the guest's memory can be read from outside {BY_POLICY}",
    ),
    ("policy", {"policy": DEBUG}, {"policy": DEBUG}, "pass", "the appraisal policy's"),
    ("policy", {"policy": DEBUG}, {"maximum_policy": DEBUG}, "pass", "within that of the appraisal policy"),
    ("policy", {"policy": DEBUG}, {"policy": 0x30000}, "fail", "not the appraisal policy's: debug is set"),
    ("policy", {"policy": 0x20000}, {"policy": 0x30000}, "fail", "not the appraisal policy's: smt is clear"),
    (
        "policy",
        {"policy": 0x4030000 | 0x137},
        {"policy": 0x30000},
        "fail",
        "not the appraisal policy's: the minimum ABI is 1.55, not 0.0, bit 26 differs",
    ),
    ("policy", {"policy": 0x130000}, {"maximum_policy": 0x30000}, "pass", "within that of the appraisal policy"),
    ("policy", {"policy": 0x30000}, {"maximum_policy": 0x20000}, "fail", "it permits smt"),
    ("policy", {"policy": 0x30000}, {"maximum_policy": 0x130000}, "fail", "it does not demand single-socket"),
    ("policy", {"policy": 0x30136}, {"maximum_policy": 0x30137}, "fail", "its minimum ABI is 1.54, below 1.55"),
    ("policy", {"policy": 0x30000}, {}, "pass", "neither debug nor migrate-ma is permitted"),
    ("policy", {"policy": 0x10000}, {}, "fail", "bit 17, which is always one, is clear"),
    ("policy", {"policy": 0xC030000}, {}, "fail", "set though unknown: bit 26, bit 27"),
    ("policy", {"policy": 0x30137}, {"maximum_policy": 0x30137}, "pass", "within that of the appraisal policy"),
    ("policy", {"policy": 0x30001}, {"policy": 0x30000}, "fail", "not the appraisal policy's: the minimum ABI is 0.1, not 0.0"),
    # What the firmware should have seen to.
    ("policy-platform", {"policy": 0x30137}, {}, "pass", "the platform is as the guest policy demands"),
    ("policy-platform", {"policy": 0x20000, "platform_info": 0x24}, {}, "pass", "the platform is as the guest policy demands"),
    (
        "policy-platform",
        {"policy": 0x30137, **dict.fromkeys(("current_version", "committed_version"), FirmwareVersion(1, 54, 40))},
        {},
        "fail",
        "the firmware's ABI is 1.54, below the guest policy's minimum 1.55",
    ),
    ("vmpl", {"vmpl": 3}, {}, "fail", "VMPL 3, accepted is 0 (--vmpl 3 accepts it)"),
    (
        "policy-platform",
        {"policy": 0x20000},
        {},
        "fail",
        "SMT is on, which the guest policy does not permit",
    ),
    (
        "policy-platform",
        {"policy": 0x1830000},
        {},
        "fail",
        "rapl-dis is off, which the guest policy demands; ciphertext-hiding-dram is off, which the guest policy demands",
    ),
    ("policy-platform", {"policy": 0x1830000, "platform_info": 0x3D}, {}, "pass", "the platform is as the guest policy demands"),
    (
        "policy-platform",
        {"policy": 0x30138},
        {},
        "fail",
        "the firmware's ABI is 1.55, below the guest policy's minimum 1.56",
    ),
    ("vmpl", {"vmpl": 1}, {}, "fail", "VMPL 1, accepted is 0 (--vmpl 1 accepts it)"),
    ("vmpl", {"vmpl": 1}, {"vmpls": (0, 1)}, "pass", "VMPL 1"),
    ("vmpl", {"vmpl": 0}, {"vmpls": (1,)}, "fail", "VMPL 0, accepted is 1 (--vmpl 0 accepts it)"),
    (
        "vmpl",
        {"vmpl": 0xFFFFFFFF},
        {"vmpls": (0, 1, 2, 3)},
        "fail",
        "0xffffffff: the host asked for this report, no guest did",
    ),
    ("vmpl", {"vmpl": 4}, {"vmpls": (0, 1, 2, 3)}, "fail", "VMPL 4, accepted is 0, 1, 2, 3"),
    ("host-data", {"host_data": b"\1" * 32}, {"host_data": (b"\1" * 32,)}, "pass", "as was asked for"),
    ("host-data", {}, {"host_data": (b"\1" * 32,)}, "fail", "not what was asked for (it is zero: there is none)"),
    ("host-data", {"host_data": b"\2" * 32}, {"host_data": (b"\1" * 32,)}, "fail", "not what was asked for"),
    ("report-data", {"report_data": b"\1" * 64}, {"report_data": (b"\1" * 64,)}, "pass", "as was asked for"),
    (
        "report-data",
        {"report_data": b"\1" * 32 + bytes(32)},
        {"report_data": (b"\1" * 64,)},
        "fail",
        "not what was asked for",
    ),
    ("family-id", {"family_id": b"a" * 16}, {"family_ids": (b"b" * 16, b"a" * 16)}, "pass", "as was asked for"),
    ("image-id", {"image_id": b"a" * 16}, {"image_ids": (b"b" * 16,)}, "fail", "not what was asked for"),
    ("guest-svn", {"guest_svn": 3}, {"guest_svn": 3}, "pass", "at least 3"),
    ("guest-svn", {"guest_svn": 2}, {"guest_svn": 3}, "fail", "below 3"),
    ("id-key", {"id_key_digest": b"k" * 48}, {"id_keys": (b"k" * 48,)}, "pass", "as was asked for"),
    ("id-key", {}, {"id_keys": (b"k" * 48,)}, "fail", "not what was asked for (it is zero: there is none)"),
    (
        "author-key",
        {"author_key_en": True, "author_key_digest": b"a" * 48},
        {"author_keys": (b"a" * 48,)},
        "pass",
        "as was asked for",
    ),
    # The bit and the digest say one thing.
    ("author-key", {"author_key_digest": b"a" * 48}, {}, "fail", "AUTHOR_KEY_EN is clear, but there is a digest"),
    ("author-key", {"author_key_en": True}, {}, "fail", "AUTHOR_KEY_EN is set, but the digest is zero"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "policy", "status", "reason"), FIELDS)
def test_one_check(
    name: str, fields: dict[str, Any], policy: dict[str, Any], status: str, reason: str
) -> None:
    check = checked(report(**fields), AppraisalPolicy(**policy))[name]
    assert said(check) == (status, reason)


def test_no_check_but_one_changes_with_a_field() -> None:
    """What is said of one field says nothing of another."""
    plain = checked(report(), None, target())
    for name, fields, policy, *_ in FIELDS:
        changed = checked(report(**fields), AppraisalPolicy(**policy), target())
        other = {key for key in plain if (changed[key].status, key) != (plain[key].status, key)}
        assert other <= {name, *RELATED.get(name, ())}, (name, fields)


RELATED = {
    "version": ("mitigations",),
    "policy": ("policy-platform",),
    "policy-platform": ("policy",),
    "firmware-version": ("provisional-firmware",),
}


def test_without_a_product_no_tcb_is_read() -> None:
    checks = checked(report(version=2, cpuid_fam_id=None, cpuid_mod_id=None, cpuid_step=None))
    for name in ("tcb-order", "minimum-tcb", "minimum-launch-tcb"):
        assert checks[name].status == "not checked"
        assert "--product" in checks[name].reason


BLOCK = ReportedIdBlock(b"k" * 48, b"a" * 48, b"f" * 16, b"i" * 16, 4)
OF_BLOCK = {
    "id_key_digest": b"k" * 48,
    "author_key_en": True,
    "author_key_digest": b"a" * 48,
    "family_id": b"f" * 16,
    "image_id": b"i" * 16,
    "guest_svn": 5,
}
OF_IDENTITY = ("family-id", "image-id", "guest-svn", "id-key", "author-key")


def test_the_id_block_that_a_target_was_published_with() -> None:
    checks = checked(report(**OF_BLOCK), None, target(id_block=BLOCK))
    assert [said(checks[name]) for name in OF_IDENTITY] == [
        ("pass", "as published"),
        ("pass", "as published"),
        ("pass", "at least 4"),
        ("pass", "as published"),
        ("pass", "as published"),
    ]
    # A host that leaves the block out is seen.
    without = checked(report(), None, target(id_block=BLOCK))
    assert [without[name].status for name in OF_IDENTITY] == ["fail"] * 5
    zero = "not what was published (it is zero: there is none)"
    assert {without[name].reason for name in OF_IDENTITY if name != "guest-svn"} == {zero}


def test_a_policy_narrows_what_was_published() -> None:
    policy = AppraisalPolicy(id_keys=(b"x" * 48,), guest_svn=6)
    checks = checked(report(**OF_BLOCK), policy, target(id_block=BLOCK))
    assert said(checks["id-key"]) == (
        "fail",
        "what the appraisal policy accepts is not what the target was published with",
    )
    assert said(checks["guest-svn"]) == ("fail", "below 6")
    both = AppraisalPolicy(id_keys=(b"x" * 48, b"k" * 48))
    assert checked(report(**OF_BLOCK), both, target(id_block=BLOCK))["id-key"].status == "pass"


OTHER = b"\xbb" * 48


@pytest.mark.parametrize(
    ("targets", "given", "status", "reason", "named"),
    [
        ([], [], "not checked", "nothing to hold it to was given (--against PATH, --expect HEX)", None),
        ([], [MEASUREMENT], "pass", "a launch digest that was given by itself", None),
        ([], [OTHER], "fail", "not the launch digest that was given", None),
        ([target(digest=OTHER)], [], "fail", f"not the launch digest of acme-guest 1.4.0, {LABEL}", None),
        ([target(digest=OTHER)], [OTHER], "fail", "not any of 2 launch digests", None),
        ([target(digest=OTHER)], [MEASUREMENT], "pass", "a launch digest that was given by itself", None),
        (
            [target(digest=OTHER), target()],
            [],
            "pass",
            f"the launch digest of acme-guest 1.4.0, {LABEL}",
            target(),
        ),
        # The digest says nothing of the policy, so of two with one digest the one is taken that was launched.
        (
            [target(policy=DEBUG, label="debugged"), target()],
            [],
            "pass",
            f"the launch digest of acme-guest 1.4.0, {LABEL}",
            target(),
        ),
        (
            [target(), target(label="b"), target(label="c")],
            [],
            "pass",
            f"the launch digest of acme-guest 1.4.0, {LABEL}, and of 2 more",
            target(),
        ),
        (
            [target(refused="no accepted release has it")],
            [],
            "fail",
            f"that of acme-guest 1.4.0, {LABEL}: no accepted release has it",
            None,
        ),
        ([target(refused="no accepted release has it")], [MEASUREMENT], "pass", "a launch digest that was given by itself", None),
        ([target(digest=OTHER, refused="x")], [], "fail", "the appraisal policy accepts no target", None),
        ([target(mode="sev", digest=MEASUREMENT[:32])], [], "fail", "no target has mode snp", None),
        # Bytes that start alike are no launch digest of an SNP guest.
        ([target(mode="sev-es", digest=MEASUREMENT)], [], "fail", "no target has mode snp", None),
    ],
)  # fmt: skip
def test_the_target_that_was_measured(
    targets: list[NamedTarget], given: list[bytes], status: str, reason: str, named: NamedTarget | None
) -> None:
    policy = AppraisalPolicy(measurements=tuple(given))
    check, found = check_measurement(report(), policy, targets)
    assert said(check) == (status, reason)
    assert found == named


def test_what_was_wanted_is_shown_where_it_is_one_digest() -> None:
    for targets, given, wanted in (
        ([target(digest=OTHER)], (), OTHER.hex()),
        ([target(digest=OTHER), target(refused="x", digest=b"\1" * 48)], (), OTHER.hex()),
        ([], (OTHER,), OTHER.hex()),
        ([target(digest=OTHER)], (OTHER,), ""),
        ([], (), ""),
    ):
        check, _ = check_measurement(report(), AppraisalPolicy(measurements=given), targets)
        assert (check.found, check.wanted) == (MEASUREMENT.hex(), wanted)


def test_a_digest_is_accepted_of_whichever_target_is() -> None:
    both = [target(refused="no accepted release has it", version="1.3.0"), target()]
    for targets in (both, both[::-1]):
        check, found = check_measurement(report(), AppraisalPolicy(), targets)
        assert (check.status, found) == ("pass", target())


def test_a_tcb_is_shown_part_by_part() -> None:
    assert checked(report())["minimum-tcb"].found == "boot-loader 4, tee 0, snp 24, microcode 219"
    turin = report(cpuid_fam_id=0x1A, cpuid_mod_id=2, reported_tcb=0x51_00_00_00_04_01_02_03)
    assert checked(turin)["minimum-tcb"].found == "fmc 3, boot-loader 2, tee 1, snp 4, microcode 81"


def test_a_target_of_another_policy_is_no_match_of_the_policy() -> None:
    checks = checked(report(policy=0x20000, platform_info=0x24), None, target())
    assert checks["measurement"].status == "pass"
    assert said(checks["policy"]) == ("fail", f"not that of {LABEL}: smt is clear")


def test_a_debugged_target_is_not_verified_in_silence() -> None:
    """The measurement is right, and was published with this very policy: the host can read the guest."""
    checks = checked(report(policy=DEBUG), None, target(policy=DEBUG))
    assert checks["measurement"].status == "pass"
    assert checks["policy"].status == "fail"
    accepted = checked(report(policy=DEBUG), AppraisalPolicy(policy=DEBUG), target(policy=DEBUG))
    assert accepted["policy"].status == "pass"


def test_every_bit_of_the_guest_policy_is_looked_at() -> None:
    for bit in range(64):
        changed = 0x30000 ^ 1 << bit
        assert checked(report(policy=changed), AppraisalPolicy(policy=0x30000))["policy"].status == "fail"
    assert policy_faults(0x30000, 0x30000) == []

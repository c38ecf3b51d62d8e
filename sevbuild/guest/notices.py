"""What a publisher should know about the targets of a manifest: warnings, and values taken unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sevbuild.errors import Notice
from sevbuild.guest.order import ORDER_HINT, is_launched
from sevbuild.image.oddities import image_oddities, section_oddities
from sevbuild.image.ovmf import Firmware
from sevbuild.launch.mode import Mode
from sevbuild.launch.policy import policy_of
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.inputs import FIRMWARE
from sevbuild.manifest.model import Variant
from sevbuild.manifest.profiles import profiles_that
from sevbuild.manifest.targets import Target
from sevbuild.vcpu.describe import feature_names

if TYPE_CHECKING:
    from sevbuild.igvm.doubt import Doubt

__all__ = ["firmware_notices", "target_doubts", "target_notices"]

_SNP_ACTIVE = 1


def target_notices(targets: Sequence[Target]) -> list[Notice]:
    """Return what the declared values themselves call for, without a look at any input."""
    notices: dict[Notice, None] = {}
    launches: dict[tuple[Variant, str, str], Target] = {}
    cpus: dict[tuple[Variant, str, str], Target] = {}
    for target in targets:
        launches.setdefault((target.variant, target.mode, target.profile.name), target)
        cpus.setdefault((target.variant, target.profile.name, target.cpu.label), target)
    for target in launches.values():
        for notice in _launch_notices(target):
            notices[notice] = None
    for target in cpus.values():
        for notice in _cpu_notices(target):
            notices[notice] = None
    return list(notices)


def target_doubts(target: Target) -> tuple[Doubt, ...]:
    """Return why no guest with a target's launch digest boots as declared, as far as the manifest tells."""
    reasons = [reason for _, reason, _ in _unbootable(target)]
    if not reasons:
        return ()
    # Most guests have none, and need nothing of the room it is from.
    from sevbuild.igvm.doubt import Doubt

    return tuple(Doubt("cannot-boot", reason) for reason in reasons)


def _unbootable(target: Target) -> list[tuple[str, str, str | None]]:
    """Return the key that is to blame, why no guest with the digest boots as declared, and a hint."""
    kernel, profile = target.variant.kernel, target.profile
    found: list[tuple[str, str, str | None]] = []
    if not is_launched(target):
        reason = f"hosts of profile {profile.name} launch in an order of their own, so none has this digest"
        found.append(("launch.order", reason, ORDER_HINT))
    if kernel is not None and kernel.hashes and not profile.rules.direct_boot:
        reason = (
            f"hosts of profile {profile.name} start no kernel of the tenant's; it is measured as QEMU would"
        )
        found.append(("kernel", reason, None))
    return found


def firmware_notices(variant: Variant, firmware: Firmware, targets: Sequence[Target]) -> list[Notice]:
    """Return what the firmware of a variant calls for on the hosts of its targets."""
    declared = variant.declared(FIRMWARE)
    where = "firmware" if declared is None else declared.name
    notices = [Notice("warning", where, message, hint) for message, hint in image_oddities(firmware)]
    if any(target.mode == "snp" for target in targets):
        notices += [Notice("warning", where, message, hint) for message, hint in section_oddities(firmware)]
    if variant.kernel is not None and variant.kernel.hashes:
        loaders = dict.fromkeys(
            target.profile.rules.loader for target in targets if target.profile.rules.loader
        )
        notices += [notice for name in loaders for notice in _hash_table_notices(variant, firmware, name)]
    return notices


def _hash_table_notices(variant: Variant, firmware: Firmware, name: str) -> list[Notice]:
    """Return a warning where a loader writes kernel hashes itself, elsewhere than the firmware has them."""
    # Only profiles of IGVM files have a loader.
    from sevbuild.igvm.loaders import loader_named

    loader, table = loader_named(name), firmware.metadata.hash_table
    if loader.hash_page is None or table is None or table.base == loader.hash_page + loader.hash_offset:
        return []
    place = loader.hash_page + loader.hash_offset
    message = (
        f"{loader.summary}, given the kernel, writes its hashes at {place:#x} too; this firmware's table is at "
        f"{table.base:#x}, so that launch has a different digest"
    )
    hint = "the file alone, without the kernel, is launched as measured"
    return [Notice("warning", variant.document.where("kernel"), message, hint)]


def _launch_notices(target: Target) -> list[Notice]:
    document, mode, profile = target.variant.document, target.mode, target.profile
    notices = []
    unsaid = (
        [] if target.policy_origin == "manifest" else [f"policy {target.policy:#x} ({target.policy_origin})"]
    )
    features = target.guest_features
    if features is not None and target.features_origin != "manifest":
        unsaid.append(f"guest features {features:#x} ({target.features_origin})")
    if unsaid:
        notices.append(Notice("note", f"{mode}/{profile.name}", ", ".join(unsaid)))
    policy = policy_of(mode, target.policy)
    warning = policy.warning()
    if warning is not None:
        hint = "it is SEV's default; 0x3 forbids debugging and key sharing" if target.policy == 0 else None
        notices.append(Notice("warning", document.where("launch.policy"), warning, hint))
    if features is not None and target.features_origin == "manifest":
        notices += _features_notices(target, features)
    kernel = target.variant.kernel
    if kernel is not None and not kernel.hashes:
        message = "the kernel is booted unmeasured: the host can replace kernel, initrd and command line"
        notices.append(Notice("warning", document.where("kernel.hashes"), message))
    notices += [
        Notice("warning", document.where(key), f"cannot boot: {reason}", hint)
        for key, reason, hint in _unbootable(target)
    ]
    return notices


def _features_notices(target: Target, features: int) -> list[Notice]:
    profile, mode = target.profile, target.mode
    found: list[tuple[str, str, str | None]] = []
    known = profile.prose.host_features[mode]
    newer = features & known.newer & ~known.known
    foreign = features & ~known.known & ~known.newer
    if mode == "sev-es" and features & _SNP_ACTIVE:
        found.append(("warning", "snp-active (bit 0) is set in an SEV-ES guest's features", None))
        foreign &= ~_SNP_ACTIVE
    if foreign:
        names = ", ".join(feature_names(foreign))
        message = f"hosts of profile {profile.name} never set {names}; the digest includes it as given"
        others = profiles_that(lambda other: _can_set(other, mode, foreign))
        hint = f"hosts of profile {' or '.join(others)} can set {names}" if others else None
        found.append(("warning", message, hint))
    if newer:
        bits = feature_names(newer)
        verb = "are" if len(bits) > 1 else "is"
        message = (
            f"{', '.join(bits)} {verb} set by hosts newer than profile {profile.name}, and only on request"
        )
        found.append(
            ("note", message, f"the profile is as of {profile.prose.as_of}; the digest includes it as given")
        )
    if mode == "snp" and not features & _SNP_ACTIVE:
        found.append(("warning", "snp-active (bit 0) is clear; every SNP host sets it", None))
    # The line is looked up only where there is something to say: it takes a scan of the manifest.
    where = target.variant.document.where("launch.guest-features") if found else ""
    return [Notice(level, where, message, hint) for level, message, hint in found]


def _can_set(profile: LaunchProfile, mode: Mode, features: int) -> bool:
    """Tell whether hosts of a profile can set all of these features in a mode."""
    hosts = profile.prose.host_features.get(mode)
    return hosts is not None and not features & ~hosts.known


def _cpu_notices(target: Target) -> list[Notice]:
    signature = target.cpu.signature
    return [
        Notice(
            "warning",
            target.variant.document.where("launch.profile"),
            f"profile {target.profile.name} with {target.cpu.label}: {advice.reason}",
            f'profile "{advice.profile}" does that',
        )
        for advice in target.profile.prose.advice
        if advice.low <= signature <= advice.high
    ]

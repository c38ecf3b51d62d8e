"""The matrix: every target a manifest declares, in a stable order."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.documents.document import Document
from sevbuild.launch.label import target_label
from sevbuild.launch.mode import Mode, Order
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.model import Cmdline, Cpu, Manifest, Variant
from sevbuild.manifest.profiles import load_profile, profiles_that
from sevbuild.manifest.unused import note_unused

__all__ = ["MAX_TARGETS", "Target", "expand", "variant_targets"]

MAX_TARGETS = 200_000
"""A bound on the product of the lists: a digest each is published, so more is a slip of the pen."""


class Target(NamedTuple):
    """One point of the matrix: mode x profile x CPU x vCPU count (x command line).

    `guest_features` is None in mode sev, which has none. The origins say where a value comes from:
    `manifest`, `profile NAME` or `default of mode NAME`.
    """

    label: str
    variant: Variant
    mode: Mode
    profile: LaunchProfile
    cpu: Cpu
    vcpus: int
    cmdline: Cmdline | None
    policy: int
    policy_origin: str
    guest_features: int | None
    features_origin: str

    @property
    def order(self) -> Order:
        """Return `canonical` where the manifest or the profile sorts the launch, else `profile`."""
        if self.variant.loads_igvm and self.variant.declared(IGVM) is not None:
            # A ready file has an order of its own, which its loader follows.
            return "profile"
        return "canonical" if self.profile.rules.order == "canonical" else self.variant.order


def expand(manifest: Manifest) -> list[Target]:
    """Return every target: by matrix entry, mode, profile, CPU, ascending vCPU count, command line.

    Raises FaultsError for an unknown profile, a combination that its profile cannot launch, and a label
    that two targets share.
    """
    targets: list[Target] = []
    loaded: dict[str, LaunchProfile] = {}
    labels: dict[str, Target] = {}
    for variant in manifest.variants:
        document = variant.document
        profiles = _profiles(variant, manifest.directory, loaded)
        count = len(variant.modes) * len(profiles) * len(variant.cpus) * len(variant.counts)
        cmdlines = variant.kernel.cmdlines if variant.kernel is not None else (None,)
        count *= len(cmdlines)
        if len(targets) + count > MAX_TARGETS:
            message = f"the lists multiply to more than {MAX_TARGETS} targets"
            document.fault("kernel.cmdlines" if len(cmdlines) > 1 else "vcpu", message)
            break
        for mode in variant.modes:
            for profile in profiles:
                if variant.loads_igvm and profile.rules.loader is None:
                    message = f"profile {profile.name} does not load IGVM files"
                    loading = ", ".join(profiles_that(lambda other: other.rules.loader is not None))
                    document.fault("igvm", message, f"these do: {loading}")
                elif mode in profile.rules.modes:
                    targets += variant_targets(variant, mode, profile)
                else:
                    _cannot(document, mode, profile)
    note_unused(manifest, targets)
    for target in targets:
        first = labels.setdefault(target.label, target)
        if first is not target:
            _doubled(first, target)
            break
    for variant in manifest.variants:
        variant.document.raise_faults()
    return targets


def _profiles(variant: Variant, directory: str, loaded: dict[str, LaunchProfile]) -> list[LaunchProfile]:
    for index, name in enumerate(variant.profiles):
        if name not in loaded:
            at = f"launch.profile[{index}]"
            profile = variant.document.attempt(at, load_profile, name, directory)
            if profile is not None:
                loaded[name] = profile
    return [loaded[name] for name in variant.profiles if name in loaded]


def _doubled(first: Target, target: Target) -> None:
    """Note two targets of one label as a fault: a label must name one launch digest."""
    document, hint = target.variant.document, "a label must name one launch digest"
    if first.variant is not target.variant:
        document.fault("launch", f"{target.label} is a target of two entries", hint)
    else:
        # Modes, CPUs, counts and command lines are distinct within an entry.
        message = f"{target.label} would be two targets: two profiles are named {target.profile.name}"
        document.fault("launch.profile", message, f"{hint}: give one of them another name")


def _cannot(document: Document, mode: Mode, profile: LaunchProfile) -> None:
    hint = f"it launches {', '.join(profile.rules.modes)}; unequal combinations go into [[matrix]] tables"
    others = profiles_that(
        lambda other: mode in other.rules.modes and other.rules.loader == profile.rules.loader
    )
    if others:
        hint += f"; {mode} is launched by {', '.join(others)}"
    document.fault("launch.profile", f"profile {profile.name} cannot launch {mode}", hint)


def variant_targets(variant: Variant, mode: Mode, profile: LaunchProfile) -> list[Target]:
    """Return the targets of a variant in one mode and with one profile, by CPU, count and command line."""
    policy = variant.policies.get(mode)
    policy_origin = "manifest"
    if policy is None:
        policy, policy_origin = DEFAULT_POLICIES[mode], f"default of mode {mode}"
    features: int | None = None
    features_origin = "mode sev has none"
    if mode != "sev":
        features, features_origin = variant.guest_features.get(mode), "manifest"
        if features is None:
            features, features_origin = profile.rules.features[mode], f"profile {profile.name}"
    cmdlines: tuple[Cmdline | None, ...] = (None,)
    if variant.kernel is not None:
        cmdlines = variant.kernel.cmdlines
    settings = (policy, policy_origin, features, features_origin)
    found = []
    for cpu in variant.cpus:
        for count in variant.counts:
            for cmdline in cmdlines:
                name = None if cmdline is None else cmdline.name
                label = target_label(mode, profile.name, cpu.label, count, name)
                found.append(Target(label, variant, mode, profile, cpu, count, cmdline, *settings))
    return found

"""A target with a setting otherwise than the manifest has it, as the manifest would declare it."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.launch.mode import Mode, Order
from sevbuild.launch.policy import policy_of
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.inputs import CMDLINE, INITRD, KERNEL
from sevbuild.manifest.model import Cmdline, Cpu, Variant
from sevbuild.manifest.targets import Target, variant_targets
from sevbuild.manifest.template import BUILT_IN, parse_template
from sevbuild.manifest.vcpu_keys import MAX_VCPUS

__all__ = ["Variation", "vary"]


class Variation(NamedTuple):
    """What a target is to have otherwise; None leaves a setting as it is.

    `cmdline` is a text as a manifest has it, placeholders and all. What the manifest leaves to the mode or to
    the profile follows these where they change.
    """

    mode: Mode | None = None
    profile: LaunchProfile | None = None
    cpu: Cpu | None = None
    vcpus: int | None = None
    order: Order | None = None
    policy: int | None = None
    guest_features: int | None = None
    kernel_hashes: bool | None = None
    cmdline: str | None = None


def vary(target: Target, variation: Variation) -> Target:
    """Return the target of a manifest that declares the same but for these settings.

    Its inputs are those of `target`. Raises SevbuildError for what its profile cannot launch, and for a
    setting of a kernel where none is launched or where the image has the command line.
    """
    mode = variation.mode or target.mode
    profile = variation.profile or target.profile
    if mode not in profile.rules.modes:
        raise SevbuildError(f"profile {profile.name} cannot launch {mode}")
    if target.variant.loads_igvm and profile.rules.loader is None:
        raise SevbuildError(f"profile {profile.name} does not load IGVM files")
    vcpus = target.vcpus if variation.vcpus is None else variation.vcpus
    if not 1 <= vcpus <= MAX_VCPUS:
        raise SevbuildError(f"{vcpus} vCPUs: a guest has 1 to {MAX_VCPUS}")
    variant = target.variant._replace(
        order=variation.order or target.variant.order,
        cpus=(variation.cpu or target.cpu,),
        counts=(vcpus,),
    )
    variant = _with_numbers(variant, mode, variation)
    if variation.kernel_hashes is not None:
        variant = _with_hashes(variant, hashes=variation.kernel_hashes)
    if variation.cmdline is not None:
        variant = _with_cmdline(variant, target.cmdline, variation.cmdline)
    elif variant.kernel is not None and target.cmdline is not None:
        variant = variant._replace(kernel=variant.kernel._replace(cmdlines=(target.cmdline,)))
    (varied,) = variant_targets(variant, mode, profile)
    return varied


def _with_numbers(variant: Variant, mode: Mode, variation: Variation) -> Variant:
    policy, features = variation.policy, variation.guest_features
    if policy is not None:
        refused = policy_of(mode, policy).fault(mode)
        if refused is not None:
            message, hint = refused
            raise SevbuildError(message, hint=hint)
        variant = variant._replace(policies={**variant.policies, mode: policy})
    if features is not None:
        if mode == "sev":
            raise SevbuildError("an SEV guest has no VMSA, so no features")
        variant = variant._replace(guest_features={**variant.guest_features, mode: features})
    return variant


def _with_hashes(variant: Variant, *, hashes: bool) -> Variant:
    if variant.kernel is None:
        raise SevbuildError("there is no kernel whose hashes are measured or not")
    inputs = [
        declared._replace(measured=hashes)
        if declared.role.table in (KERNEL.table, INITRD.table)
        else declared
        for declared in variant.inputs
    ]
    return variant._replace(kernel=variant.kernel._replace(hashes=hashes), inputs=tuple(inputs))


def _with_cmdline(variant: Variant, own: Cmdline | None, text: str) -> Variant:
    kernel = variant.kernel
    if kernel is None or own is None or kernel.uki_as == "parts":
        raise SevbuildError("there is no command line, or the image has it")
    unknown = sorted(parse_template(text).names - {*variant.variables, *BUILT_IN})
    if unknown:
        raise SevbuildError(f"unknown placeholder {{{unknown[0]}}}")
    # A file that had it is no input any more.
    inputs = tuple(declared for declared in variant.inputs if declared.role is not CMDLINE)
    cmdlines = (Cmdline(own.name, text, own.key),)
    return variant._replace(kernel=kernel._replace(cmdlines=cmdlines), inputs=inputs)

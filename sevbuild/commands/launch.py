"""What a launch command says of one target, taken from the target and never typed twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.launch.mode import Mode
from sevbuild.manifest.inputs import INITRD
from sevbuild.manifest.model import Cpu, Machine
from sevbuild.manifest.targets import Target
from sevbuild.vcpu.models import CPU_MODELS, cpu_signature, decode_signature

if TYPE_CHECKING:
    from sevbuild.identity.signed_block import SignedBlock

__all__ = ["BASE_MODEL", "ROLES", "Launch", "describe_launch", "qemu_cpu"]

ROLES = ("firmware", "kernel", "initrd", "igvm", "vmsa0", "vmsa1")
"""What a file of a launch is for; the last two are for checking a measurement, not for launching."""

BASE_MODEL = "EPYC-v4"
"""The model whose family, model and stepping are overridden where a target names a signature alone."""


class Launch(NamedTuple):
    """Everything that the launch commands of one target say.

    `cpu` is what QEMU's `-cpu` takes. `cmdline` is None without a kernel. `files` maps roles to paths.
    `notes` is what the commands cannot say.
    """

    guest: str
    version: str
    label: str
    mode: Mode
    igvm: bool
    cpu: str
    vcpus: int
    policy: int
    kernel_hashes: bool
    cmdline: bytes | None
    host_data: bytes | None
    id_block: SignedBlock | None
    properties: Mapping[str, str]
    machine: Machine
    files: Mapping[str, str]
    notes: tuple[str, ...]


def describe_launch(
    guest: Guest, target: Target, files: Mapping[str, str], *, digest: bytes | None = None
) -> Launch:
    """Return the launch of a target over `files`, which map roles to the paths that are launched.

    `digest` is its launch digest, which an ID block is for; it is computed where that is not given.
    Raises SevbuildError where the target's profile has no launch command, and for a file that is missing.
    """
    command, variant = target.profile.prose.command, target.variant
    if not command.starts:
        message = f"{target.label}: profile {target.profile.name} has no launch command"
        raise SevbuildError(message, hint=command.reason)
    igvm = command.starts == "igvm"
    kernel = variant.kernel
    wanted = [command.starts]
    if kernel is not None:
        wanted.append("kernel")
        if guest.kernels.launched(variant, INITRD) is not None:
            wanted.append("initrd")
    for role in wanted:
        if not files.get(role):
            raise SevbuildError(f"{target.label}: there is no {role} file to launch", hint=_HINTS.get(role))
    for role, path in files.items():
        if role not in ROLES or "\0" in path:
            raise SevbuildError(
                f"{role}: {path!r} is not a file of a launch", hint=f"roles: {', '.join(ROLES)}"
            )
    return Launch(
        guest=guest.manifest.name,
        version=guest.manifest.version,
        label=target.label,
        mode=target.mode,
        igvm=igvm,
        cpu=qemu_cpu(target.cpu),
        vcpus=target.vcpus,
        policy=target.policy,
        kernel_hashes=not igvm and kernel is not None and kernel.hashes,
        cmdline=None if kernel is None else guest.kernels.cmdline(target),
        host_data=variant.host_data if target.mode == "snp" else None,
        # An IGVM file has its own; QEMU passes over the one it is given beside it.
        id_block=None if igvm else _id_block(guest, target, digest),
        properties=command.properties,
        machine=variant.machine,
        files={role: files[role] for role in (*wanted, "vmsa0", "vmsa1") if role in files},
        notes=_notes(target, igvm=igvm),
    )


def _id_block(guest: Guest, target: Target, digest: bytes | None) -> SignedBlock | None:
    """Return the signed ID block of a target, None where it has none."""
    blocks = guest.id_blocks
    if blocks is None or target.variant.id_block is None:
        return None
    if digest is None:
        (measured,) = guest.measure([target])
        digest = measured.digest
    return blocks.signed(target, digest)


_HINTS = {
    "firmware": "a guest that is measured from a seed requires its firmware to be launched",
    "igvm": "`sevbuild build` writes it",
    "kernel": "a kernel known by its digest alone cannot be launched",
    "initrd": "an initrd known by its digest alone cannot be launched",
}


def qemu_cpu(cpu: Cpu) -> str:
    """Return what `-cpu` takes: a model's name, or EPYC-v4 with the signature's numbers over its own.

    QEMU 10.2 target/i386/cpu.c: the properties family, model and stepping set the bits of CPUID
    Fn0000_0001_EAX that RDX starts with. Raises SevbuildError for a signature they cannot make.
    """
    if cpu.label in CPU_MODELS:
        return cpu.label
    family, model, stepping = decode_signature(cpu.signature)
    if cpu_signature(family, model, stepping) != cpu.signature:
        hint = "its reserved bits are set, or an extended family is combined with a family below 15"
        raise SevbuildError(f"no QEMU CPU has the signature {cpu.label}", hint=hint)
    return f"{BASE_MODEL},family={family},model={model},stepping={stepping}"


def _notes(target: Target, *, igvm: bool) -> tuple[str, ...]:
    notes = []
    features = target.guest_features
    if features is not None and not igvm and features != target.profile.rules.features[target.mode]:
        notes.append(
            f"SEV_FEATURES must be {features:#x}: the host sets them, QEMU 10.2 has no option for it"
        )
    if target.variant.order != "profile":
        loader = target.profile.rules.list_loader
        who = (
            "QEMU launches in its own" if loader is None else f"{loader} launches in it, QEMU itself does not"
        )
        notes.append(f"the digest is that of order {target.variant.order}; {who}")
    return tuple(notes)

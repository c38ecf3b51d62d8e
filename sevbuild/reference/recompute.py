"""Any target's launch digest from ingredients alone, through the same plan and model as every digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest
from sevbuild.launch.label import cmdline_name, target_label
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.profile import LaunchValues
from sevbuild.manifest.model import Cpu
from sevbuild.manifest.template import parse_template, target_values
from sevbuild.measure.tree import LaunchTree
from sevbuild.reference.model import Ingredients, ReferenceValues, Span, Value

__all__ = [
    "NO_INGREDIENTS",
    "Recomputed",
    "Recomputer",
    "Request",
    "UncheckableError",
    "own_digest",
    "own_launch",
    "recompute_values",
    "why_not",
]


NO_INGREDIENTS = "the document has no ingredients of it"
"""What is said of a value that names none: of an IGVM file, say, whose digest only the file can tell."""

_LARGEST = 4 << 30
"""More than the sections of thousands of firmwares have; it keeps a document from costing minutes."""


_MOST_VMSAS = 1 << 26
"""Minutes of work: all counts of vCPUs for a thousand CPUs, each count with a command line of its own."""


class UncheckableError(SevbuildError):
    """Ingredients that tell no digest, which is not to say that a digest is wrong."""


class Request(NamedTuple):
    """What is asked for in place of the document's own: None, or vCPU counts, CPUs, a command line."""

    counts: tuple[int, ...] | None = None
    cpus: tuple[Cpu, ...] | None = None
    cmdline: bytes | None = None


class Recomputed(NamedTuple):
    """One recomputed launch digest, and what the document says of the same target, if anything.

    `value` is the target as a value of its own, in a document of one release; `label` names the releases too,
    which are those of the value that it was computed from.
    """

    label: str
    digest: bytes
    published: bytes | None
    value: Value
    releases: tuple[Span, ...] = ()


class Recomputer:
    """The launch digests that ingredients give; what several have in common is launched once."""

    def __init__(self, profiles: Mapping[str, LaunchValues]) -> None:
        self._profiles = profiles
        self._planner = Planner()
        self._tree = LaunchTree()
        self._seeds: dict[str, FirmwareSeed] = {}
        self._launched = 0
        self._vmsas: dict[tuple[object, ...], int] = {}
        self._vmsa_count = 0

    def digest(
        self,
        entry: Ingredients,
        cpu: Cpu,
        vcpus: int,
        *,
        policy: int,
        guest_features: int,
        cmdline: bytes | None,
        vmsas_known: int = 0,
    ) -> bytes:
        """Return the launch digest (48 bytes) of one target.

        `cmdline` is the SHA-256 of a command line, None without a kernel. `vmsas_known` counts the VMSAs
        that the seed already stands for. Raises SevbuildError for ingredients that cannot be extended.
        """
        plan = self._planner.plan(
            *self.launch_of(entry, cpu, vcpus, policy=policy, guest_features=guest_features, cmdline=cmdline)
        )
        return self._tree.digest(plan._replace(vmsas=plan.vmsas[vmsas_known:]))

    def launch_of(
        self,
        entry: Ingredients,
        cpu: Cpu,
        vcpus: int,
        *,
        policy: int,
        guest_features: int,
        cmdline: bytes | None,
    ) -> tuple[GuestInputs, LaunchShape]:
        """Return what one target's launch is laid out from; `cmdline` as in `digest`.

        Raises SevbuildError for ingredients that cannot be extended.
        """
        reason = why_not(entry)
        if reason is not None or entry.seed is None:
            hint = "`sevbuild measure` with the files computes it; --select mode=snp leaves it out"
            raise UncheckableError(f"{entry.name}: {reason}", hint=hint)
        if entry.name not in self._seeds:
            self._check_size(entry)
        firmware = self._seeds.setdefault(entry.name, FirmwareSeed(entry.seed, entry.metadata))
        hashes = None
        if entry.kernel is not None:
            hashes = KernelHashes(entry.kernel.kernel, entry.kernel.initrd, cmdline or b"")
        self._check_vmsas((entry.name, cmdline, cpu.signature, guest_features), vcpus)
        launch = self._profiles[entry.profile]
        shape = LaunchShape(entry.mode, launch, entry.order, policy, vcpus, cpu.signature, guest_features)
        return GuestInputs(firmware, entry.svsm, hashes), shape

    def _check_vmsas(self, launch: tuple[object, ...], vcpus: int) -> None:
        """Count the VMSAs that have not been launched for a smaller count already."""
        known = self._vmsas.get(launch, 0)
        if vcpus > known:
            self._vmsas[launch] = vcpus
            self._vmsa_count += vcpus - known
        if self._vmsa_count > _MOST_VMSAS:
            raise UncheckableError(f"the document has too many vCPUs; the limit is {_MOST_VMSAS} in all")

    def _check_size(self, entry: Ingredients) -> None:
        sections = entry.svsm.sections if entry.svsm is not None else entry.metadata.sections or ()
        self._launched += sum(section.size for section in sections)
        if self._launched > _LARGEST:
            message = f"{entry.name}: the sections are too large; the limit is {_LARGEST:#x} bytes in all"
            raise UncheckableError(message)


def why_not(entry: Ingredients) -> str | None:
    """Return why no digest can be computed from these ingredients, None where it can."""
    if entry.mode != "snp":
        return (
            f"a digest of mode {entry.mode} is one SHA-256 over firmware and all else, "
            "which no digest of a part can stand for"
        )
    if entry.order != "profile":
        return "in canonical order other data come before the firmware, so there is no seed"
    return None if entry.seed is not None else "the ingredients have no seed"


def own_digest(recomputer: Recomputer, entry: Ingredients, value: Value) -> bytes:
    """Return the launch digest that a value's own ingredients give.

    Raises UncheckableError where they give none, SevbuildError where no launch comes of them.
    """
    return _digest(recomputer, entry, value, _cpu_of(value), value.vcpus, Request())


def own_launch(recomputer: Recomputer, entry: Ingredients, value: Value) -> tuple[GuestInputs, LaunchShape]:
    """Return what a value's launch is laid out from, out of its own ingredients.

    Raises UncheckableError where they do not tell.
    """
    cpu = _cpu_of(value)
    return recomputer.launch_of(
        entry,
        cpu,
        value.vcpus,
        policy=value.policy,
        guest_features=value.guest_features or 0,
        cmdline=_cmdline(value.label, entry, cpu, value.vcpus, Request()),
    )


def recompute_values(
    values: ReferenceValues, selected: Iterable[Value], request: Request
) -> list[Recomputed]:
    """Return the digests of these values' launches, with what the request puts in place of their own.

    Targets that come out alike are computed once. Raises SevbuildError for what the document cannot tell.
    """
    recomputer = Recomputer({profile.name: profile.launch for profile in values.profiles})
    by_name = {entry.name: entry for entry in values.ingredients}
    gpas = {profile.name: profile.launch.vmsa_gpa for profile in values.profiles}
    known = {(value.label, value.ingredients): value for value in values.values}
    found: dict[tuple[object, ...], Recomputed] = {}
    for value in selected:
        if value.ingredients is None:
            hint = "`sevbuild measure` computes it from the inputs; `verify --against` holds it to them"
            raise SevbuildError(f"{value.label}: {NO_INGREDIENTS}", hint=hint)
        entry = by_name[value.ingredients]
        own = target_label(value.mode, value.profile, value.cpu, value.vcpus)
        name = cmdline_name(value.label, own)
        for cpu in request.cpus or (_cpu_of(value),):
            for vcpus in request.counts or (value.vcpus,):
                key = (entry.name, value.guest_features, value.policy, cpu, vcpus, name)
                if key in found:
                    continue
                digest = _digest(recomputer, entry, value, cpu, vcpus, request)
                label = target_label(value.mode, value.profile, cpu.label, vcpus, name)
                same = known.get((label, entry.name)) if request.cmdline is None else None
                comparable = same is not None and same.guest_features == value.guest_features
                published = same.digest if same is not None and comparable else None
                made = value._replace(
                    label=label,
                    mode=entry.mode,
                    order=entry.order,
                    kernel_hashes=entry.kernel is not None,
                    vmsa_gpa=gpas[entry.profile],
                    cpu=cpu.label,
                    signature=cpu.signature,
                    vcpus=vcpus,
                    cmdline=_cmdline_text(entry, cpu, vcpus, request, value.cmdline),
                    digest=digest,
                    releases=(),
                )
                found[key] = Recomputed(
                    label + _suffix(value.releases), digest, published, made, value.releases
                )
    return list(found.values())


def _digest(
    recomputer: Recomputer, entry: Ingredients, value: Value, cpu: Cpu, vcpus: int, request: Request
) -> bytes:
    return recomputer.digest(
        entry,
        cpu,
        vcpus,
        policy=value.policy,
        guest_features=value.guest_features or 0,
        cmdline=_cmdline(value.label, entry, cpu, vcpus, request),
    )


def _cpu_of(value: Value) -> Cpu:
    # Only values of IGVM files may have no signature, and those have no ingredients.
    return Cpu(value.cpu, value.signature or 0)


def _suffix(spans: tuple[Span, ...]) -> str:
    return f"  ({', '.join(span.text() for span in spans)})" if spans else ""


def _cmdline(label: str, entry: Ingredients, cpu: Cpu, vcpus: int, request: Request) -> bytes | None:
    kernel = entry.kernel
    if kernel is None:
        if request.cmdline is not None:
            raise SevbuildError(f"{label}: no command line is measured: the guest has no kernel")
        return None
    if request.cmdline is not None:
        return cmdline_digest(request.cmdline)
    if kernel.cmdline is not None:
        digest = cmdline_digest(_filled(kernel.cmdline, cpu, vcpus).encode())
        if kernel.cmdline_sha256 not in (None, digest):
            raise SevbuildError(f"{entry.name}: cmdline_sha256 is not that of cmdline")
        return digest
    if kernel.cmdline_sha256 is None:
        hint = "give it with --cmdline-file"
        message = f"{label}: the command line is not UTF-8 and depends on the target"
        raise UncheckableError(message, hint=hint)
    return kernel.cmdline_sha256


def _filled(template: str, cpu: Cpu, vcpus: int) -> str:
    return parse_template(template).fill(target_values(cpu.label, cpu.signature, vcpus))


def _cmdline_text(
    entry: Ingredients, cpu: Cpu, vcpus: int, request: Request, published: str | None
) -> str | None:
    """Return the command line of a recomputed target as a document writes it."""
    if entry.kernel is None:
        return None
    if request.cmdline is not None:
        return request.cmdline.decode("utf-8", "backslashreplace")
    return published if entry.kernel.cmdline is None else _filled(entry.kernel.cmdline, cpu, vcpus)

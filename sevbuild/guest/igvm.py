"""Guests that are launched from an IGVM file: a ready one, or one that is built from the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from sevbuild.errors import Notice, SevbuildError, within
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.guest.inputs import InputReader
from sevbuild.guest.kernel import KernelReader
from sevbuild.igvm.build import igvm_of_plan, parameter_places
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import SnpIdBlock
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import Loaded
from sevbuild.igvm.loaders import LOADERS, loader_named
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.platforms import file_modes
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.image.igvm_areas import read_igvm_areas
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Firmware
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.manifest.inputs import IGVM, DeclaredInput
from sevbuild.manifest.model import Variant
from sevbuild.manifest.targets import Target

__all__ = ["FILE_ORIGIN", "IgvmGuest", "igvm_file"]

FILE_ORIGIN = "igvm file"
"""Where policy and features of a ready file come from, as outputs name it."""


class IgvmGuest:
    """The launch plans of IGVM files for one guest, each file read once."""

    def __init__(self, reader: InputReader, kernels: KernelReader) -> None:
        self._reader = reader
        self._kernels = kernels
        self._files: dict[str, ForeignFile] = {}
        self._ready: dict[tuple[object, ...], Loaded] = {}
        self._built: dict[tuple[Variant, str], LaunchPlan] = {}
        self._compared: set[Variant] = set()
        self._noticed: set[Notice] = set()

    def resolved(self, targets: Iterable[Target]) -> list[Target]:
        """Return targets with the policy and the guest features that their ready files bring.

        Raises SevbuildError where the manifest gives others.
        """
        return [self._resolve(target) if target.variant.declared(IGVM) else target for target in targets]

    def check_pin(self, variant: Variant) -> None:
        """Raise MismatchError where a ready file is not the pinned one."""
        declared = _ready_file(variant)
        if declared.pinned:
            self._reader.found(declared)

    def file(self, variant: Variant) -> ForeignFile:
        """Return the ready file of a variant; `check_pin` checks it against its pin."""
        declared = _ready_file(variant)
        found = self._files.get(declared.name)
        if found is None:
            path = self._reader.fetched_path(declared.sources[0])
            found = self._files[declared.name] = ForeignFile(path, self._reader.progress)
        return found

    def ready_plan(self, target: Target) -> LaunchPlan:
        """Return what the target's loader makes of its ready file, which must be the pinned one."""
        self.check_pin(target.variant)
        return self._loaded(target).plan

    def built_plan(
        self, target: Target, laid_out: LaunchPlan, firmware: Firmware | FirmwareSeed
    ) -> LaunchPlan:
        """Return what the target's loader makes of the file that is built from a plan."""
        key = (target.variant, target.label)
        known = self._built.get(key)
        if known is not None:
            return known
        source = MemorySource(igvm_file(target, laid_out, firmware))
        loader = loader_named(target.profile.rules.loader or "")
        file, maker = read_igvm(source), UpdateMaker(source)
        with within(loader.name):
            plan = self._built[key] = load(file, loader, maker).plan
        if target.variant not in self._compared:
            self._compared.add(target.variant)
            self._noticed |= _departures(target, file, maker)
        return plan

    def reported(self, target: Target) -> ReportedIdBlock | None:
        """Return what a report of a target shows of the ID block in its ready file, None without one."""
        headers = self._loaded(target).id_blocks if target.mode == "snp" else ()
        if not headers:
            return None
        from sevbuild.identity.igvm_block import reported_block

        # No loader takes a file with two.
        (header,) = headers
        return reported_block(header)

    def notices(self) -> list[Notice]:
        """Return what speaks against the launches that were planned, and what files have that is odd."""
        found = list(self._noticed)
        for file in self._files.values():
            found += file.notices
        return sorted(set(found))

    def _loaded(self, target: Target) -> Loaded:
        """Return what the target's loader makes of its ready file, for the platform of the target's mode."""
        file = self.file(target.variant)
        hashes = self._kernels.hashes(target)
        loader, mode = target.profile.rules.loader or "", target.mode
        key = (loader, file.path, mode, target.vcpus, target.cpu.signature, hashes)
        loaded = self._ready.get(key)
        if loaded is None:
            has = file_modes(file.file)
            if mode not in has:
                hint = f"launch.mode is one of {', '.join(has)}" if has else None
                name = _ready_file(target.variant).name
                raise SevbuildError(f"{target.label}: {name} has no platform for mode {mode}", hint=hint)
            launch = ForeignLaunch((loader,), mode, target.vcpus, target.cpu, hashes)
            loaded = self._ready[key] = file.load(launch)[0][0]
            for doubt in loaded.doubts:
                message = f"{doubt.kind.replace('-', ' ')}: {doubt.reason}"
                self._noticed.add(Notice("warning", target.label, message))
        return loaded

    def _resolve(self, target: Target) -> Target:
        try:
            return self._with_the_files_values(target)
        except SevbuildError:
            # What is not the pinned file is not to be complained of.
            self.check_pin(target.variant)
            raise

    def _with_the_files_values(self, target: Target) -> Target:
        loaded = self._loaded(target)
        plan, features = loaded.plan, loaded.guest_features
        if target.policy_origin == "manifest" and target.policy != plan.policy:
            message = (
                f"{target.label}: the file's policy is {plan.policy:#x}, the manifest's {target.policy:#x}"
            )
            raise SevbuildError(message, hint="leave launch.policy out, or build the file with it")
        given = target.guest_features
        if target.features_origin == "manifest" and given != features:
            have = "none" if features is None else hex(features)
            message = f"{target.label}: the file's guest features are {have}, the manifest gives others"
            raise SevbuildError(message, hint="leave launch.guest-features out")
        return target._replace(
            policy=plan.policy,
            policy_origin=FILE_ORIGIN,
            guest_features=features,
            features_origin=FILE_ORIGIN,
        )


def _ready_file(variant: Variant) -> DeclaredInput:
    declared = variant.declared(IGVM)
    if declared is None:
        raise SevbuildError("the manifest names no IGVM file")
    return declared


def igvm_file(
    target: Target,
    plan: LaunchPlan,
    firmware: Firmware | FirmwareSeed,
    id_block: SnpIdBlock | None = None,
) -> bytes:
    """Return the IGVM file from which a loader replays `plan`; raises SevbuildError with the label."""
    places = None
    with within(target.label):
        if target.variant.igvm_parameters:
            # Of a seed no file can be built, which the builder says.
            areas = read_igvm_areas(firmware) if isinstance(firmware, Firmware) else ()
            places = parameter_places(areas)
        return write_igvm(igvm_of_plan(plan, parameters=places, id_block=id_block))


def _departures(target: Target, file: IgvmFile, maker: UpdateMaker) -> set[Notice]:
    """Return a warning that names the loaders which launch a file otherwise than the target's does."""
    shapes: dict[tuple[tuple[int, PageType, int], ...], list[str]] = {}
    for name, loader in LOADERS.items():
        # Who takes no file of this mode has no launch to differ in.
        with suppress(SevbuildError):
            updates = load(file, loader, maker).plan.updates
            shape = tuple((update.gpa, update.page_type, update.length) for update in updates)
            shapes.setdefault(shape, []).append(name)
    if len(shapes) < 2:
        return set()
    own = target.profile.rules.loader
    others = sorted(name for names in shapes.values() if own not in names for name in names)
    message = f"with parameters the IGVM file is not portable: its digest in {own} differs from that in {', '.join(others)}"
    hint = "without them the firmware asks fw_cfg, and one digest holds everywhere"
    return {Notice("warning", target.variant.document.where("igvm.parameters"), message, hint)}

"""The guest that is explained: the launches that it declares, and what is at hand of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.change import Material, Start
from sevbuild.diagnose.file_contents import FileContents
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.errors import SevbuildError
from sevbuild.guest.inputs import Extent
from sevbuild.igvm.platforms import file_modes
from sevbuild.image.ovmf import Firmware
from sevbuild.launch.mode import Mode
from sevbuild.launch.planner import Planner
from sevbuild.launch.profile import LaunchCommand, LaunchProfile, LaunchRules, ProfileProse
from sevbuild.manifest.inputs import IGVM, INITRD, KERNEL
from sevbuild.manifest.selection import select_labels
from sevbuild.text import counted, encode_text
from sevbuild.vcpu.models import CPU_MODELS

if TYPE_CHECKING:
    from sevbuild.documents.document import Document
    from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
    from sevbuild.guest.guest import Guest
    from sevbuild.guest.measured import Measured
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.launch.region_data import Contents
    from sevbuild.manifest.inputs import Role
    from sevbuild.manifest.model import Variant
    from sevbuild.manifest.targets import Target
    from sevbuild.reference.model import Ingredients, PublishedProfile, ReferenceValues, Value
    from sevbuild.reference.recompute import Recomputer

_USUAL_CPU = "EPYC-v4"
"""What examples of QEMU and of other tools start vCPUs as."""

__all__ = [
    "Subject",
    "known_profiles",
    "subject_of_document",
    "subject_of_file",
    "subject_of_guest",
    "subject_of_values",
]


class Subject(NamedTuple):
    """The guest that is explained.

    `starts` are the launches to start from and `others` those that `--target` leaves out, under the labels of
    their targets. `policies` are by label, `documents` the manifests to edit by label as well, `files` by the
    names that sentences have for them. `notes` say what could not be taken.
    """

    title: str
    starts: tuple[Start, ...]
    others: tuple[Start, ...] = ()
    policies: Mapping[str, int] = {}
    documents: Mapping[str, Document] = {}
    files: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def modes(self) -> set[Mode]:
        """Return the modes of the launches to start from."""
        return {start.setup.mode for start in self.starts}


def subject_of_guest(
    guest: Guest, patterns: Sequence[str], dtb: bytes | None = None, *, alone: bool = False
) -> Subject:
    """Return a declared guest with the targets that patterns pick; what is to be known of it is its notices.

    `dtb` is a device tree to be appended to its kernel. With `alone` the other targets are left out.
    """
    chosen = guest.select(patterns)
    wanted = {target.label for target in chosen}
    starts: list[Start] = []
    others: list[Start] = []
    for item in guest.measure(chosen if alone else None):
        target = item.target
        start = Start(
            item.label,
            _setup(guest, target),
            item.digest,
            _material(guest, target)._replace(dtb=dtb),
            where=target.variant.document.where,
        )
        (starts if item.label in wanted else others).append(start)
    manifest = guest.manifest
    return Subject(
        f"{manifest.name} {manifest.version}",
        tuple(starts),
        tuple(others),
        {target.label: target.policy for target in guest.targets},
        {target.label: target.variant.document for target in guest.targets},
        dict(_files(guest)),
    )


def subject_of_file(
    file: ForeignFile, launch: ForeignLaunch, patterns: Sequence[str], material: Material
) -> Subject:
    """Return an IGVM file as those loaders launch it that are asked for; who refuses it is among its notices.

    What other loaders make of it, and of its other platforms, is there as well. `material` has what of the
    kernel is at hand that the loader itself is given.
    """
    # The CPU of further vCPUs, which there may be none of here.
    asked = launch._replace(cpu=None) if launch.vcpus is None else launch
    measured = file.launches(asked)
    wanted = set(select_labels(patterns, [item.label for item in measured]))
    known = {item.label: _file_start(file, item, launch, material) for item in measured}
    rest = {
        item.label: _file_start(file, item, launch, material)
        for mode in file_modes(file.file)
        for item in file.measure(file.load(asked._replace(loaders=(), mode=mode))[0])[0]
    }
    starts = tuple(start for label, start in known.items() if label in wanted)
    others = tuple(start for label, start in {**rest, **known}.items() if label not in wanted)
    policies = {item.label: item.plan.policy for item in measured}
    return Subject(file.name, starts, others, policies, files={"the IGVM file": file.path})


def _file_start(
    file: ForeignFile, item: Measured[Loaded], launch: ForeignLaunch, material: Material
) -> Start:
    from sevbuild.diagnose.file_launch import FileLaunch

    loaded = item.target
    hashes = launch.kernel_hashes if loaded.loader.hash_page is not None else None
    signature = launch.signature
    if signature is None and loaded.loader.reset_profile is not None:
        # Nobody has to say it where the file describes all vCPUs, and those beyond these have one.
        signature = CPU_MODELS[_USUAL_CPU].signature
    setup = FileLaunch(file, loaded.loader.name, loaded.plan.mode, loaded.vcpus, signature, hashes)
    return Start(item.label, setup, item.digest, material)


def subject_of_document(path: str, patterns: Sequence[str]) -> Subject:
    """Return what a document, a release or others' ingredients tell of a guest.

    Raises SevbuildError where none of the picked targets can be laid out from it.
    """
    from sevbuild.documents.json_input import parse_json
    from sevbuild.reference.peers import is_foreign

    if not os.path.isdir(path):
        from sevbuild.bundle.published import read_document_bytes

        name, data = read_document_bytes(path)
        if is_foreign(parse_json(name, data)):
            return _of_ingredients(name, data, patterns)
    from sevbuild.bundle.published import read_consistent_values

    source, values = read_consistent_values(path)
    return subject_of_values(source, values, patterns)


def known_profiles(subject: Subject) -> list[LaunchProfile]:
    """Return the profiles that a guest may have been launched by: its own, then every shipped one.

    Of those that launch a guest alike the first is named: one comes after those that it is made of.
    """
    from sevbuild.manifest.profiles import load_profile, profile_names

    own = [getattr(start.setup, "profile", None) for start in subject.starts]
    found = {profile.name: profile for profile in own if profile is not None}
    shipped = map(load_profile, profile_names())
    for profile in sorted(shipped, key=lambda profile: len(profile.prose.lineage)):
        found.setdefault(profile.name, profile)
    return list(found.values())


def _setup(guest: Guest, target: Target) -> Setup:
    variant, loader = target.variant, target.profile.rules.loader or ""
    if variant.declared(IGVM) is not None:
        from sevbuild.diagnose.file_launch import FileLaunch

        hashes = guest.kernels.hashes(target)
        signature = target.cpu.signature
        return FileLaunch(guest.igvm.file(variant), loader, target.mode, target.vcpus, signature, hashes)
    if not variant.igvm_parameters:
        return LaidOut(*guest.launch_of(target), target.profile)
    from sevbuild.diagnose.file_launch import FileLaunch
    from sevbuild.guest.foreign import ForeignFile
    from sevbuild.guest.igvm import igvm_file
    from sevbuild.igvm.source import MemorySource

    # What the loader adds to what is laid out stands in the file alone.
    built = igvm_file(target, guest.laid_out(target), guest.firmware(variant))
    return FileLaunch(
        ForeignFile(target.label, source=MemorySource(built)), loader, target.mode, target.vcpus
    )


def _material(guest: Guest, target: Target) -> Material:
    variant = target.variant
    kernel, initrd = (_extent(guest, variant, role) for role in (KERNEL, INITRD))
    firmware = None if variant.declared(IGVM) is not None else guest.firmware(variant)
    material = Material(firmware=firmware.data if isinstance(firmware, Firmware) else None)
    if variant.kernel is None:
        return material
    image = next((declared for declared in variant.inputs if not declared.launched), None)
    found = () if initrd is None else tuple(_parts(initrd))
    return material._replace(
        cmdline=guest.kernels.cmdline(target),
        kernel=None if kernel is None else partial(_contents, guest, kernel),
        initrd=tuple(partial(_contents, guest, part) for part in found),
        counted_cmdline=_counted(guest, target),
        cmdline_key=None if target.cmdline is None or image is not None else target.cmdline.key,
        initrd_names=tuple(part.sources[0].name for part in found if part.part is None),
        image=None if image is None else partial(_contents, guest, Extent(image.sources)),
    )


def _counted(guest: Guest, target: Target) -> Callable[[int], bytes] | None:
    """Return what fills in the command line for another number of vCPUs, None where it has none in it."""
    image_has_it = any(not declared.launched for declared in target.variant.inputs)
    if target.cmdline is None or image_has_it:
        return None
    if "vcpus" not in guest.kernels.template(target.variant, target.cmdline).names:
        return None
    return lambda count: guest.kernels.cmdline(target._replace(vcpus=count))


def _extent(guest: Guest, variant: Variant, role: Role) -> Extent | None:
    """Return the bytes that are launched in a role, None where they are not at hand."""
    declared = variant.declared(role)
    return None if declared is None or not declared.sources else guest.kernels.extent(declared)


def _contents(guest: Guest, extent: Extent) -> Contents:
    paths = [guest.reader.fetched_path(source) for source in extent.sources]
    return FileContents(paths, *(extent.part or ()))


def _parts(extent: Extent) -> Iterator[Extent]:
    """Yield each part of an initrd, as they are launched one after the other."""
    if extent.part is not None:
        yield extent
        return
    for source in extent.sources:
        yield extent._replace(sources=(source,))


def _files(guest: Guest) -> Iterator[tuple[str, str]]:
    """Yield each file of a guest that is at hand, under the name that sentences have for it."""
    for variant in dict.fromkeys(target.variant for target in guest.targets):
        for declared in variant.inputs:
            for _, source in declared.files():
                path = guest.reader.fetched_path(source)
                yield f"the {declared.role.name} {source.basename}", path


def subject_of_values(source: str, values: ReferenceValues, patterns: Sequence[str]) -> Subject:
    """Return what reference values tell of a guest.

    Raises SevbuildError where none of the picked targets can be laid out from it.
    """
    from sevbuild.reference.recompute import Recomputer

    wanted = set(select_labels(patterns, [value.label for value in values.values]))
    recomputer, planner = Recomputer({item.name: item.launch for item in values.profiles}), Planner()
    entries = {entry.name: entry for entry in values.ingredients}
    profiles = {entry.name: _published(entry) for entry in values.profiles}
    starts: list[Start] = []
    others: list[Start] = []
    reasons: dict[str, list[str]] = {}
    for value in values.values:
        entry = entries.get(value.ingredients or "")
        try:
            setup = _laid_out(recomputer, entry, value, profiles)
            setup.plan(planner)
        except SevbuildError as error:
            reasons.setdefault(error.message, []).append(value.label)
            continue
        start = Start(_name(value), setup, value.digest, _published_material(value))
        (starts if value.label in wanted else others).append(start)
    _check_any(source, starts, reasons)
    notes = tuple(
        f"{counted(len(labels), 'target')} left out, such as {labels[0]}: {reason}"
        for reason, labels in reasons.items()
    )
    policies = {_name(value): value.policy for value in values.values}
    return Subject(values.title(), tuple(starts), tuple(others), policies, notes=notes)


def _laid_out(
    recomputer: Recomputer,
    entry: Ingredients | None,
    value: Value,
    profiles: Mapping[str, LaunchProfile],
) -> LaidOut:
    from sevbuild.reference.recompute import NO_INGREDIENTS, own_launch

    if entry is None:
        raise SevbuildError(NO_INGREDIENTS)
    return LaidOut(*own_launch(recomputer, entry, value), profiles[entry.profile])


def _name(value: Value) -> str:
    """Return the label of a value; of several releases also those in which it holds."""
    spans = ", ".join(span.text() for span in value.releases)
    return f"{value.label} ({spans})" if spans else value.label


def _check_any(source: str, starts: Sequence[Start], reasons: Mapping[str, Sequence[str]]) -> None:
    if starts:
        return
    details = [f"{labels[0]}: {reason}" for reason, labels in reasons.items()]
    hint = "give the manifest, the bundle or the IGVM file: `sevbuild explain guest.toml EXPECTED`"
    raise SevbuildError(f"{source}: tells no launch to start from", details=details, hint=hint)


def _published_material(value: Value) -> Material:
    return Material(None if value.cmdline is None else encode_text(value.cmdline))


def _published(profile: PublishedProfile) -> LaunchProfile:
    """Return a profile as a document has it: the shipped one where that launches the same."""
    from sevbuild.manifest.profiles import load_profile, profile_names

    if profile.name in profile_names():
        shipped = load_profile(profile.name)
        if shipped.rules.launch == profile.launch:
            return shipped
    modes = tuple(profile.launch.regions)
    rules = LaunchRules(profile.launch, modes, direct_boot=True, features={})
    prose = ProfileProse(
        summary="as it was published",
        as_of=profile.as_of,
        host_features={},
        advice=(),
        command=LaunchCommand("none", "the profile is of a document", {}),
        raw={},
        sources={},
        lineage=(profile.name,),
        extends=None,
    )
    return LaunchProfile(profile.name, rules, prose)


def _of_ingredients(source: str, data: bytes, patterns: Sequence[str]) -> Subject:
    """Return what others' ingredients tell: one target, of a hypervisor that they do not name."""
    from sevbuild.manifest.profiles import DEFAULT_PROFILE, load_profile
    from sevbuild.reference.recompute import Recomputer, Request, own_launch
    from sevbuild.reference.recompute_request import recompute_document

    result = recompute_document(source, data, Request(), [])
    profile = load_profile(DEFAULT_PROFILE)
    entry = result.ingredients
    if entry is None:
        hint = "`sevbuild recompute` computes other vCPU counts from it"
        raise SevbuildError(f"{source}: a digest of one vCPU tells no launch to start from", hint=hint)
    recomputer = Recomputer({profile.name: profile.rules.launch})
    select_labels(patterns, [item.label for item in result.recomputed])
    starts = tuple(
        Start(item.label, LaidOut(*own_launch(recomputer, entry, item.value), profile), item.digest)
        for item in result.recomputed
    )
    return Subject(os.path.basename(source), starts, notes=tuple(result.notes))

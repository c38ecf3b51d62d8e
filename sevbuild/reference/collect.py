"""From a measured guest to its reference values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.guest.record import InputRecord
from sevbuild.guest.records import cmdline_text, input_records, measured_inputs
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.image.ovmf import Area, Metadata, Section, section_kind_name
from sevbuild.image.svsm import Svsm
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.targets import Target
from sevbuild.manifest.template import parse_template
from sevbuild.reference import model
from sevbuild.text import encode_text, utf8_text

__all__ = ["collect_values"]

_SEEDED = ("firmware", "svsm")
"""Origins of the launch updates that a seed stands for."""


def collect_values(
    guest: Guest,
    measured: Sequence[Measured[Target]],
    *,
    ingredients: bool = True,
    records: Sequence[InputRecord] | None = None,
    published: Mapping[bytes, bytes] | None = None,
) -> model.ReferenceValues:
    """Return the reference values of these measured targets, one set of ingredients a distinct shape.

    Without `ingredients` the inputs and values alone. `records` name the inputs where a publisher named them
    otherwise than the guest at hand does, and `published` maps digests by which it knows them (a seed) to
    those that were published. What an IGVM file brings along has no ingredients. Raises SevbuildError where
    two different profiles have one name.
    """
    targets = [item.target for item in measured]
    records = input_records(guest, targets) if records is None else records
    inputs = tuple(model.Input(*record) for record in records)
    names: dict[tuple[object, ...], str] = {}
    found: list[model.Ingredients] = []
    profiles: dict[str, model.PublishedProfile] = {}
    if ingredients:
        for target in targets:
            # Nothing but the file itself says what a loader adds to it.
            if _key(target) not in names and not target.variant.loads_igvm:
                _add_profile(profiles, target)
                entry = _ingredients(guest, target, published or {})
                names[_key(target)] = _add_ingredients(entry, found)
    values = tuple(_value(guest, item, names.get(_key(item.target))) for item in measured)
    manifest = guest.manifest
    return model.ReferenceValues(
        manifest.name,
        manifest.version,
        inputs,
        values,
        tuple(profiles[name] for name in sorted(profiles)),
        tuple(found),
    )


def _key(target: Target) -> tuple[object, ...]:
    cmdline = "" if target.cmdline is None else target.cmdline.key
    return target.variant, target.mode, target.profile.name, cmdline


def _add_profile(profiles: dict[str, model.PublishedProfile], target: Target) -> None:
    profile = target.profile
    published = model.PublishedProfile(profile.name, profile.prose.as_of, profile.rules.launch)
    if profiles.setdefault(profile.name, published) != published:
        hint = "give one of them another name: reference values must tell them apart"
        raise SevbuildError(f"two different profiles are called {profile.name}", hint=hint)


def _add_ingredients(entry: model.Ingredients, found: list[model.Ingredients]) -> str:
    """Return the name of equal ingredients among those found, under which they were added if they are new."""
    same = next((known for known in found if known._replace(name="") == entry), None)
    if same is None:
        base = f"{entry.mode}/{entry.profile}"
        taken = sum((known.mode, known.profile) == (entry.mode, entry.profile) for known in found)
        same = entry._replace(name=f"{base}/{taken + 1}" if taken else base)
        found.append(same)
    return same.name


def _value(guest: Guest, item: Measured[Target], ingredients: str | None) -> model.Value:
    target = item.target
    kernel = target.variant.kernel
    return model.Value(
        label=target.label,
        mode=target.mode,
        profile=target.profile.name,
        cpu=target.cpu.label,
        signature=target.cpu.signature,
        vcpus=target.vcpus,
        guest_features=target.guest_features,
        policy=target.policy,
        kernel_hashes=kernel is not None and kernel.hashes,
        cmdline=cmdline_text(guest, target),
        order=target.order,
        vmsa_gpa=target.profile.rules.launch.vmsa_gpa if target.mode == "snp" else None,
        digest=item.digest,
        features_origin=target.features_origin,
        policy_origin=target.policy_origin,
        ingredients=ingredients,
        id_block=_id_block(guest, item),
        doubts=item.doubts or None,
    )


def _id_block(guest: Guest, item: Measured[Target]) -> ReportedIdBlock | None:
    """Return what a report of a target shows of its ID block: the manifest's, or a ready file's."""
    if item.target.variant.declared(IGVM) is not None:
        return guest.igvm.reported(item.target)
    return None if guest.id_blocks is None else guest.id_blocks.reported(item.target, item.digest)


def _ingredients(guest: Guest, target: Target, published: Mapping[bytes, bytes]) -> model.Ingredients:
    variant, mode = target.variant, target.mode
    firmware, svsm = guest.firmware(variant), guest.svsm(variant)
    reset, area = firmware.metadata.reset, firmware.metadata.hash_table
    sections = firmware.metadata.sections if mode == "snp" and svsm is None else None
    return model.Ingredients(
        name="",
        mode=mode,
        profile=target.profile.name,
        order=target.order,
        seed=_seed(guest, target),
        metadata=Metadata(
            sections=None if sections is None else _in_launch_order(sections, target),
            reset=reset or None,
            # The size of the area enters nothing.
            hash_table=None if area is None or not area.base else Area(area.base, 0),
        ),
        svsm=None
        if svsm is None
        else Svsm(None, svsm.gpa, svsm.entry, _in_launch_order(svsm.sections, target)),
        kernel=_kernel(guest, target),
        inputs=_inputs(guest, target, published),
    )


def _inputs(guest: Guest, target: Target, published: Mapping[bytes, bytes]) -> dict[str, bytes]:
    # Of an image taken in parts, the parts are what was launched.
    return {
        found.declared.role.launched_as: published.get(found.digest, found.digest)
        for found in measured_inputs(guest, target.variant)
        if found.declared.launched and found.digest is not None
    }


def _in_launch_order(sections: tuple[Section, ...], target: Target) -> tuple[Section, ...]:
    last = target.profile.rules.launch.sections_last
    return tuple(sorted(sections, key=lambda section: section_kind_name(section.kind) in last))


def _seed(guest: Guest, target: Target) -> bytes | None:
    """Return the digest after the pages of firmware and SVSM, None where other data may come before them."""
    if target.mode != "snp" or target.order != "profile":
        return None
    firmware = guest.firmware(target.variant)
    if isinstance(firmware, FirmwareSeed):
        return firmware.seed
    count = sum(update.origin in _SEEDED for update in guest.plan(target).regions)
    return [digest for _, digest in islice(guest.trace(target), count)][-1]


def _kernel(guest: Guest, target: Target) -> model.KernelIngredients | None:
    hashes = guest.kernels.hashes(target)
    if hashes is None:
        return None
    template = guest.kernels.cmdline_template(target)
    fixed = not parse_template(template).names
    # Where the locale has no UTF-8, flags arrive as escaped bytes.
    text = utf8_text(encode_text(template))
    digest = cmdline_digest(guest.kernels.cmdline(target)) if fixed else None
    return model.KernelIngredients(hashes.kernel, hashes.initrd, text, digest)

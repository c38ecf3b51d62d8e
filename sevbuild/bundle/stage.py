"""Measure a guest while its inputs are brought into a bundle, and say what its manifest is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.bundle.document import InputEntry
from sevbuild.bundle.layout import ID_BLOCK_FOLDER, MANIFEST, profile_path, target_folders
from sevbuild.bundle.resolve import Placed, VariantFiles, resolved_manifest, resolved_profile
from sevbuild.bundle.store import Store
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.guest.record import InputRecord
from sevbuild.guest.records import input_records
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.inputs import CMDLINE, FIRMWARE, SVSM, DeclaredInput, launched_as
from sevbuild.manifest.model import DeclaredIdBlock, Variant
from sevbuild.manifest.path_keys import is_profile_path
from sevbuild.manifest.targets import Target
from sevbuild.manifest.template import Template, escape, parse_template
from sevbuild.manifest.unused import takes_host_data, takes_machine
from sevbuild.text import decode_text, encode_text, utf8_text

if TYPE_CHECKING:
    from sevbuild.identity.signed_block import SignedBlock

__all__ = ["Staged", "stage_inputs"]


class Staged(NamedTuple):
    """What was measured, the text of the bundle's guest.toml, and the inputs as they were named."""

    measured: list[Measured[Target]]
    manifest: str
    inputs: list[InputEntry]


def stage_inputs(guest: Guest, targets: Sequence[Target], store: Store, *, firmware: bool) -> Staged:
    """Measure these targets, have the store keep what they are made of, and write guest.toml and profiles.

    Without `firmware`, a firmware is left out where its seed can stand for it.
    """
    variants = list(dict.fromkeys(target.variant for target in targets))
    for variant in variants:
        for declared in variant.inputs:
            extent = guest.kernels.extent(declared) if _is_streamed(declared) else None
            if extent is not None:
                store.expect(guest, declared, extent)
    measured = guest.measure(targets)
    stage = _Stage(guest, store, firmware=firmware)
    stage.id_blocks(measured)
    resolved = [(variant, stage.variant(variant, guest.targets_of(variant)[0])) for variant in variants]
    text = resolved_manifest(guest.manifest, resolved)
    store.write(MANIFEST, "manifest", text.encode())
    return Staged(measured, text, stage.inputs(targets))


def _is_streamed(declared: DeclaredInput) -> bool:
    """Tell whether an input is launched from files that are hashed without being held in memory."""
    return declared.launched and bool(declared.sources) and not declared.role.held


class _Stage:
    def __init__(self, guest: Guest, store: Store, *, firmware: bool) -> None:
        self._guest = guest
        self._store = store
        self._keep_firmware = firmware
        self._seeds: dict[bytes, bytes] = {}
        self._profiles: dict[LaunchProfile, str] = {}
        self._unmeasured: list[InputEntry] = []
        self._declared_id_blocks: dict[Variant, DeclaredIdBlock] = {}

    def id_blocks(self, measured: Sequence[Measured[Target]]) -> None:
        """Write the ID block of each target that has one; what two targets share lies with the first."""
        blocks = self._guest.id_blocks
        if blocks is None:
            return
        from sevbuild.guest.id_blocks import AUTH_FILE, BLOCK_FILE

        folders = target_folders((item.label for item in measured), ID_BLOCK_FOLDER)
        placed: set[SignedBlock] = set()
        for item in measured:
            variant = item.target.variant
            signed = blocks.signed(item.target, item.digest)
            reported = blocks.reported(item.target, item.digest)
            if reported is None or variant.id_block is None:
                continue
            self._declared_id_blocks[variant] = DeclaredIdBlock(
                variant.id_block.family_id,
                variant.id_block.image_id,
                variant.id_block.guest_svn,
                key_digest=reported.id_key_digest,
                author_key_digest=reported.author_key_digest,
                signed=None if signed is None else ID_BLOCK_FOLDER,
            )
            if signed is not None and signed not in placed:
                placed.add(signed)
                folder = folders[item.label]
                self._store.write(f"{folder}/{BLOCK_FILE}", "id_block", signed.block.encode())
                self._store.write(f"{folder}/{AUTH_FILE}", "id_auth", signed.auth.encode())

    def variant(self, variant: Variant, target: Target) -> VariantFiles:
        """Place the inputs of a variant; `target` is any one of its targets."""
        seed: FirmwareSeed | None = None
        placed: list[tuple[DeclaredInput, Placed]] = []
        vars_size = self._vars_size(variant)
        for declared in variant.inputs:
            kept: FirmwareSeed | Placed | None = (
                self._firmware(declared, variant, target)
                if declared.role is FIRMWARE
                else self._place(declared)
            )
            if isinstance(kept, FirmwareSeed):
                seed = kept
            elif kept is not None:
                placed.append((declared, kept))
                if declared.role.sized and kept.size != vars_size:
                    raise SevbuildError(f"{declared.name}: changed while it was read")
        templates = self._templates(variant, target)
        targets = self._guest.targets_of(variant)
        return VariantFiles(
            seed=seed,
            placed=placed,
            vars_size=vars_size,
            profiles=self._profile_names(variant),
            cmdlines=templates,
            cmdline_file=self._cmdline_file(templates),
            host_data=variant.host_data if any(map(takes_host_data, targets)) else None,
            machine=variant.machine if any(map(takes_machine, targets)) else None,
            id_block=self._declared_id_blocks.get(variant),
        )

    def inputs(self, targets: Sequence[Target]) -> list[InputEntry]:
        """Return the inputs of the targets, the measured ones in the order of the reference values."""
        records = input_records(self._guest, targets)
        return [self._entry(record) for record in records] + sorted(set(self._unmeasured), key=str)

    def _entry(self, record: InputRecord) -> InputEntry:
        if record.algorithm == "seed":
            return InputEntry(record.role, record.name, record.size, None, record.digest, None, measured=True)
        # A unified image taken as the kernel is launched as one.
        role = launched_as(record.role)
        path = self._store.path_of(role, record.digest)
        seed = self._seeds.get(record.digest) if record.role == "firmware" else None
        return InputEntry(record.role, record.name, record.size, record.digest, seed, path, measured=True)

    def _place(self, declared: DeclaredInput) -> Placed | None:
        """Keep an input, and note one that enters no digest; None for what is not launched as a file."""
        role, reader = declared.role.launched_as, self._guest.reader
        if not declared.launched or declared.role is CMDLINE:
            return None
        if not declared.sources:
            return self._store.place_digest(role, declared.pin or b"")
        if declared.role.held:
            (source,) = declared.sources
            data = reader.read(source, declared.role.limit)
            kept = self._store.place_bytes(role, reader.fetched_path(source), data)
        else:
            extent = self._guest.kernels.extent(declared)
            if extent is None:
                return None
            kept = self._store.place(self._guest, declared, extent)
        if not declared.measured:
            name = "+".join(source.basename for source in declared.sources)
            file = self._store.path_of(role, kept.sha256)
            entry = InputEntry(role, name, kept.size, kept.sha256, None, file, measured=False)
            self._unmeasured.append(entry)
        return kept

    def _firmware(self, declared: DeclaredInput, variant: Variant, target: Target) -> Placed | FirmwareSeed:
        """Keep the firmware of a variant, or return the seed in its place."""
        firmware = self._guest.firmware(variant)
        if isinstance(firmware, FirmwareSeed):
            return firmware
        # A seed is an SNP digest, of a launch that begins with the firmware's pages alone.
        targets = self._guest.targets_of(variant)
        replaceable = variant.declared(SVSM) is None and all(
            (target.mode, target.order) == ("snp", "profile") for target in targets
        )
        keep = self._keep_firmware or not replaceable
        path = self._guest.reader.fetched_path(declared.sources[0])
        placed = self._store.place_bytes("firmware", path, firmware.data, keep=keep)
        if keep:
            return placed
        self._seeds[placed.sha256] = seed = self._guest.seed(target)
        return FirmwareSeed(seed, firmware.metadata)

    def _vars_size(self, variant: Variant) -> int:
        """Return the bytes between the SVSM of a variant and its firmware, 0 without one."""
        if variant.declared(SVSM) is None:
            return 0
        svsm, firmware = self._guest.svsm(variant), self._guest.firmware(variant)
        if svsm is None or svsm.data is None or isinstance(firmware, FirmwareSeed):
            return 0
        return firmware.gpa - svsm.gpa - len(svsm.data)

    def _templates(self, variant: Variant, target: Target) -> dict[str | None, Template]:
        kernel = variant.kernel
        if kernel is None:
            return {}
        if kernel.uki_as == "parts":
            line = decode_text(self._guest.kernels.cmdline(target))
            return {None: parse_template(escape(line))}
        return {
            cmdline.name: self._guest.kernels.template(variant, cmdline)
            for cmdline in kernel.cmdlines
            if cmdline.text is not None or variant.declared(CMDLINE) is not None
        }

    def _cmdline_file(self, templates: dict[str | None, Template]) -> str | None:
        """Keep a command line that is no text in a file, and return its path."""
        lines = [encode_text(template.text) for template in templates.values()]
        odd = next((line for line in lines if utf8_text(line) is None), None)
        return None if odd is None else self._store.place_bytes("cmdline", "", odd).path

    def _profile_names(self, variant: Variant) -> tuple[str, ...]:
        """Return the names of the variant's profiles, those given by path written into the bundle."""
        profiles = dict.fromkeys(target.profile for target in self._guest.targets_of(variant))
        names = []
        for name, profile in zip(variant.profiles, profiles, strict=True):
            if not is_profile_path(name):
                names.append(name)
                continue
            if profile not in self._profiles:
                path = profile_path(len(self._profiles))
                self._store.write(path, "profile", resolved_profile(profile).encode())
                self._profiles[profile] = path
            names.append(self._profiles[profile])
        return tuple(names)

"""A declared guest: its targets, their launch plans and launch digests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sevbuild.errors import Notice, SevbuildError, within
from sevbuild.fs import is_regular, read_range, read_standard_text, read_text
from sevbuild.guest.inputs import FoundInput, InputReader, Network, refuse_missing
from sevbuild.guest.kernel import KernelReader
from sevbuild.guest.measured import Measured
from sevbuild.guest.notices import firmware_notices, target_doubts, target_notices
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Firmware
from sevbuild.image.svsm import Svsm, place_svsm
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.inputs import FIRMWARE, IGVM, SVSM, VARS, DeclaredInput
from sevbuild.manifest.model import Manifest, Variant
from sevbuild.manifest.targets import Target, expand
from sevbuild.measure.tree import LaunchTree

if TYPE_CHECKING:
    from sevbuild.guest.id_blocks import IdBlocks
    from sevbuild.guest.igvm import IgvmGuest
    from sevbuild.manifest.vary import Variation

__all__ = ["Guest", "load_guest"]


class Guest:
    """One declared guest for one run: inputs are read when they are first needed, and once.

    `reader` reads them, `kernels` knows what kernels, initrds and command lines were read as.
    """

    def __init__(self, manifest: Manifest, network: Network | None = None) -> None:
        self.manifest = manifest
        self.targets = expand(manifest)
        self.reader = InputReader(manifest.directory, network)
        self.kernels = KernelReader(self.reader)
        self._igvm: IgvmGuest | None = None
        self._has_id_blocks = any(variant.id_block for variant in manifest.variants)
        self._id_blocks: IdBlocks | None = None
        if any(variant.loads_igvm for variant in manifest.variants):
            self.targets = self.igvm.resolved(self.targets)
        self.notices: list[Notice] = target_notices(self.targets)
        self._planner = Planner()
        self._tree = LaunchTree()
        self._of: dict[Variant, list[Target]] = {}
        self._firmware: dict[Variant, Firmware | FirmwareSeed] = {}
        self._svsm: dict[Variant, Svsm | None] = {}
        self._seen_notices: set[Notice] = set()

    @property
    def igvm(self) -> IgvmGuest:
        """Return what plans and builds this guest's IGVM files."""
        if self._igvm is None:
            # Only guests that load such a file need to know the format.
            from sevbuild.guest.igvm import IgvmGuest

            self._igvm = IgvmGuest(self.reader, self.kernels)
        return self._igvm

    @property
    def id_blocks(self) -> IdBlocks | None:
        """Return what signs or finds this guest's ID blocks, None where its manifest declares none."""
        if self._id_blocks is None and self._has_id_blocks:
            # Only guests that have one need to know of keys.
            from sevbuild.guest.id_blocks import IdBlocks

            self._id_blocks = IdBlocks(self.manifest)
        return self._id_blocks

    def select(self, patterns: Sequence[str]) -> list[Target]:
        """Return the targets that these patterns pick, each once, or all for none; raises SevbuildError."""
        if not patterns:
            return list(self.targets)
        from sevbuild.manifest.selection import select

        return select(patterns, self.targets)

    def varied(self, target: Target, variation: Variation) -> Target:
        """Return a target with one setting or several otherwise, for which nothing is read again.

        It is not among the targets of this guest, but `plan`, `trace` and `measure` take it like these.
        Raises SevbuildError for what could not be launched so.
        """
        # Only who looks for differences asks what would be otherwise.
        from sevbuild.manifest.vary import vary

        varied = vary(target, variation)
        return self.igvm.resolved([varied])[0] if varied.variant.loads_igvm else varied

    def targets_of(self, variant: Variant) -> Sequence[Target]:
        """Return the targets of a variant, in their order."""
        if not self._of:
            for target in self.targets:
                self._of.setdefault(target.variant, []).append(target)
        return self._of.get(variant, ())

    def firmware(self, variant: Variant) -> Firmware | FirmwareSeed:
        """Return the firmware of a variant, checked against its pin."""
        found = self._firmware.get(variant)
        if found is None:
            declared, found = variant.declared(FIRMWARE), variant.seed
            if declared is None:
                raise SevbuildError("the manifest names no firmware")
            if found is None:
                found = self.reader.firmware(declared)
                self._notice(firmware_notices(variant, found, self.targets_of(variant)))
            self._firmware[variant] = found
        return found

    def found(self, declared: DeclaredInput) -> FoundInput | None:
        """Return size and digest of an input, None for a part that its image does not have.

        It is read if it was not. Raises MismatchError where it is not the pinned one.
        """
        return self.kernels.found(declared)

    def svsm(self, variant: Variant) -> Svsm | None:
        """Return the SVSM of a variant in its place below the firmware, or None."""
        if variant not in self._svsm:
            self._svsm[variant] = self._place_svsm(variant)
        return self._svsm[variant]

    def plan(self, target: Target) -> LaunchPlan:
        """Return the launch plan of one target; raises SevbuildError naming the target."""
        if not target.variant.loads_igvm:
            return self.laid_out(target)
        if target.variant.declared(IGVM) is not None:
            return self.igvm.ready_plan(target)
        return self.igvm.built_plan(target, self.laid_out(target), self.firmware(target.variant))

    def laid_out(self, target: Target) -> LaunchPlan:
        """Return the launch plan that the target's inputs and its profile make.

        An IGVM file is built from it; what its loader then launches may have parameters in addition.
        """
        inputs, shape = self.launch_of(target)
        with within(target.label):
            return self._planner.plan(inputs, shape)

    def launch_of(self, target: Target) -> tuple[GuestInputs, LaunchShape]:
        """Return what a target's launch is laid out from: the inputs, and everything else it depends on."""
        variant = target.variant
        inputs = GuestInputs(self.firmware(variant), self.svsm(variant), self.kernels.hashes(target))
        shape = LaunchShape(
            mode=target.mode,
            launch=target.profile.rules.launch,
            order=target.order,
            policy=target.policy,
            vcpus=target.vcpus,
            signature=target.cpu.signature,
            guest_features=target.guest_features or 0,
        )
        return inputs, shape

    def measure(self, targets: Sequence[Target] | None = None) -> list[Measured[Target]]:
        """Return the launch digests of these targets, of all for None, in their order."""
        targets = self.targets if targets is None else targets
        self._begin(targets)
        planned = [(target, self.plan(target)) for target in targets]
        self._tree.announce([plan for _, plan in planned])
        # Of one profile and the same inputs there can be thousands of targets.
        alike = {(t.variant, t.profile): t for t in targets}
        doubts = {key: target_doubts(target) for key, target in alike.items()}
        measured = [
            Measured(t, plan, self._digest(t, plan), doubts[t.variant, t.profile]) for t, plan in planned
        ]
        self._notice(self.kernels.notices)
        if self._igvm is not None:
            self._notice(self._igvm.notices())
        return measured

    def check_inputs(self) -> None:
        """Read every input and lay out every target, without computing a launch digest."""
        self._start(self.manifest.variants)
        self.kernels.check_names(self.manifest.variants)
        for target in self.targets:
            self.plan(target)
        self._notice(self.kernels.notices)
        if self.id_blocks is not None:
            for variant in self.manifest.variants:
                self._notice([*self.id_blocks.check(variant)])

    def trace(self, target: Target) -> Iterator[tuple[LaunchUpdate, bytes]]:
        """Yield each launch update of a target with the launch digest after it."""
        self._begin([target])
        plan = self.plan(target)
        self._notice(self.kernels.notices)
        return self._tree.trace(plan)

    def seed(self, target: Target) -> bytes:
        """Return the launch digest of a target after its firmware alone."""
        firmware = self.firmware(target.variant)
        if isinstance(firmware, FirmwareSeed):
            return firmware.seed
        if target.order != "profile":
            hint = "in canonical order other regions come first"
            raise SevbuildError(f"{target.label}: the firmware is not launched first", hint=hint)
        plan = LaunchPlan(target.mode, target.policy, None, (self._planner.firmware_update(firmware),), ())
        return [digest for _, digest in self._tree.trace(plan)][-1]

    def _begin(self, targets: Sequence[Target]) -> None:
        """Start what can run beside the rest: kernel files in threads, then the firmware's pages here."""
        self._start(list(dict.fromkeys(target.variant for target in targets)))
        firmware_first = [t for t in targets if t.order == "profile"]
        for target in {(t.mode == "snp", t.variant): t for t in firmware_first}.values():
            declared = target.variant.declared(FIRMWARE)
            firmware = None if declared is None else self.firmware(target.variant)
            if isinstance(firmware, Firmware):
                update = self._planner.firmware_update(firmware)
                self._tree.prime(LaunchPlan(target.mode, target.policy, None, (update,), ()))
        self.kernels.check_names(self.manifest.variants)

    def _start(self, variants: Sequence[Variant]) -> None:
        """Begin to hash what these variants name, once all of it is known to be there."""
        refuse_missing(variants, self.reader)
        for variant in variants:
            self.kernels.start(variant)

    def _digest(self, target: Target, plan: LaunchPlan) -> bytes:
        with within(target.label):
            return self._tree.digest(plan)

    def _place_svsm(self, variant: Variant) -> Svsm | None:
        declared, store = variant.declared(SVSM), variant.declared(VARS)
        if declared is None:
            return None
        firmware = self.firmware(variant)
        if isinstance(firmware, FirmwareSeed):
            raise SevbuildError("an SVSM requires the firmware file: it is placed below it")
        (source,) = declared.sources
        data = self.reader.read(source, SVSM.limit)
        if declared.pinned:
            self.found(declared)
        size = variant.vars_size if store is None else self.reader.size(store.sources[0])
        with within(declared.name):
            return place_svsm(data, firmware_gpa=firmware.gpa, vars_size=size or 0)

    def _notice(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice not in self._seen_notices:
                self._seen_notices.add(notice)
                self.notices.append(notice)


def load_guest(
    path: str, *, settings: Mapping[str, Any] | None = None, network: Network | None = None
) -> Guest:
    """Return the guest declared in a manifest file; `-` reads standard input.

    `settings` maps dotted TOML paths to values that override the file; `network` says whether inputs may be
    fetched. Raises FaultsError with every fault of the manifest, SevbuildError where it cannot be read.
    """
    if path == "-":
        return Guest(
            decode_manifest(read_standard_text(), "stdin", directory=".", settings=settings), network
        )
    directory = os.path.dirname(path) or "."
    try:
        text = read_text(path)
    except SevbuildError as error:
        _refuse_stranger(path)
        error.hint = error.hint or _reading_hint(path)
        raise
    try:
        return Guest(decode_manifest(text, path, directory=directory, settings=settings), network)
    except SevbuildError:
        # An archive can begin with letters alone, and is no TOML.
        _refuse_stranger(path)
        raise


def _reading_hint(path: str) -> str:
    """Return what to do where nothing at a path could be read as a manifest."""
    import shlex

    if not os.path.exists(path):
        return f"`sevbuild init {shlex.quote(path)}` writes one to start from"
    if not os.path.isdir(path):
        return "a manifest is TOML; `sevbuild inspect` recognizes many other files"
    inside = os.path.join(path, "guest.toml")
    return "a manifest is a file" + (f", such as {inside}" if os.path.isfile(inside) else "")


def _refuse_stranger(path: str) -> None:
    """Raise SevbuildError where a file that could not be read as a manifest is known to be another thing."""
    if not is_regular(path):
        return
    from sevbuild.kind import HEAD_SIZE, KINDS, another_thing, kind_of

    head = read_range(path, 0, HEAD_SIZE)
    thing = another_thing(head)
    if thing is not None:
        hint = "a manifest names it under one of its keys; `sevbuild inspect` shows what is in it"
        if kind_of(head) == KINDS["igvm"]:
            hint = (
                "`measure`, `plan` and `inspect` take one as it is, `measure -f json` turns it into reference values; "
                "a manifest names it under igvm.path"
            )
        raise SevbuildError(f"{path} is {thing}, not a manifest", hint=hint)

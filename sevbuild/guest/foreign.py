"""A ready IGVM file: what each loader makes of it, and the launch digests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from sevbuild.errors import Notice, SevbuildError, within
from sevbuild.fs import FileSource
from sevbuild.guest.inputs import read_hashed
from sevbuild.guest.measured import Measured
from sevbuild.guest.page_workers import PageWorkers
from sevbuild.guest.record import InputRecord
from sevbuild.igvm.doubt import Doubt
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import Loaded, LoadRequest
from sevbuild.igvm.loaders import LOADERS, loader_named
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.platforms import file_modes
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import ByteSource
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.launch.mode import Mode
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from sevbuild.manifest.inputs import PathSource
from sevbuild.manifest.model import Cpu
from sevbuild.manifest.selection import select
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.measure.tree import LaunchTree
from sevbuild.progress import Progress
from sevbuild.text import encode_text

__all__ = [
    "ForeignFile",
    "ForeignLaunch",
    "GivenKernel",
    "Refused",
    "given_kernel",
]


class ForeignLaunch(NamedTuple):
    """What a launch adds to a file, as the command line says it.

    `loaders` are names, none for all. `mode` picks a platform of the file, None for the strongest that each
    loader takes. `cpu` is that of vCPUs which the file does not describe. `kernel_hashes` are those of the
    kernel that the loader itself is given.
    """

    loaders: Sequence[str] = ()
    mode: Mode | None = None
    vcpus: int | None = None
    cpu: Cpu | None = None
    kernel_hashes: KernelHashes | None = None

    @property
    def signature(self) -> int | None:
        """Return the signature of vCPUs which the file does not describe, None where no CPU is given."""
        return None if self.cpu is None else self.cpu.signature


class GivenKernel(NamedTuple):
    """The kernel that a loader is given beside the file: its digests, its files, its command line."""

    hashes: KernelHashes
    records: tuple[InputRecord, ...]
    cmdline: bytes


class Refused(NamedTuple):
    """A loader that takes no such file, and why."""

    loader: str
    reason: str


class ForeignFile:
    """One IGVM file for one run; its pages are read when they are hashed, and not kept."""

    def __init__(self, path: str, progress: Progress | None = None, source: ByteSource | None = None) -> None:
        """Read the headers of the file at `path`, or of `source`: one that is built, which no path has."""
        self.path = path
        self._progress = progress
        self._source: ByteSource = FileSource(path) if source is None else source
        with within(path):
            self.file = read_igvm(self._source)
        self.notices = [Notice("warning", path, line) for line in self.file.warnings]
        self._maker = UpdateMaker(self._source)
        self._hasher = PageWorkers(None if progress is None else partial(progress, path))
        self._tree = LaunchTree(self._hasher)

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return PathSource(self.path).basename

    @property
    def size(self) -> int:
        """Return the bytes of the file."""
        return self._source.size

    def sha256(self) -> bytes:
        """Return the SHA-256 of the file."""
        return read_hashed([self.path], progress=self._progress).sha256

    def launches(self, launch: ForeignLaunch, patterns: Sequence[str] = ()) -> list[Measured[Loaded]]:
        """Return the launch digests that loaders give the file, of the targets that these patterns pick.

        Who refuses the file, and what speaks against each launch, are notices afterwards. Raises
        SevbuildError where nobody takes the file, and for a CPU that no vCPU starts as.
        """
        loaded, refused = self.load(launch)
        measured, stopped = self.measure(select(patterns, loaded) if patterns and loaded else loaded)
        if not measured:
            reasons = [f"{item.loader}: {item.reason}" for item in (*refused, *stopped)]
            raise SevbuildError(f"{self.path}: no loader can load this file:", details=reasons)
        if launch.cpu is not None and not any(item.target.takes_signature for item in measured):
            message = f"--cpu {launch.cpu.label}: no vCPU uses it, the file describes them"
            hint = "leave it out; --vcpus N starts more vCPUs than the file describes, if the loader can"
            raise SevbuildError(message, hint=hint)
        self._note(measured, [*refused, *stopped])
        return measured

    def load(self, launch: ForeignLaunch) -> tuple[list[Loaded], list[Refused]]:
        """Return what loaders make of the file, and who refuses it."""
        names = list(dict.fromkeys(launch.loaders)) or list(LOADERS)
        if "all" in names:
            names = list(LOADERS)
        if launch.vcpus is not None and not 1 <= launch.vcpus <= MAX_VCPUS:
            raise SevbuildError(f"--vcpus {launch.vcpus}: a guest has 1 to {MAX_VCPUS}")
        self._check_mode(launch.mode)
        signature = launch.signature
        loaded, refused = [], []
        for loader in [loader_named(name) for name in names]:
            hashes = launch.kernel_hashes
            if loader.hash_page is None and len(names) > 1:
                # Where all are asked, those that write no hashes launch the file as it is.
                hashes = None
            request = LoadRequest(launch.mode, launch.vcpus, None, hashes)
            if signature is not None and loader.reset_profile is not None:
                reset_state = partial(_reset_state, loader.reset_profile, signature)
                request = request._replace(reset_state=reset_state)
            try:
                loaded.append(load(self.file, loader, self._maker, request))
            except SevbuildError as error:
                if len(names) == 1:
                    raise error.within(f"{self.path}: {loader.name}") from None
                refused.append(Refused(loader.name, error.message))
        return loaded, refused

    def _check_mode(self, wanted: Mode | None) -> None:
        """Raise SevbuildError if the file lacks the mode that was asked for; note a choice left open."""
        has = file_modes(self.file)
        if wanted is not None and wanted not in has:
            hint = f"it has {', '.join(has)}" if has else "none of its platforms is measured here"
            raise SevbuildError(f"--mode {wanted}: {self.path} has no such platform", hint=hint)
        if wanted is None and len(has) > 1:
            message = f"the file has platforms for {', '.join(has)}: each loader takes the strongest it knows"
            self.notices.append(Notice("note", self.path, message, f"--mode {'|'.join(has)} picks one"))

    def measure(self, loaded: Sequence[Loaded]) -> tuple[list[Measured[Loaded]], list[Refused]]:
        """Return the launch digests, and whose plan the secure processor refuses."""
        plans = [item.plan for item in loaded]
        self._tree.announce(plans)
        measured, refused = [], []
        with closing(self._hasher):
            self._hasher.start(plans)
            for item in loaded:
                try:
                    digest = self._tree.digest(item.plan)
                except SevbuildError as error:
                    if len(loaded) == 1:
                        raise error.within(f"{self.path}: {item.loader.name}") from None
                    refused.append(Refused(item.loader.name, error.message))
                    continue
                doubts = (*item.doubts, *self._id_block_doubts(item, digest))
                measured.append(Measured(item, item.plan, digest, doubts))
        return measured, refused

    def trace(self, plan: LaunchPlan) -> Iterator[tuple[LaunchUpdate, bytes]]:
        """Yield each launch update of a plan with the launch digest after it."""
        return self._tree.trace(plan)

    def _note(self, measured: Sequence[Measured[Loaded]], refused: Sequence[Refused]) -> None:
        """Collect as notices who refuses the file, and what speaks against each launch."""
        self.notices += [
            Notice("note", item.loader, f"cannot load this file: {item.reason}") for item in refused
        ]
        for item in measured:
            for doubt in item.doubts:
                kind = doubt.kind.replace("-", " ")
                self.notices.append(Notice("warning", item.label, f"{kind}: {doubt.reason}"))
            if item.target.loader.launches and not item.target.policy_given:
                reason = f"the file has no policy; the default is used, {item.plan.policy:#x}"
                self.notices.append(Notice("note", item.label, reason))

    @staticmethod
    def _id_block_doubts(loaded: Loaded, digest: bytes) -> Iterator[Doubt]:
        if loaded.plan.mode != "snp" or not loaded.loader.launches:
            return
        for header in loaded.id_blocks:
            # Few files have one, and only those need to know of keys.
            from sevbuild.identity.igvm_block import given_block

            refusal = given_block(header, loaded.plan.policy).refusal()
            if header.ld != digest:
                reason = f"the file's ID block is for launch digest {header.ld.hex()[:16]}..."
                yield Doubt("cannot-boot", reason)
            elif refusal is not None:
                reason = f"the file's ID block is refused, {refusal[0].name}: {refusal[1]}"
                yield Doubt("cannot-boot", reason)


def _reset_state(profile: str, signature: int, features: int) -> bytes:
    """Return the VMSA of a vCPU that no file describes: a profile's first vCPU, with these SEV_FEATURES.

    With IGVM, QEMU parses no firmware and knows of no entry but the reset vector (QEMU 10.2
    target/i386/igvm.c).
    """
    from sevbuild.manifest.profiles import load_profile
    from sevbuild.vcpu.reset import initial_vmsa

    launch = load_profile(profile).rules.launch
    # SNP_ACTIVE, bit 0, is set in SNP guests and in no other.
    state = launch.vcpu_state("snp" if features & 1 else "sev-es", "bsp")
    return initial_vmsa(state, entry=int(launch.entry["bsp"]), signature=signature, guest_features=features)


def given_kernel(
    kernel: str, initrd: str | None, cmdline: str, progress: Progress | None = None
) -> GivenKernel:
    """Return what a kernel, an initrd where there is one, and a command line come to."""
    records = tuple(
        InputRecord(role, PathSource(path).basename, hashed.size, "sha256", hashed.sha256)
        for role, path in (("kernel", kernel), ("initrd", initrd))
        if path is not None
        for hashed in [read_hashed([path], progress=progress)]
    )
    digests = {record.role: record.digest for record in records}
    command = encode_text(cmdline)
    hashes = KernelHashes(
        digests["kernel"], digests.get("initrd", EMPTY_INITRD_DIGEST), cmdline_digest(command)
    )
    return GivenKernel(hashes, records, command)

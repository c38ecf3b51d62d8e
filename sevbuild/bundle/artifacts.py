"""What a bundle has for each target beside its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from sevbuild.documents.json_text import json_bytes
from sevbuild.errors import Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.guest.trace import ContentsDigests, plan_document
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.targets import Target

__all__ = ["Artifact", "Artifacts"]


class Artifact(NamedTuple):
    """One file made for a target; `role` is what bundle.json calls it in the target's `files`.

    `earlier` makes it as it was written before, where a bundle with that file is still consistent.
    """

    role: str
    name: str
    data: bytes
    earlier: Callable[[], bytes] | None = None


class Artifacts:
    """The files that a bundle has for each target of a guest, beside its inputs.

    `verify` makes them again, so their bytes depend on what is given here and in `made_for`, and on nothing
    else. The guest may know inputs by their digests alone.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._contents_digests: ContentsDigests = {}

    def made_for(
        self, measured: Measured[Target], files: Mapping[str, str], folder: str
    ) -> Iterator[Artifact]:
        """Yield the files of one target.

        `files` maps the roles of inputs to paths in the bundle; `folder` is the target's own. The path of
        what was yielded is to be among `files` before the next one is asked for: commands name what was made.
        """
        target = measured.target
        document = plan_document(self._guest, target, self._contents_digests)
        yield Artifact("plan", "plan.json", json_bytes(document))
        yield from _vmsas(measured.plan)
        yield from _kernel_hashes(measured.plan)
        if target.profile.rules.loader is not None and target.variant.declared(IGVM) is None:
            yield self._igvm(measured)
        yield from self._commands(measured, files, folder)

    def _igvm(self, measured: Measured[Target]) -> Artifact:
        """Return the IGVM file that the target's loader replays, where no ready one is among the inputs."""
        # Only guests that load such a file need to know the format.
        from sevbuild.guest.igvm import igvm_file

        guest, target = self._guest, measured.target
        header = None
        if guest.id_blocks is not None:
            from sevbuild.identity.igvm_block import id_block_header

            signed = guest.id_blocks.signed(target, measured.digest)
            header = None if signed is None else id_block_header(signed)
        data = igvm_file(target, guest.laid_out(target), guest.firmware(target.variant), header)
        return Artifact("igvm", "guest.igvm", data)

    def _commands(
        self, measured: Measured[Target], files: Mapping[str, str], folder: str
    ) -> Iterator[Artifact]:
        """Yield the commands that launch the target."""
        from sevbuild.commands.files import earlier_domain, launch_files
        from sevbuild.commands.launch import ROLES

        launched = {role: path for role, path in files.items() if role in ROLES}
        guest, target = self._guest, measured.target
        try:
            made = launch_files(guest, target, launched, folder=folder, digest=measured.digest)
        except SevbuildError as error:
            # The guest can be measured and bundled all the same.
            guest.notices.append(Notice("warning", target.label, error.message, error.hint))
            return
        for name, data in made.items():
            domain = name == "libvirt.xml"
            earlier = partial(earlier_domain, guest, target, launched, folder) if domain else None
            yield Artifact(_COMMAND_ROLES[name], name, data, earlier)


def _vmsas(plan: LaunchPlan) -> Iterator[Artifact]:
    """Yield vmsa0.bin (boot processor) and vmsa1.bin (all others), as virt-qemu-sev-validate takes them."""
    for vcpu, update in enumerate(plan.vmsas[:2]):
        if update.data is not None:
            yield Artifact(f"vmsa{vcpu}", f"vmsa{vcpu}.bin", _bytes(update.data))


def _kernel_hashes(plan: LaunchPlan) -> Iterator[Artifact]:
    """Yield the 4096-byte page with the kernel hashes, and the bare table where that is what is launched."""
    for update in plan.regions:
        if update.data is None or not update.origin.endswith(_HASHES):
            continue
        page = _bytes(update.data)
        if update.length != PAGE_SIZE:
            yield Artifact("kernel_hashes_table", "kernel-hashes-table.bin", page)
            page = bytes(update.gpa % PAGE_SIZE) + page
        if len(page) <= PAGE_SIZE:
            yield Artifact("kernel_hashes_page", "kernel-hashes-page.bin", page.ljust(PAGE_SIZE, b"\0"))


_COMMAND_ROLES = {
    "qemu.json": "qemu_arguments",
    "launch.sh": "launch_script",
    "libvirt.xml": "libvirt_domain",
    "validate.sh": "validate_script",
}


def _bytes(data: Contents) -> bytes:
    return b"".join(chunks(data))


_HASHES = ("kernel-hashes", "(kernel-hashes)", "kernel-hashes page")

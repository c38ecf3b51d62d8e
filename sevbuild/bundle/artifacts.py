"""What a bundle has for each target beside its inputs: one producer a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from sevbuild.documents.json_text import json_bytes
from sevbuild.errors import Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.measured import Measured
from sevbuild.guest.trace import plan_document
from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.launch.region_data import Contents, chunks
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.targets import Target

__all__ = ["PRODUCERS", "Artifact", "ArtifactProducer"]


class Artifact(NamedTuple):
    """One file made for a target; `role` is what bundle.json calls it in the target's `files`.

    `earlier` makes it as it was written before, where a bundle with that file is still consistent.
    """

    role: str
    name: str
    data: bytes
    earlier: Callable[[], bytes] | None = None


class ArtifactProducer(Protocol):
    """What makes files of one target.

    `files` maps roles (`firmware`, `kernel`, `initrd`, `svsm`, `vars`, and what earlier producers made) to
    paths in the bundle; `folder` is the target's own. The bytes may depend on nothing else than these
    arguments, because `verify` makes them again. `guest` may know inputs by their digests alone.
    """

    def __call__(
        self, guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
    ) -> Iterable[Artifact]:
        """Yield the files of one target."""


class _Plans:
    """The producer of plan.json; contents digests are kept while the guest is the same."""

    def __init__(self) -> None:
        self._guest: Guest | None = None
        self._known: dict[bool, dict[Contents, str]] = {}

    def __call__(
        self, guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
    ) -> Iterable[Artifact]:
        del files, folder
        if guest is not self._guest:
            self._guest, self._known = guest, {True: {}, False: {}}
        target = measured.target
        document = plan_document(guest, target, self._known[target.mode == "snp"])
        yield Artifact("plan", "plan.json", json_bytes(document))


def _vmsas(
    guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
) -> Iterable[Artifact]:
    """Make vmsa0.bin (boot processor) and vmsa1.bin (all others), as virt-qemu-sev-validate takes them."""
    del guest, files, folder
    for vcpu, update in enumerate(measured.plan.vmsas[:2]):
        if update.data is not None:
            yield Artifact(f"vmsa{vcpu}", f"vmsa{vcpu}.bin", _bytes(update.data))


def _kernel_hashes(
    guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
) -> Iterable[Artifact]:
    """Make the 4096-byte page with the kernel hashes, and the bare table where that is what is launched."""
    del guest, files, folder
    for update in measured.plan.regions:
        if update.data is None or not update.origin.endswith(_HASHES):
            continue
        page = _bytes(update.data)
        if update.length != PAGE_SIZE:
            yield Artifact("kernel_hashes_table", "kernel-hashes-table.bin", page)
            page = bytes(update.gpa % PAGE_SIZE) + page
        if len(page) <= PAGE_SIZE:
            yield Artifact("kernel_hashes_page", "kernel-hashes-page.bin", page.ljust(PAGE_SIZE, b"\0"))


def _igvm(
    guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
) -> Iterable[Artifact]:
    """Make the IGVM file that the target's loader replays, where no ready one is among the inputs."""
    del files, folder
    target = measured.target
    if target.profile.rules.loader is None or target.variant.declared(IGVM) is not None:
        return
    # Only guests that load such a file need to know the format.
    from sevbuild.guest.igvm import igvm_file

    data = igvm_file(target, guest.laid_out(target), guest.firmware(target.variant))
    yield Artifact("igvm", "guest.igvm", data)


def _commands(
    guest: Guest, measured: Measured[Target], files: Mapping[str, str], folder: str
) -> Iterable[Artifact]:
    """Make the commands that launch the target."""
    from sevbuild.commands.files import earlier_domain, launch_files
    from sevbuild.commands.launch import ROLES

    launched = {role: path for role, path in files.items() if role in ROLES}
    target = measured.target
    try:
        made = launch_files(guest, target, launched, folder=folder, digest=measured.digest)
    except SevbuildError as error:
        # The guest can be measured and bundled all the same.
        guest.notices.append(Notice("warning", target.label, error.message, error.hint))
        return
    for name, data in made.items():
        earlier = partial(earlier_domain, guest, target, launched, folder) if name == "libvirt.xml" else None
        yield Artifact(_COMMAND_ROLES[name], name, data, earlier)


_COMMAND_ROLES = {
    "qemu.json": "qemu_arguments",
    "launch.sh": "launch_script",
    "libvirt.xml": "libvirt_domain",
    "validate.sh": "validate_script",
}


def _bytes(data: Contents) -> bytes:
    return b"".join(chunks(data))


_HASHES = ("kernel-hashes", "(kernel-hashes)", "kernel-hashes page")

PRODUCERS: tuple[ArtifactProducer, ...] = (_Plans(), _vmsas, _kernel_hashes, _igvm, _commands)
"""In the order in which they run: a later one is given the paths of what earlier ones made."""

"""What a manifest says, decoded: the values of one guest, before any input is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sevbuild.by_identity import by_identity
from sevbuild.documents.document import Document
from sevbuild.image.ovmf import Metadata
from sevbuild.launch.mode import Mode, Order

__all__ = [
    "Cmdline",
    "Cpu",
    "FirmwareInput",
    "IgvmInput",
    "InitrdInput",
    "KernelInput",
    "Machine",
    "Manifest",
    "Publish",
    "SvsmInput",
    "Variant",
]


class FirmwareInput(NamedTuple):
    """The firmware: a file, or the SNP digest after its pages with the metadata that goes on.

    `path`, here and below, may be an `https://` URL.
    """

    path: str | None
    sha256: bytes | None
    seed: bytes | None
    metadata: Metadata | None


class SvsmInput(NamedTuple):
    """The SVSM binary and what its place depends on: the size of the variable store, or its file."""

    path: str
    sha256: bytes | None
    vars_size: int | None
    vars_path: str | None


class Cmdline(NamedTuple):
    """One command line as declared, placeholders and all; `name` is that of a variant."""

    name: str | None
    text: str | None
    path: str | None
    key: str


class IgvmInput(NamedTuple):
    """A ready IGVM file in place of a firmware, or how one is to be built.

    `parameters` has the built file insert the loader's parameters where the firmware wants them.
    """

    path: str | None
    sha256: bytes | None
    parameters: bool


class KernelInput(NamedTuple):
    """The kernel: a file, a UKI taken whole or in parts, or its SHA-256 alone."""

    path: str | None
    sha256: bytes | None
    uki_as: str | None
    hashes: bool
    cmdlines: tuple[Cmdline, ...]


class InitrdInput(NamedTuple):
    """The initrd files, concatenated in order, or the SHA-256 of the whole alone.

    `pins` has the SHA-256 of each file where they are URLs.
    """

    paths: tuple[str, ...]
    sha256: bytes | None
    pins: tuple[bytes, ...] = ()


class Cpu(NamedTuple):
    """A CPU model as labelled and its vCPU signature (CPUID Fn0000_0001_EAX)."""

    label: str
    signature: int


class Machine(NamedTuple):
    """What launch commands say and no digest has: memory, the host's bits, further QEMU arguments.

    `given` has the keys that the manifest itself gives.
    """

    memory: str = "2G"
    cbitpos: int = 51
    reduced_phys_bits: int = 1
    extra_args: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


@by_identity
class Variant(NamedTuple):
    """The tables of one manifest, or of one entry of its `[[matrix]]` laid over them.

    `policies` and `guest_features` have the modes that the manifest itself gives a value for. `document`
    finds the lines of this variant's values. Variants are told apart by identity.
    """

    document: Document
    modes: tuple[Mode, ...]
    profiles: tuple[str, ...]
    order: Order
    policies: Mapping[Mode, int]
    guest_features: Mapping[Mode, int]
    host_data: bytes | None
    firmware: FirmwareInput
    igvm: IgvmInput | None
    svsm: SvsmInput | None
    kernel: KernelInput | None
    initrd: InitrdInput | None
    variables: Mapping[str, str]
    counts: tuple[int, ...]
    cpus: tuple[Cpu, ...]

    machine: Machine

    @property
    def ready_igvm(self) -> str | None:
        """Return the path of the ready IGVM file in the firmware's place, None where there is none."""
        return None if self.igvm is None else self.igvm.path


class Publish(NamedTuple):
    """What `[publish]` says: formats, None for all that apply, and values by format and key."""

    formats: tuple[str, ...] | None
    values: Mapping[str, Mapping[str, Any]]


class Manifest(NamedTuple):
    """One decoded manifest; `directory` is what its relative paths start from.

    `publish` is None where the manifest has no such table.
    """

    name: str
    version: str
    directory: str
    variants: tuple[Variant, ...]
    publish: Publish | None = None

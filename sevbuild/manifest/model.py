"""What a manifest says, decoded: the values of one guest, before any input is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sevbuild.by_identity import by_identity
from sevbuild.documents.document import Document
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.launch.mode import Mode, Order
from sevbuild.manifest.inputs import DeclaredInput, Role

__all__ = [
    "HEX_KEYS",
    "Cmdline",
    "Cpu",
    "DeclaredIdBlock",
    "DirectBoot",
    "Machine",
    "Manifest",
    "Publish",
    "Variant",
]

HEX_KEYS = ("policy", "guest-features", "signature", "reset", "hash-table", "gpa", "size")
"""Keys of a manifest whose numbers people read in hexadecimal."""


class Cmdline(NamedTuple):
    """One command line as declared, placeholders and all; `name` is that of a variant.

    `text` is None where an input has it: a file of its own, or an image that is taken apart.
    """

    name: str | None
    text: str | None
    key: str


class DirectBoot(NamedTuple):
    """How a kernel is launched: `uki_as` says how an image is taken, `hashes` whether it is measured."""

    uki_as: str | None
    hashes: bool
    cmdlines: tuple[Cmdline, ...]


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


class DeclaredIdBlock(NamedTuple):
    """What `[id-block]` says: who signs the launch digests, and the ids and SVN that are signed with them.

    Paths are as the manifest writes them. Ids (16 bytes) and SVN are None where it does not give them; the
    digests (48 bytes) are those by which a report shows the keys. `signed` is the folder of blocks that were
    signed elsewhere.
    """

    family_id: bytes | None = None
    image_id: bytes | None = None
    guest_svn: int | None = None
    key: str | None = None
    key_digest: bytes | None = None
    author_key: str | None = None
    author_signature: str | None = None
    author_key_digest: bytes | None = None
    signed: str | None = None

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the manifest's key of each file, and its path."""
        files = (
            ("key", self.key),
            ("author-key", self.author_key),
            ("author-signature", self.author_signature),
        )
        for key, name in files:
            if name is not None:
                yield f"id-block.{key}", name


@by_identity
class Variant(NamedTuple):
    """The tables of one manifest, or of one entry of its `[[matrix]]` laid over them.

    `policies` and `guest_features` have the modes that the manifest itself gives a value for. `document`
    finds the lines of this variant's values. `inputs` are in the order of a launch. Beside them stand the
    `seed` of a firmware that is known by it, whether an IGVM file that is built has its loader's parameters
    (None where none is launched), and the size of an SVSM's variable store where no file tells it. Variants
    are told apart by identity.
    """

    document: Document
    modes: tuple[Mode, ...]
    profiles: tuple[str, ...]
    order: Order
    policies: Mapping[Mode, int]
    guest_features: Mapping[Mode, int]
    host_data: bytes | None
    inputs: tuple[DeclaredInput, ...]
    seed: FirmwareSeed | None
    igvm_parameters: bool | None
    vars_size: int | None
    kernel: DirectBoot | None
    variables: Mapping[str, str]
    counts: tuple[int, ...]
    cpus: tuple[Cpu, ...]
    machine: Machine
    id_block: DeclaredIdBlock | None = None

    @property
    def loads_igvm(self) -> bool:
        """Tell whether it is launched from an IGVM file, a ready one or one that is built."""
        return self.igvm_parameters is not None

    def declared(self, role: Role) -> DeclaredInput | None:
        """Return what is launched in a role: an image that is taken whole is the kernel."""
        for declared in self.inputs:
            if declared.launched and declared.role.launched_as == role.launched_as:
                return declared
        return None


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

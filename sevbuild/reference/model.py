"""Reference values as values: what `reference-values.json` holds, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sevbuild.igvm.doubt import Doubt
from sevbuild.image.ovmf import Metadata
from sevbuild.image.svsm import Svsm
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.mode import Mode, Order
from sevbuild.launch.profile import LaunchValues

__all__ = [
    "DOCUMENT_SCHEMA",
    "MOST_DESCRIBED",
    "Ingredients",
    "Input",
    "KernelIngredients",
    "PublishedProfile",
    "ReferenceValues",
    "Span",
    "Value",
]

DOCUMENT_SCHEMA = 1
"""The version of the document's shape; a reader refuses any other."""

MOST_DESCRIBED = 1 << 16
"""The vCPUs that an IGVM file can describe: the index of a VP context has 16 bits."""


class Span(NamedTuple):
    """A run of releases that follow one another, both ends included."""

    first: str
    last: str

    def text(self, between: str = "..") -> str:
        """Return the run in words: one version where it is a run of one."""
        return self.first if self.first == self.last else f"{self.first}{between}{self.last}"


class Input(NamedTuple):
    """One input: `size` is None where only the digest is known; `algorithm` is sha256 or seed.

    `releases` is empty in a document of one release.
    """

    role: str
    name: str
    size: int | None
    algorithm: str
    digest: bytes
    releases: tuple[Span, ...] = ()


class PublishedProfile(NamedTuple):
    """A profile as it is published: its name, the hosts that it was read from, what launches follow from.

    `launch.regions` has the profile's own modes.
    """

    name: str
    as_of: str
    launch: LaunchValues


class KernelIngredients(NamedTuple):
    """The digests of a measured kernel (32 bytes each) and the command line as a template.

    `cmdline` has `{vcpus}`, `{cpu}` and `{cpu_signature}` as placeholders and is None for a line that is
    not UTF-8; `cmdline_sha256` (with the NUL) is None for a line with placeholders.
    """

    kernel: bytes
    initrd: bytes
    cmdline: str | None
    cmdline_sha256: bytes | None


class Ingredients(NamedTuple):
    """What one shape of launch is made of, down to digests and addresses.

    `seed` is the SNP digest (48 bytes) after the pages of firmware and SVSM, None where no digest can
    stand for them. `metadata` has the firmware's sections in launch order, unless the SVSM's are
    launched. `profile` names the launch values. `inputs` maps roles to digests of the document's inputs.
    """

    name: str
    mode: Mode
    profile: str
    order: Order
    seed: bytes | None
    metadata: Metadata
    svsm: Svsm | None
    kernel: KernelIngredients | None
    inputs: Mapping[str, bytes]


class Value(NamedTuple):
    """The reference value of one target.

    `guest_features` is None in mode sev, `vmsa_gpa` in all but SNP, `cmdline` without a measured kernel.
    `ingredients` names an entry of the document's. `releases` is empty in a document of one release.

    Of an IGVM file `profile` is the loader and `order` its own; `cpu` is NO_CPU, and `signature` that of the
    vCPUs which the file does not describe, None where it describes all. Without a VMSA there are no
    features, so no `features_origin`; `vmsa_gpa` is None where VMSAs lie in several places, and `cmdline`
    where it is not UTF-8. `doubts` is None for a guest against which
    nothing is known, and never empty there.
    """

    label: str
    mode: Mode
    profile: str
    cpu: str
    signature: int | None
    vcpus: int
    guest_features: int | None
    policy: int
    kernel_hashes: bool
    cmdline: str | None
    order: str
    vmsa_gpa: int | None
    digest: bytes
    features_origin: str | None
    policy_origin: str
    ingredients: str | None = None
    id_block: ReportedIdBlock | None = None
    doubts: tuple[Doubt, ...] | None = None
    releases: tuple[Span, ...] = ()

    @property
    def algorithm(self) -> str:
        """Return what the launch digest is: sha384 for SNP, else sha256."""
        return "sha384" if self.mode == "snp" else "sha256"


class ReferenceValues(NamedTuple):
    """One document; `releases` are the versions of a merged one, oldest first, else empty.

    A document of an IGVM file has the file's name and no version; nor has it ingredients.
    """

    name: str
    version: str | None
    inputs: tuple[Input, ...]
    values: tuple[Value, ...]
    profiles: tuple[PublishedProfile, ...] = ()
    ingredients: tuple[Ingredients, ...] = ()
    releases: tuple[str, ...] = ()

    @property
    def of_file(self) -> bool:
        """Tell whether the document is of an IGVM file, and of no guest that a manifest declares."""
        return self.version is None

    def title(self, between: str = " ") -> str:
        """Return name and version of the guest; an IGVM file has a name alone."""
        return self.name if self.version is None else f"{self.name}{between}{self.version}"

    def only(self, values: tuple[Value, ...]) -> ReferenceValues:
        """Return these values alone, with the ingredients and profiles that they name."""
        names = {value.ingredients for value in values}
        ingredients = tuple(entry for entry in self.ingredients if entry.name in names)
        launches = {entry.profile for entry in ingredients}
        profiles = tuple(entry for entry in self.profiles if entry.name in launches)
        return self._replace(values=values, ingredients=ingredients, profiles=profiles)

    def ingredients_of(self, value: Value) -> Ingredients | None:
        """Return what a target was made of, None where the document does not say."""
        return next((entry for entry in self.ingredients if entry.name == value.ingredients), None)

    def inputs_of(self, value: Value) -> dict[str, Input] | None:
        """Return a target's inputs by role; None where several have a role and nothing says which it is."""
        entry = self.ingredients_of(value)
        wanted = {} if entry is None else entry.inputs
        inputs = [one for one in self.inputs if wanted.get(one.role, one.digest) == one.digest]
        found = {one.role: one for one in inputs}
        return found if len(found) == len(inputs) else None

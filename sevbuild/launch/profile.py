"""A profile: how one hypervisor, on hosts of one era, launches a guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sevbuild.by_identity import by_identity
from sevbuild.image.ovmf import SECTION_KINDS
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.page_type import PageType
from sevbuild.text import ancestors
from sevbuild.vcpu.reset import InitialState

__all__ = [
    "ENTRY_WORDS",
    "KINDS",
    "LAUNCHERS",
    "LAYERS",
    "MEASURED_VCPUS",
    "REGIONS",
    "Advice",
    "HostFeatures",
    "LaunchCommand",
    "LaunchProfile",
    "LaunchRules",
    "LaunchValues",
    "ProfileProse",
]

REGIONS: Mapping[Mode, tuple[str, ...]] = {
    "sev": ("firmware", "hash-table", "hash-page"),
    "sev-es": ("firmware", "hash-table", "hash-page"),
    "snp": ("firmware", "svsm", "sections"),
}
"""What is launched before the VMSAs, by mode (LaunchValues says what each word means)."""

KINDS = (*SECTION_KINDS.values(), "kernel-hashes-absent", "unknown")
"""The kinds of sections that have a page type: a kernel-hashes section without a kernel is one of its own."""

ENTRY_WORDS = {"bsp": ("svsm",), "ap": ("reset-block", "svsm")}
"""Where a vCPU can start beside an address of its own, by role."""

MEASURED_VCPUS = ("all", "bsp")

LAYERS = ("bsp", "ap", *MODES[1:])
"""The roles and modes that have registers of their own; they lie over those of every vCPU."""

LAUNCHERS = {"qemu": "firmware", "qemu-igvm": "igvm", "none": ""}
"""What a launch command can be written for, with the role of the file that it starts: QEMU, or nothing."""


class LaunchValues(NamedTuple):
    """What the launches of a profile are laid out from, and what is published with their digests.

    `regions` gives, for each mode that the profile launches, what comes before the VMSAs and in which order:
    `firmware`, `svsm`, `sections` (the metadata of the last image named before it), `hash-table`, `hash-page`
    (the whole page with the table). Section kinds in `sections_last` follow all others. `page_types` maps
    section kinds to page types; None refuses. An `entry` is an address, `reset-block` or `svsm`.
    `initial_state` has the registers of every vCPU, and those of a mode or role under its name.
    """

    regions: Mapping[Mode, tuple[str, ...]]
    sections_last: tuple[str, ...]
    page_types: Mapping[str, PageType | None]
    vmsa_gpa: int
    measured_vcpus: str
    entry: Mapping[str, int | str]
    initial_state: Mapping[str, Any]

    def __hash__(self) -> int:
        """Return a hash over what can be hashed, so that launches can be kept by the values they follow."""
        return hash((self.sections_last, self.vmsa_gpa, self.measured_vcpus))

    def vcpu_state(self, mode: Mode, role: str) -> InitialState:
        """Return the register values of a `bsp` or `ap` in `mode`: common, then mode, then role."""
        layers = (self.initial_state, self.initial_state.get(mode, {}), self.initial_state.get(role, {}))
        state: dict[str, Any] = {}
        for layer in layers:
            for name, value in layer.items():
                if name in LAYERS:
                    continue
                field = name.replace("-", "_")
                if isinstance(value, Mapping):
                    state[field] = {**state.get(field, {}), **value}
                else:
                    state[field] = value
        return state

    def page_type(self, kind_name: str) -> PageType | None:
        """Return the page type a section of this kind is launched with, None if the host refuses it."""
        return self.page_types.get(kind_name, self.page_types["unknown"])


class LaunchRules(NamedTuple):
    """Everything of a profile that decides a launch: what the profile digest is over.

    `features` has SEV_FEATURES (u64) by mode, as hosts set them where nothing else is said. `direct_boot`
    tells whether hosts start a kernel of the tenant's. `order` is `listed`, or `canonical` where regions are
    sorted by GPA after all. `loader` names the IGVM loader that replays the launch from a file, None where
    the host lays it out; `list_loader` another one that replays a list of launch updates, whatever their
    order.

    A rule that is added has a default, by which profiles without it launch as they did before: a value equal
    to it is no part of the profile digest.
    """

    launch: LaunchValues
    modes: tuple[Mode, ...]
    direct_boot: bool
    features: Mapping[Mode, int]
    order: str = "listed"
    loader: str | None = None
    list_loader: str | None = None

    @property
    def launches_in_canonical_order(self) -> bool:
        """Tell whether something launches guests in that order; a host that lays them out has its own."""
        return self.order == "canonical" or self.loader is not None or self.list_loader is not None


class HostFeatures(NamedTuple):
    """Bits of SEV_FEATURES in one mode (u64 each): what hosts can set, and hosts after the profile's date."""

    known: int
    newer: int = 0


class Advice(NamedTuple):
    """The profile that fits better for vCPU signatures from `low` up to and including `high`."""

    low: int
    high: int
    profile: str
    reason: str


class LaunchCommand(NamedTuple):
    """What launches a guest of this profile: one of LAUNCHERS, and why where it is none.

    `properties` go to QEMU's confidential-guest object beside those that every guest has.
    """

    launcher: str
    reason: str | None
    properties: Mapping[str, str]

    @property
    def starts(self) -> str:
        """Return the role of the file that a launch starts from; empty where no command is written."""
        return LAUNCHERS[self.launcher]


class ProfileProse(NamedTuple):
    """What is said about a profile, and what issues its launches: nothing here enters a digest.

    `raw` is the document with its parents merged in, `sources` the origin of each value by dotted path,
    `lineage` the names from the root parent down, `extends` the parent as the document writes it.
    """

    summary: str
    as_of: str
    host_features: Mapping[Mode, HostFeatures]
    advice: tuple[Advice, ...]
    command: LaunchCommand
    raw: Mapping[str, Any]
    sources: Mapping[str, str]
    lineage: tuple[str, ...]
    extends: str | None

    def source(self, path: str) -> str | None:
        """Return where the value at dotted `path` comes from, by its longest documented prefix."""
        return next((self.sources[at] for at in ancestors(path) if at in self.sources), None)


@by_identity
class LaunchProfile(NamedTuple):
    """One hypervisor's launch as data: a name for labels, the rules of a launch, what is said about them.

    Profiles are told apart by identity.
    """

    name: str
    rules: LaunchRules
    prose: ProfileProse

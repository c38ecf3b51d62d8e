"""A profile: how one hypervisor, on hosts of one era, launches a guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sevbuild.image.ovmf import SECTION_KINDS
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.page_type import PageType
from sevbuild.vcpu.reset import InitialState

__all__ = [
    "ENTRY_WORDS",
    "KINDS",
    "LAUNCHERS",
    "LAYERS",
    "MEASURED_VCPUS",
    "REGIONS",
    "Advice",
    "Features",
    "LaunchCommand",
    "LaunchProfile",
]

REGIONS: Mapping[Mode, tuple[str, ...]] = {
    "sev": ("firmware", "hash-table", "hash-page"),
    "sev-es": ("firmware", "hash-table", "hash-page"),
    "snp": ("firmware", "svsm", "sections"),
}
"""What is launched before the VMSAs, by mode (LaunchProfile says what each word means)."""

KINDS = (*SECTION_KINDS.values(), "kernel-hashes-absent", "unknown")
"""The kinds of sections that have a page type: a kernel-hashes section without a kernel is one of its own."""

ENTRY_WORDS = {"bsp": ("svsm",), "ap": ("reset-block", "svsm")}
"""Where a vCPU can start beside an address of its own, by role."""

MEASURED_VCPUS = ("all", "bsp")

LAYERS = ("bsp", "ap", *MODES[1:])
"""The roles and modes that have registers of their own; they lie over those of every vCPU."""

LAUNCHERS = ("qemu", "qemu-igvm", "none")
"""What a launch command can be written for: QEMU with a firmware, QEMU with an IGVM file, nothing."""


class Features(NamedTuple):
    """SEV_FEATURES of one mode: what its hosts set, and every bit they can set (u64 each).

    `newer` has the bits that hosts after the profile's date can set as well.
    """

    default: int
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


class LaunchProfile(NamedTuple):
    """One hypervisor's launch as data.

    `regions` gives, per mode, what is launched before the VMSAs and in which order: `firmware`, `svsm`,
    `sections` (the metadata of the last image named before it), `hash-table`, `hash-page` (the whole page
    with the table). `order` is `listed`, or `canonical` where they are sorted by GPA after all. `loader`
    names the IGVM loader that replays the launch from a file, None where the host lays it out; `list_loader`
    another one that replays a list of launch updates, whatever their order. Section kinds in
    `sections_last` follow all others. `page_types` maps section kinds to page types; None refuses. An
    `entry` is an address, `reset-block` or `svsm`. `raw` is the document with its parents merged in,
    `sources` the origin of each value by dotted path, `lineage` the names from the root parent down,
    `extends` the parent as the document writes it.
    """

    name: str
    summary: str
    as_of: str
    modes: tuple[Mode, ...]
    regions: Mapping[Mode, tuple[str, ...]]
    order: str
    loader: str | None
    list_loader: str | None
    sections_last: tuple[str, ...]
    page_types: Mapping[str, PageType | None]
    vmsa_gpa: int
    measured_vcpus: str
    direct_boot: bool
    features: Mapping[Mode, Features]
    entry: Mapping[str, int | str]
    initial_state: Mapping[str, Any]
    advice: tuple[Advice, ...]
    command: LaunchCommand
    raw: Mapping[str, Any]
    sources: Mapping[str, str]
    lineage: tuple[str, ...]
    extends: str | None

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

    @property
    def launches_in_canonical_order(self) -> bool:
        """Tell whether something launches guests in that order; a host that lays them out has its own."""
        return self.order == "canonical" or self.loader is not None or self.list_loader is not None

    def depends_on_cpu(self, mode: Mode) -> bool:
        """Tell whether the CPU model enters the launch digest, or is only a label."""
        return mode != "sev" and any(
            "vcpu-signature" in self.vcpu_state(mode, role).values() for role in ("bsp", "ap")
        )

    def source(self, path: str) -> str | None:
        """Return where the value at dotted `path` comes from, by its longest documented prefix."""
        while path:
            if path in self.sources:
                return self.sources[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return None

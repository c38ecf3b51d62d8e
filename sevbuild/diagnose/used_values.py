"""What of a profile's values a launch uses, and the profile that it departs from in the fewest of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sevbuild.diagnose.departures import ORDER
from sevbuild.diagnose.rules.applying import natural_order
from sevbuild.diagnose.setup import LaidOut
from sevbuild.image.ovmf import section_kind_name
from sevbuild.launch.mode import Mode
from sevbuild.launch.page_type import page_type_word
from sevbuild.launch.planner import GuestInputs
from sevbuild.launch.profile import LaunchProfile, LaunchValues

__all__ = ["CPU_WORD", "UsedValues", "departures_from", "nearest", "register_name", "value_text"]

CPU_WORD, FEATURES_WORD = "vcpu-signature", "guest-features"
"""What a profile writes where a register depends on the target."""


class UsedValues(NamedTuple):
    """What of a profile's values a launch uses: its mode, its inputs and its number of vCPUs decide."""

    setup: LaidOut
    inputs: GuestInputs

    def by_launch(self) -> dict[str, Any]:
        """Return the launch's own, by the name of a departure and the role of a vCPU."""
        shape = self.setup.shape
        known = {CPU_WORD: shape.signature, FEATURES_WORD: shape.guest_features}
        return {
            ORDER: shape.order,
            **self._of(shape.launch),
            **{
                name: known.get(value, value) if isinstance(value, str) else value
                for role in self._roles
                for name, value in _registers(shape.launch, shape.mode, role)
            },
        }

    def by_profile(self, profile: LaunchProfile) -> dict[str, Any]:
        """Return those of a profile, with a word for the CPU signature and for SEV_FEATURES."""
        found = {ORDER: natural_order(profile), **self._of(profile.rules.launch)}
        for role in self._roles:
            found |= _registers_of(profile, self.setup.mode, role)
        return found

    @property
    def _roles(self) -> tuple[str, ...]:
        if self.setup.mode == "sev":
            return ()
        return ("bsp", "ap") if self.setup.vcpus > 1 else ("bsp",)

    def _of(self, launch: LaunchValues) -> dict[str, Any]:
        """Return the values beside registers."""
        mode, hashes = self.setup.mode, self.inputs.kernel_hashes
        found: dict[str, Any] = {
            "regions": tuple(
                region
                for region in launch.regions.get(mode, ())
                if hashes is not None or not region.startswith("hash-")
            )
        }
        if mode == "snp":
            found["vmsa-gpa"] = launch.vmsa_gpa
            found |= self._sections(launch)
        for role in self._roles:
            found[f"entry.{role}"] = self._entry(launch.entry[role])
        return found

    def _sections(self, launch: LaunchValues) -> Iterator[tuple[str, Any]]:
        svsm, firmware = self.inputs.svsm, self.inputs.firmware
        sections = (firmware.metadata.sections if svsm is None else svsm.sections) or ()
        kinds = [section_kind_name(section.kind) for section in sections]
        last = [kind for kind in kinds if kind in launch.sections_last]
        yield "sections-last", ", ".join([kind for kind in kinds if kind not in launch.sections_last] + last)
        for kind in dict.fromkeys(kinds):
            absent = kind == "kernel-hashes" and self.inputs.kernel_hashes is None
            name = "kernel-hashes-absent" if absent else kind
            yield f"page-types.{name}", page_type_word(launch.page_type(name))

    def _entry(self, entry: int | str) -> int | str:
        if entry == "reset-block":
            return self.inputs.firmware.metadata.reset or 0
        return self.inputs.svsm.entry if entry == "svsm" and self.inputs.svsm is not None else entry


@lru_cache(maxsize=256)
def _registers_of(profile: LaunchProfile, mode: Mode, role: str) -> dict[str, int | str]:
    return dict(_registers(profile.rules.launch, mode, role))


def _registers(launch: LaunchValues, mode: Mode, role: str) -> Iterator[tuple[str, int | str]]:
    for name, value in launch.vcpu_state(mode, role).items():
        parts = value.items() if isinstance(value, Mapping) else [("", value)]
        for part, number in parts:
            yield register_name(role, name, part), number


def register_name(role: str, name: str, part: str) -> str:
    """Return the name of a departure in a register, or in a part of a segment."""
    return ".".join(filter(None, ("registers", role, name.replace("_", "-"), part)))


def nearest(
    setup: LaidOut,
    used: Mapping[str, Any],
    uses: UsedValues,
    profiles: Sequence[LaunchProfile],
    preferred: LaunchProfile | None,
) -> tuple[LaunchProfile, dict[str, str], Mapping[str, Any]]:
    """Return the profile that a launch departs from least, the departures, and the profile's own values.

    Of profiles that are as near it is the preferred one, then one that others extend; the setup's own comes
    last, for it may be one that nobody else knows.
    """
    candidates = [*sorted(profiles, key=lambda profile: len(profile.prose.lineage)), setup.profile]
    if preferred is not None:
        candidates.insert(0, preferred)
    best: tuple[LaunchProfile, dict[str, str], Mapping[str, Any]] | None = None
    for profile in candidates:
        if setup.mode not in profile.rules.modes:
            continue
        own = uses.by_profile(profile)
        if own["regions"] != used["regions"]:
            continue
        departures = departures_from(used, own)
        if best is None or len(departures) < len(best[1]):
            best = profile, departures, own
    return (setup.profile, {}, {}) if best is None else best


def departures_from(used: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """Return the values in which a launch departs from a profile, by name."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in {**own, **used}:
        mine, theirs = used.get(name, 0), own.get(name, 0)
        if theirs not in (CPU_WORD, FEATURES_WORD) and mine != theirs:
            found[name] = (mine, theirs)
    return {_short(name, found, used): value_text(found[name][0]) for name in sorted(found)}


def _short(name: str, found: Mapping[str, tuple[Any, Any]], used: Mapping[str, Any]) -> str:
    """Return the name of a register's departure without the role where every vCPU has the same."""
    table, _, rest = name.partition(".")
    role, _, register = rest.partition(".")
    if table != "registers":
        return name
    other = f"registers.{'ap' if role == 'bsp' else 'bsp'}.{register}"
    alike = found.get(other) == found[name] or not any(key.startswith("registers.ap.") for key in used)
    return f"registers.{register}" if alike else name


def value_text(value: Any) -> str:
    """Return a value as settings have it: numbers in hexadecimal."""
    return hex(value) if isinstance(value, int) else str(value)

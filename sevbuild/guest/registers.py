"""Where each register of a VMSA has its value from: the profile, the CPU, the guest features, the entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.targets import Target
from sevbuild.vcpu.save_area import parse_vmsa, reserved_bytes_set

__all__ = ["GivenRegister", "given_registers", "read_registers"]

_ENTRIES = {"reset-block": "the reset block of the firmware", "svsm": "the SVSM"}

Origin = Callable[[str, str], tuple[str, str]]
"""From a field and the part of a segment, empty for others, to the origin of its value and its source."""


class GivenRegister(NamedTuple):
    """A field of a VMSA, its value in words, what gave it that, and the source that a profile cites."""

    name: str
    value: str
    origin: str
    source: str


def given_registers(page: bytes, target: Target, role: str) -> list[GivenRegister]:
    """Return the fields of a VMSA that a profile laid out for the `bsp` or an `ap` of a target.

    These are the fields that the profile names, and what else is not zero, by ascending offset.
    """
    given = _Given(target, role)
    return list(_registers(page, given.origin, frozenset(given.named)))


def read_registers(page: bytes, origin: str) -> list[GivenRegister]:
    """Return the fields of a VMSA that are not zero, all of one origin."""
    return list(_registers(page, lambda _field, _part: (origin, ""), frozenset()))


class _Given:
    """What a profile says of the registers that a vCPU of a target starts with."""

    def __init__(self, target: Target, role: str) -> None:
        self._target, self._role = target, role
        self._profile: LaunchProfile = target.profile
        self.named = self._profile.rules.launch.vcpu_state(target.mode, role)

    def origin(self, field: str, part: str) -> tuple[str, str]:
        path, value = self._said(field.replace("_", "-"), part)
        if path is None:
            return "zero where nothing is said", ""
        source = self._profile.prose.source(path) or ""
        if value == "vcpu-signature":
            return f"CPU {self._target.cpu.label}", source
        if value == "guest-features":
            return f"guest features: {self._target.features_origin}", self._features_source()
        if isinstance(value, str):
            entry = self._profile.rules.launch.entry[self._role]
            source = self._profile.prose.source(f"entry.{self._role}") or source
            whose = _ENTRIES[entry] if isinstance(entry, str) else f"profile {self._profile.name}"
            return f"entry: {whose}", source
        return f"profile {self._profile.name}", source

    def _features_source(self) -> str:
        """Return the source of the features where they are the profile's; for others nobody vouches."""
        if self._target.features_origin == "manifest":
            return ""
        return self._profile.prose.source(f"guest-features.{self._target.mode}.default") or ""

    def _said(self, name: str, part: str) -> tuple[str | None, object]:
        """Return where a profile says a value, and the value: what it says of the role goes first."""
        state = self._profile.rules.launch.initial_state
        for layer in (self._role, self._target.mode, ""):
            values = state.get(layer, {}) if layer else state
            value = values.get(name)
            if isinstance(value, Mapping):
                value = value.get(part)
            if value is not None:
                path = ".".join(filter(None, ("initial-state", layer, name, part)))
                return path, value
        return None, None


def _registers(page: bytes, origin: Origin, named: frozenset[str]) -> Iterator[GivenRegister]:
    for name, value in parse_vmsa(page).items():
        parts = value if isinstance(value, dict) else {"": value}
        if name not in named and not any(_is_set(part) for part in parts.values()):
            continue
        found = {part: origin(name, part) for part in parts}
        text = ", ".join(f"{part} {_text(number)}".strip() for part, number in parts.items())
        sources = "; ".join(dict.fromkeys(source for _, source in found.values() if source))
        yield GivenRegister(name, text, _said_of(found), sources)
    for offset, length in reserved_bytes_set(page):
        where, source = origin("reserved", "")
        yield GivenRegister(f"reserved {offset:#x}", page[offset : offset + length].hex(), where, source)


def _said_of(found: Mapping[str, tuple[str, str]]) -> str:
    """Return the origins of the parts of a field: that of the first, then the parts that have another one."""
    origins = {part: origin for part, (origin, _) in found.items()}
    first = next(iter(origins.values()))
    others = [f"{part}: {origin}" for part, origin in origins.items() if origin != first]
    return "; ".join([first, *others])


def _is_set(value: int | bytes) -> bool:
    return any(value) if isinstance(value, bytes) else bool(value)


def _text(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else hex(value)

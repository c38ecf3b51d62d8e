"""A launch as its settings, normalised: launches that are the same have the same settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from sevbuild.diagnose.change import Start
from sevbuild.diagnose.departures import NOTHING, ORDER
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.overwritten import vmsas_of
from sevbuild.diagnose.rules.applying import natural_order
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile
from sevbuild.igvm.loaders import LOADERS, loader_named
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import Firmware, Section, section_kind_name
from sevbuild.launch.page_type import page_type_word
from sevbuild.launch.planner import GuestInputs, Planner
from sevbuild.launch.profile import LaunchProfile, LaunchValues
from sevbuild.vcpu.models import signature_text
from sevbuild.vcpu.save_area import parse_vmsa

__all__ = ["changed_settings", "setting_label", "settings_of"]

Settings = dict[str, str]

_LABELS = {
    "mode": "mode",
    "order": "order",
    "profile": "profile",
    "loader": "loader",
    "firmware": "firmware",
    "sections": "sections of the firmware",
    "svsm": "SVSM",
    "kernel-hashes": "kernel hashes",
    "kernel": "kernel",
    "initrd": "initrd",
    "cmdline": "command line",
    "vcpus": "vCPUs",
    "cpu": "CPU signature",
    "guest-features": "SEV_FEATURES",
    "sections-last": "order of sections",
    "vmsa-gpa": "GPA of the VMSAs",
}
_ROLES = {"bsp": "first vCPU", "ap": "further vCPUs"}

_FEATURES_FIELD = "sev-features"
_CPU, _FEATURES = "vcpu-signature", "guest-features"


def setting_label(setting: str) -> str:
    """Return what a person calls a setting."""
    table, _, rest = setting.partition(".")
    if table == "page-types":
        return f"page type of {rest} sections"
    if table == "entry":
        return f"entry of the {_ROLES[rest]}"
    if table == "registers":
        role, _, register = rest.partition(".")
        return f"{register} of the {_ROLES[role]}" if role in _ROLES else f"{rest} of every vCPU"
    return _LABELS[setting]


def settings_of(setup: Setup, profiles: Sequence[LaunchProfile]) -> Settings:
    """Return the settings of a launch by name; a setting that its mode does not have is not among them.

    `profile` is the first one that launches the same as far as the mode, the inputs and the number of vCPUs
    use it, or the one that differs least; then come the single values by which the launch departs from it.
    """
    return _describe(setup, profiles).settings


def changed_settings(
    start: Start, found: Setup, profiles: Sequence[LaunchProfile]
) -> dict[str, tuple[str, str]]:
    """Return the settings in which a launch differs from a start: what the start has, and what that has.

    A setting that one of the two has not follows from another one that is there, and is no cause of its own;
    so do SEV_FEATURES where each is what its mode has by default.
    """
    first = _describe(start.setup, profiles, start.setup)
    second = _describe(found, profiles, start.setup)
    changed = {
        name: (value, second.settings[name])
        for name, value in first.settings.items()
        if name in second.settings and second.settings[name] != value
    }
    if "mode" in changed and first.has_default_features and second.has_default_features:
        changed.pop("guest-features", None)
    if "firmware" in changed:
        changed.pop("sections", None)
    if "kernel-hashes" in changed:
        for name in ("kernel", "initrd", "cmdline"):
            changed.pop(name, None)
    for name in {**first.departures, **second.departures}:
        value = second.value(name)
        before = first.departures.get(name, second.own(name))
        if before != value:
            changed[name] = (before, value)
    return changed


class _Described(NamedTuple):
    """The settings of a launch, its departures from `base` among them, and all values of the base's own."""

    settings: Settings
    base: LaunchProfile | None
    departures: Settings
    base_values: Mapping[str, Any]
    has_default_features: bool

    def own(self, name: str) -> str:
        """Return the base's value in place of a departure."""
        table, _, register = name.partition(".")
        return _text(self.base_values.get(name, self.base_values.get(f"{table}.bsp.{register}", 0)))

    def value(self, name: str) -> str:
        """Return the value of this launch in place of another launch's departure."""
        return self.departures.get(name, self.own(name))


def _describe(setup: Setup, profiles: Sequence[LaunchProfile], start: Setup | None = None) -> _Described:
    """Return a launch as settings; of profiles or loaders that launch it alike, that of `start` is named."""
    if isinstance(setup, LaidOut):
        own = start if isinstance(start, LaidOut) else None
        preferred = None if own is None else _laid_out(own, profiles, None).base
        return _laid_out(setup, profiles, preferred)
    if isinstance(setup, FileLaunch):
        return _of_file(setup, start.loader if isinstance(start, FileLaunch) else None)
    raise TypeError(f"{type(setup).__name__} is no launch whose settings are known")


def _of_file(setup: FileLaunch, preferred: str | None) -> _Described:
    loader = loader_named(setup.loader)
    settings: Settings = {
        "mode": setup.mode,
        "loader": _first_alike(setup, preferred),
        "firmware": _file_sha256(setup.file),
    }
    settings |= dict(_hashes(setup.kernel_hashes)) if loader.hash_page is not None else {}
    plan, own = setup.plan(Planner()), list(vmsas_of(setup.loaded.plan))
    if loader.vmsas_last and setup.mode != "sev":
        settings["vcpus"] = str(len(plan.vmsas))
    if setup.signature is not None and setup.loaded.takes_signature:
        settings["cpu"] = signature_text(setup.signature)
    # Without the CPU, which is a setting of its own, those of the vCPUs that the file describes.
    names = ("bsp", "ap")
    values = {
        name: value for role, page in zip(names, own, strict=False) for name, value in _flat(page, role)
    }
    used = {
        name: value
        for role, page in zip(names, vmsas_of(plan), strict=False)
        for name, value in _flat(page, role)
    }
    features = used.pop(f"registers.bsp.{_FEATURES_FIELD}", None)
    if features is not None:
        settings["guest-features"] = f"{features:#x}"
    for role in names:
        values.pop(f"registers.{role}.{_FEATURES_FIELD}", None)
        used.pop(f"registers.{role}.{_FEATURES_FIELD}", None)
    departures = _departures(used, values)
    settings |= departures
    return _Described(settings, None, departures, values, has_default_features=False)


def _flat(page: bytes, role: str) -> Iterator[tuple[str, Any]]:
    for field, value in parse_vmsa(page).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in parts:
            if isinstance(number, int):
                yield ".".join(filter(None, ("registers", role, field.replace("_", "-"), part))), number


def _first_alike(setup: FileLaunch, preferred: str | None) -> str:
    """Return the first loader that launches the same as this one does."""
    plan = setup.loaded.plan
    names: list[str] = [*LOADERS] if preferred is None else [preferred, *LOADERS]
    for name in names:
        with suppress(SevbuildError):
            if setup._replace(loader=name).loaded.plan.updates == plan.updates:
                return name
    return setup.loader


def _laid_out(
    setup: LaidOut, profiles: Sequence[LaunchProfile], preferred: LaunchProfile | None
) -> _Described:
    inputs, mode, shape = setup.launched, setup.mode, setup.shape
    # Where one VMSA is measured, any number of vCPUs is the launch of one.
    measured = setup.vcpus if shape.launch.measured_vcpus == "all" else 1
    uses = _Uses(setup.with_vcpus(measured), inputs)
    used = {ORDER: shape.order, **uses.of(shape.launch)}
    base, departures, values = _nearest(setup, used, uses, profiles, preferred)
    settings: Settings = {"mode": mode, "profile": base.name}
    settings |= dict(_inputs(setup, inputs))
    if mode != "sev":
        settings["vcpus"] = str(measured)
        features = used.get(f"registers.bsp.{_FEATURES_FIELD}", 0)
        settings["guest-features"] = f"{features:#x}"
        base_state = base.rules.launch.vcpu_state(mode, "bsp")
        if base_state.get("rdx") == _CPU:
            settings["cpu"] = signature_text(used["registers.bsp.rdx"])
    settings |= departures
    default = base.rules.features.get(mode, shape.guest_features)
    return _Described(
        settings, base, departures, values, has_default_features=shape.guest_features == default
    )


def _inputs(setup: LaidOut, inputs: GuestInputs) -> Iterator[tuple[str, str]]:
    firmware, svsm, hashes = inputs
    if isinstance(firmware, Firmware):
        yield "firmware", _sha256(firmware)
    else:
        yield "firmware", firmware.seed.hex()
    sections = firmware.metadata.sections
    if svsm is not None:
        yield "svsm", f"{sha256(svsm.data or b'').hexdigest()} at {svsm.gpa:#x}, entry {svsm.entry:#x}"
        sections = svsm.sections
    if setup.mode == "snp":
        yield "sections", ", ".join(map(_section, sections or ()))
    yield from _hashes(hashes)


def _hashes(hashes: KernelHashes | None) -> Iterator[tuple[str, str]]:
    if hashes is None:
        yield "kernel-hashes", "off"
    elif hashes == NOTHING:
        yield "kernel-hashes", "empty"
    else:
        yield "kernel-hashes", "on"
        yield "kernel", hashes.kernel.hex()
        yield "initrd", hashes.initrd.hex()
        yield "cmdline", hashes.cmdline.hex()


def _section(section: Section) -> str:
    return f"{section_kind_name(section.kind)} at {section.gpa:#x}, {section.size:#x} bytes"


@lru_cache(maxsize=4)
def _file_sha256(file: ForeignFile) -> str:
    return file.sha256().hex()


@lru_cache(maxsize=64)
def _sha256(firmware: Firmware) -> str:
    return sha256(firmware.data).hexdigest()


class _Uses(NamedTuple):
    """What of a profile's values a launch uses: its mode, its inputs and its number of vCPUs decide."""

    setup: LaidOut
    inputs: GuestInputs

    def of(self, launch: LaunchValues, *, symbols: bool = False) -> dict[str, Any]:
        """Return the values used, by the name of a departure and the role of a vCPU.

        Registers that hold the CPU signature or SEV_FEATURES have this launch's, or the word for them.
        """
        mode = self.setup.mode
        found: dict[str, Any] = {}
        hashes = self.inputs.kernel_hashes
        found["regions"] = tuple(
            region
            for region in launch.regions.get(mode, ())
            if hashes is not None or not region.startswith("hash-")
        )
        if mode == "snp":
            found["vmsa-gpa"] = launch.vmsa_gpa
            found |= self._sections(launch)
        if mode != "sev":
            for role in ("bsp", "ap") if self.setup.vcpus > 1 else ("bsp",):
                found |= self._vcpu(launch, role, symbols=symbols)
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

    def _vcpu(self, launch: LaunchValues, role: str, *, symbols: bool) -> Iterator[tuple[str, Any]]:
        shape = self.setup.shape
        entry = launch.entry[role]
        if entry == "reset-block":
            entry = self.inputs.firmware.metadata.reset or 0
        elif entry == "svsm" and self.inputs.svsm is not None:
            entry = self.inputs.svsm.entry
        yield f"entry.{role}", entry
        known = {} if symbols else {_CPU: shape.signature, _FEATURES: shape.guest_features}
        for name, value in launch.vcpu_state(shape.mode, role).items():
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            for part, number in parts:
                path = ".".join(filter(None, ("registers", role, name.replace("_", "-"), part)))
                yield path, known.get(number, number) if isinstance(number, str) else number


def _nearest(
    setup: LaidOut,
    used: Mapping[str, Any],
    uses: _Uses,
    profiles: Sequence[LaunchProfile],
    preferred: LaunchProfile | None,
) -> tuple[LaunchProfile, Settings, Mapping[str, Any]]:
    """Return the profile that a launch departs from least, the departures, and the profile's own values."""
    candidates = [setup.profile] if not profiles else list(profiles)
    if preferred is not None:
        candidates = [preferred, *candidates]
    best: tuple[LaunchProfile, Settings, Mapping[str, Any]] | None = None
    for profile in candidates:
        if setup.mode not in profile.rules.modes:
            continue
        own = {ORDER: natural_order(profile), **uses.of(profile.rules.launch, symbols=True)}
        if own["regions"] != used["regions"]:
            continue
        departures = _departures(used, own)
        if best is None or len(departures) < len(best[1]):
            best = profile, departures, own
    return (setup.profile, {}, {}) if best is None else best


def _departures(used: Mapping[str, Any], own: Mapping[str, Any]) -> Settings:
    """Return the values in which a launch departs from a profile, by name."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in {**own, **used}:
        mine, theirs = used.get(name, 0), own.get(name, 0)
        if theirs not in (_CPU, _FEATURES) and mine != theirs:
            found[name] = (mine, theirs)
    return {_short(name, found, used): _text(found[name][0]) for name in sorted(found)}


def _short(name: str, found: Mapping[str, tuple[Any, Any]], used: Mapping[str, Any]) -> str:
    """Return the name of a register's departure without the role where every vCPU has the same."""
    table, _, rest = name.partition(".")
    role, _, register = rest.partition(".")
    if table != "registers":
        return name
    other = f"registers.{'ap' if role == 'bsp' else 'bsp'}.{register}"
    alike = found.get(other) == found[name] or not any(key.startswith("registers.ap.") for key in used)
    return f"registers.{register}" if alike else name


def _text(value: Any) -> str:
    return hex(value) if isinstance(value, int) else str(value)

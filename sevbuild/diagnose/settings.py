"""A launch as its settings, normalised: launches that are the same have the same settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from sevbuild.diagnose.change import Start
from sevbuild.diagnose.departures import NOTHING
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.overwritten import vmsas_of
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.diagnose.used_values import (
    CPU_WORD,
    UsedValues,
    departures_from,
    nearest,
    register_name,
    value_text,
)
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile
from sevbuild.igvm.loaders import LOADERS, loader_named
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.image.ovmf import Firmware, Section, section_kind_name
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.planner import GuestInputs, Planner
from sevbuild.launch.profile import LaunchProfile
from sevbuild.launch.update import LaunchUpdate
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
    own = start.setup.loader if isinstance(start.setup, FileLaunch) else None
    first = _describe(start.setup, profiles, own)
    second = _describe(found, profiles, first.base or own)
    changed = {
        name: (value, second.settings[name])
        for name, value in first.settings.items()
        if name in second.settings and second.settings[name] != value
    }
    if isinstance(start.setup, FileLaunch) and "cpu" not in first.settings and "cpu" in second.settings:
        # The file describes every vCPU of the start; a CPU may have been named all the same.
        named = start.setup.signature
        values = "none" if named is None else signature_text(named), second.settings["cpu"]
        changed |= {"cpu": values} if values[0] != values[1] else {}
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
        return value_text(self.base_values.get(name, self.base_values.get(f"{table}.bsp.{register}", 0)))

    def value(self, name: str) -> str:
        """Return the value of this launch in place of another launch's departure."""
        return self.departures.get(name, self.own(name))


def _describe(
    setup: Setup, profiles: Sequence[LaunchProfile], preferred: LaunchProfile | str | None = None
) -> _Described:
    """Return a launch as settings; of profiles or loaders that launch it alike, `preferred` is named."""
    if isinstance(setup, LaidOut):
        return _laid_out(setup, profiles, None if isinstance(preferred, str) else preferred)
    if isinstance(setup, FileLaunch):
        return _of_file(setup, preferred if isinstance(preferred, str) else None)
    raise TypeError(f"{type(setup).__name__} is no launch whose settings are known")


def _of_file(setup: FileLaunch, preferred: str | None) -> _Described:
    loader = loader_named(setup.loader)
    settings: Settings = {
        "mode": setup.mode,
        "loader": _first_alike(setup, preferred),
        "firmware": _file_sha256(setup.file),
    }
    settings |= dict(_hashes(setup.kernel_hashes)) if loader.hash_page is not None else {}
    plan, own = setup.plan(Planner()), _registers(setup.loaded.plan)
    if loader.vmsas_last and setup.mode != "sev":
        settings["vcpus"] = str(len(plan.vmsas))
    # The CPU of vCPUs that the file does not describe.
    if setup.signature is not None and setup.loaded.takes_signature:
        settings["cpu"] = signature_text(setup.signature)
    used = _registers(plan)
    features = used.get(f"registers.bsp.{_FEATURES_FIELD}")
    if features is not None:
        settings["guest-features"] = f"{features:#x}"
    departures = departures_from(used, {**own, **_features(used)})
    settings |= departures
    return _Described(settings, None, departures, own, has_default_features=False)


def _registers(plan: LaunchPlan) -> dict[str, int]:
    """Return the registers of the first VMSAs of a plan, one a role, by the names of departures."""
    return {
        register_name(role, field, part): number
        for role, page in zip(_ROLES, vmsas_of(plan), strict=False)
        for field, value in parse_vmsa(page).items()
        for part, number in (value.items() if isinstance(value, dict) else [("", value)])
        if isinstance(number, int)
    }


def _features(registers: Mapping[str, int]) -> dict[str, int]:
    """Return SEV_FEATURES of each role, which are a setting of their own."""
    return {name: value for name, value in registers.items() if name.endswith(f".{_FEATURES_FIELD}")}


def _first_alike(setup: FileLaunch, preferred: str | None) -> str:
    """Return the first loader that launches the same as this one does."""
    names: list[str] = [*LOADERS] if preferred is None else [preferred, *LOADERS]
    launched = _updates(setup)
    return next(name for name in names if _updates(setup._replace(loader=name)) == launched)


def _updates(setup: FileLaunch) -> tuple[LaunchUpdate, ...] | None:
    """Return what a loader launches of a file as it is, None where it refuses that."""
    with suppress(SevbuildError):
        return setup.loaded.plan.updates
    return None


def _laid_out(
    setup: LaidOut, profiles: Sequence[LaunchProfile], preferred: LaunchProfile | None
) -> _Described:
    inputs, mode, shape = setup.launched, setup.mode, setup.shape
    # Where one VMSA is measured, any number of vCPUs is the launch of one.
    measured = setup.vcpus if shape.launch.measured_vcpus == "all" else 1
    uses = UsedValues(setup.with_vcpus(measured), inputs)
    used = uses.by_launch()
    base, departures, values = nearest(setup, used, uses, profiles, preferred)
    settings: Settings = {"mode": mode, "profile": base.name}
    settings |= dict(_inputs(setup, inputs))
    if mode != "sev":
        settings["vcpus"] = str(measured)
        features = used.get(f"registers.bsp.{_FEATURES_FIELD}", 0)
        settings["guest-features"] = f"{features:#x}"
        base_state = base.rules.launch.vcpu_state(mode, "bsp")
        if base_state.get("rdx") == CPU_WORD:
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

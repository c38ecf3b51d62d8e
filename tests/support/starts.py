"""Starts of a search over throw-away guests, and what a manifest measures once changes are written to it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from sevbuild.diagnose.change import Change, Edit, HostFacts, Material, Start
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.guest.guest import Guest, load_guest
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.measure.tree import LaunchTree
from tests.support.firmware import standard_firmware
from tests.support.guests import toml_value, write_manifest

__all__ = [
    "CMDLINE",
    "PARTS",
    "by_value",
    "digest",
    "edited_digest",
    "kernel_guest",
    "profiles",
    "setup_of",
    "start_of",
]

CMDLINE = 'console=ttyS0  root="/dev/vda 1" nr_cpus=4 initrd=initrd quiet '
"""A command line in which there is something for every rule."""

PARTS = {"one.img": b"first", "two.img": b"second", "three.img": b"third"}


@cache
def profiles() -> tuple[LaunchProfile, ...]:
    """Return the shipped profiles."""
    return tuple(map(load_profile, profile_names()))


def kernel_guest(folder: Path, **tables: dict[str, Any] | list[Any] | None) -> Path:
    """Write a guest with kernel, three parts of an initrd and a command line, and return its manifest."""
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "vmlinuz").write_bytes(b"kernel".ljust(0x300, b"k"))
    for name, data in PARTS.items():
        (folder / name).write_bytes(data)
    tables.setdefault("firmware", {"path": "OVMF.fd"})
    tables.setdefault("kernel", {"path": "vmlinuz", "cmdline": CMDLINE})
    if tables["kernel"] is not None:
        tables.setdefault("initrd", {"path": list(PARTS)})
    return write_manifest(folder, **tables)


def setup_of(guest: Guest, index: int = 0) -> LaidOut:
    """Return one target of a guest as a setup."""
    target = guest.targets[index]
    inputs = GuestInputs(
        guest.firmware(target.variant), guest.svsm(target.variant), guest.kernels.hashes(target)
    )
    shape = LaunchShape(
        target.mode,
        target.profile.rules.launch,
        target.order,
        target.policy,
        target.vcpus,
        target.cpu.signature,
        target.guest_features or 0,
    )
    return LaidOut(inputs, shape, target.profile)


def start_of(manifest: Path, host: HostFacts | None = None) -> Start:
    """Return the start of a manifest's first target, with the bytes of what `kernel_guest` wrote."""
    guest = load_guest(str(manifest))
    target, setup = guest.targets[0], setup_of(guest)
    material = Material()
    if target.variant.kernel is not None:
        folder = manifest.parent

        def contents(name: str) -> Any:
            return (folder / name).read_bytes

        names = tuple(PARTS) if "[" in toml_value(tomli.loads(manifest.read_text()).get("initrd", "")) else ()
        material = Material(
            cmdline=guest.kernels.cmdline(target),
            kernel=contents("vmlinuz"),
            initrd=tuple(map(contents, names)),
            initrd_names=names,
        )
    return Start(target.label, setup, digest(setup), material, host or HostFacts())


def digest(setup: Setup) -> bytes:
    """Return the launch digest of a setup, by a planner and a tree of its own."""
    return LaunchTree().digest(setup.plan(Planner()))


def by_value(changes: Iterable[Change], axis: str) -> dict[str, Change]:
    """Return the changes of an axis by their value, which no two of them share."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.axis == axis:
            assert change.value not in found
            found[change.value] = change
    return found


def edited_digest(manifest: Path, edits: Iterable[Edit]) -> bytes:
    """Return what a manifest with these edits measures for its first target."""
    tables = tomli.loads(manifest.read_text())
    for edit in edits:
        *above, key = edit.key.split(".")
        table = tables
        for step in above:
            table = table.setdefault(step, {})
        if edit.value is None:
            table.pop(key, None)
        else:
            table[key] = tomli.loads(f"value = {edit.value}")["value"]
    lines = [f"{name} = {toml_value(table)}" for name, table in tables.items()]
    path = manifest.with_name("edited.toml")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    guest = load_guest(str(path))
    (measured,) = guest.measure(guest.targets[:1])
    return measured.digest

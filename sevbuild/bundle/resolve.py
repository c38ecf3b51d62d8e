"""The manifest in a bundle: what was launched, with paths into the bundle and every input pinned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sevbuild.image.ovmf import Metadata, section_kind_name
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.model import Machine, Manifest, Variant
from sevbuild.manifest.template import Template
from sevbuild.text import visible_toml
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["Placed", "VariantFiles", "resolved_manifest", "resolved_profile"]


class Placed(NamedTuple):
    """Where an input is in the bundle and its SHA-256; `path` is None where it is left out."""

    path: str | None
    sha256: bytes


class _Hex(int):
    """A number that people read in hex."""


class VariantFiles(NamedTuple):
    """What a variant's declared inputs became.

    `firmware` is either placed or a (seed, metadata) pair, None where a ready IGVM file is in its place.
    `profiles` are the names that the manifest is to use. `cmdlines` are templates by variant name, None for
    the only one; one that no TOML string can hold is in `cmdline_file`. `host_data` and `machine` are None
    where no target has a launch command for them.
    """

    firmware: Placed | tuple[bytes, Metadata] | None
    igvm: Placed | None
    svsm: Placed | None
    vars_path: str | None
    vars_size: int
    kernel: Placed | None
    initrd: Placed | None
    profiles: tuple[str, ...]
    cmdlines: Mapping[str | None, Template]
    cmdline_file: str | None
    host_data: bytes | None
    machine: Machine | None


def resolved_manifest(manifest: Manifest, variants: Sequence[tuple[Variant, VariantFiles]]) -> str:
    """Return the text of guest.toml: the same targets, from the bundle's own files.

    Values that the manifest did not give are still not given, so that their origins stay what they were.
    """
    lines = ["# What this bundle was measured from; `sevbuild verify` measures it again.", "schema = 1", ""]
    lines += ["[guest]", f"name = {_value(manifest.name)}", f"version = {_value(manifest.version)}"]
    tables = [_tables(variant, files) for variant, files in variants]
    if len(tables) == 1:
        for name, table in tables[0].items():
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_value(value)}" for key, value in table.items())]
    else:
        for entry in tables:
            lines += ["", "[[matrix]]", *(f"{name} = {_value(table)}" for name, table in entry.items())]
    return "\n".join(lines) + "\n"


def resolved_profile(profile: LaunchProfile) -> str:
    """Return a profile as one document, with what its parents gave it and their sources."""
    raw = dict(profile.prose.raw)
    sources = {
        path: text
        for path, text in sorted(profile.prose.sources.items())
        if not text.endswith(", no source given")
    }
    raw = {"schema": 1, **raw, **({"sources": sources} if sources else {})}
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in raw.items())


def _tables(variant: Variant, files: VariantFiles) -> dict[str, dict[str, Any]]:
    tables = {"launch": _launch(variant, files)}
    if files.firmware is not None:
        tables["firmware"] = _firmware(files.firmware)
    if files.igvm is not None:
        tables["igvm"] = _placed(files.igvm)
    elif variant.igvm is not None:
        tables["igvm"] = {"parameters": variant.igvm.parameters}
    if files.svsm is not None:
        tables["svsm"] = _placed(files.svsm)
        if files.vars_path is None:
            tables["svsm"]["vars-size"] = files.vars_size
        else:
            tables["svsm"]["vars-path"] = files.vars_path
    if files.kernel is not None:
        tables["kernel"] = _kernel(variant, files, files.kernel)
        names = set().union(*(template.names for template in files.cmdlines.values()))
        used = {name: text for name, text in sorted(variant.variables.items()) if name in names}
        if used:
            tables["variables"] = used
    if files.initrd is not None:
        tables["initrd"] = _placed(files.initrd)
    tables["vcpu"] = {"count": _counts(variant.counts), **_cpus(variant)}
    if files.machine is not None and files.machine.given:
        tables["machine"] = _machine(files.machine)
    return tables


def _machine(machine: Machine) -> dict[str, Any]:
    """Return what the manifest itself says of the machine: all else stays at its default."""
    values = {
        "memory": machine.memory,
        "cbitpos": machine.cbitpos,
        "reduced-phys-bits": machine.reduced_phys_bits,
        "extra-args": machine.extra_args,
    }
    return {key: values[key] for key in machine.given}


def _launch(variant: Variant, files: VariantFiles) -> dict[str, Any]:
    launch: dict[str, Any] = {
        "mode": _one_or_list(variant.modes),
        "profile": _one_or_list(files.profiles),
        "order": variant.order,
    }
    if variant.policies:
        launch["policy"] = {mode: _Hex(value) for mode, value in sorted(variant.policies.items())}
    if variant.guest_features:
        features = {mode: _Hex(value) for mode, value in sorted(variant.guest_features.items())}
        launch["guest-features"] = features
    if files.host_data is not None:
        launch["host-data"] = files.host_data.hex()
    return launch


def _firmware(firmware: Placed | tuple[bytes, Metadata]) -> dict[str, Any]:
    if isinstance(firmware, Placed):
        return _placed(firmware)
    seed, metadata = firmware
    table: dict[str, Any] = {}
    if metadata.reset is not None:
        table["reset"] = _Hex(metadata.reset)
    if metadata.hash_table is not None:
        table["hash-table"] = _Hex(metadata.hash_table.base)
    table["sections"] = [
        {"gpa": _Hex(section.gpa), "size": _Hex(section.size), "kind": _kind(section.kind)}
        for section in metadata.sections or ()
    ]
    return {"seed": seed.hex(), "metadata": table}


def _kind(kind: int) -> str | int:
    name = section_kind_name(kind)
    return kind if name.startswith("0x") else name


def _kernel(variant: Variant, files: VariantFiles, kernel: Placed) -> dict[str, Any]:
    declared = variant.kernel
    whole = declared is not None and declared.uki_as == "kernel"
    table = _placed(kernel, "uki" if whole else "path")
    if whole and kernel.path is not None:
        table["uki-as"] = "kernel"
    if files.cmdline_file is not None:
        table["cmdline-file"] = files.cmdline_file
    elif list(files.cmdlines) == [None]:
        table["cmdline"] = files.cmdlines[None].text
    elif files.cmdlines:
        table["cmdlines"] = {name or "": template.text for name, template in files.cmdlines.items()}
    if declared is not None and not declared.hashes:
        table["hashes"] = False
    return table


def _placed(placed: Placed, key: str = "path") -> dict[str, Any]:
    table: dict[str, Any] = {} if placed.path is None else {key: placed.path}
    return {**table, "sha256": placed.sha256.hex()}


def _counts(counts: tuple[int, ...]) -> Any:
    if len(counts) > 2 and counts[-1] - counts[0] == len(counts) - 1:
        return f"{counts[0]}-{counts[-1]}"
    return _one_or_list(counts)


def _cpus(variant: Variant) -> dict[str, Any]:
    if all(cpu.label in CPU_MODELS for cpu in variant.cpus):
        return {"model": _one_or_list([cpu.label for cpu in variant.cpus])}
    return {"signature": _one_or_list([_Hex(cpu.signature) for cpu in variant.cpus])}


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _key(key: str) -> str:
    plain = key and key.isascii() and set(key) <= _BARE
    return key if plain else _value(key)


_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def _value(value: Any) -> str:
    """Return a TOML value; a string as JSON writes it, which TOML reads alike."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    if isinstance(value, _Hex):
        return hex(value)
    return visible_toml(json.dumps(value, ensure_ascii=False))

"""The manifest in a bundle: what was launched, with paths into the bundle and every input pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sevbuild.documents.toml_text import toml_line
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import section_kind_name
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.inputs import VARS, DeclaredInput
from sevbuild.manifest.model import HEX_KEYS, DeclaredIdBlock, DirectBoot, Machine, Manifest, Variant
from sevbuild.manifest.template import Template
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["Placed", "VariantFiles", "resolved_manifest", "resolved_profile"]


class Placed(NamedTuple):
    """Where an input is in the bundle, its SHA-256 and its size.

    `path` is None where it is left out, `size` where nothing but the digest is known.
    """

    path: str | None
    sha256: bytes
    size: int | None


class VariantFiles(NamedTuple):
    """What a variant's declared inputs became.

    `placed` has them in the order of the manifest, without a firmware that `seed` stands for. `profiles` are
    the names that the manifest is to use. `cmdlines` are templates by variant name, None for the only one;
    one that no TOML string can hold is in `cmdline_file`. `host_data` and `machine` are None where no target
    has a launch command for them. `id_block` is what the bundle's manifest says of it: no key that signs.
    """

    seed: FirmwareSeed | None
    placed: Sequence[tuple[DeclaredInput, Placed]]
    vars_size: int
    profiles: tuple[str, ...]
    cmdlines: Mapping[str | None, Template]
    cmdline_file: str | None
    host_data: bytes | None
    machine: Machine | None
    id_block: DeclaredIdBlock | None = None


def resolved_manifest(manifest: Manifest, variants: Sequence[tuple[Variant, VariantFiles]]) -> str:
    """Return the text of guest.toml: the same targets, from the bundle's own files.

    Values that the manifest did not give are still not given, so that their origins stay what they were.
    """
    lines = ["# What this bundle was measured from; `sevbuild verify` measures it again.", "schema = 1", ""]
    lines += ["[guest]", _line("name", manifest.name), _line("version", manifest.version)]
    tables = [_tables(variant, files) for variant, files in variants]
    if len(tables) == 1:
        for name, table in tables[0].items():
            lines += ["", f"[{name}]", *(_line(key, value) for key, value in table.items())]
    else:
        for entry in tables:
            lines += ["", "[[matrix]]", *(_line(name, table) for name, table in entry.items())]
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
    return "".join(f"{toml_line(key, value)}\n" for key, value in raw.items())


def _tables(variant: Variant, files: VariantFiles) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {"launch": _launch(variant, files)}
    tables.update((name, {}) for name in ("firmware", "igvm", "svsm", "kernel", "variables"))
    for declared, placed in files.placed:
        role = declared.role
        table = tables.setdefault(role.table, {})
        if placed.path is not None:
            table[role.keys[0]] = placed.path
        if not role.sized:
            table["sha256"] = placed.sha256.hex()
    if files.seed is not None:
        tables["firmware"] = _seed(files.seed)
    if variant.loads_igvm and not tables["igvm"]:
        tables["igvm"] = {"parameters": variant.igvm_parameters}
    if tables["svsm"] and VARS.keys[0] not in tables["svsm"]:
        tables["svsm"]["vars-size"] = files.vars_size
    if variant.kernel is not None:
        tables["kernel"].update(_boot(variant.kernel, files, image="uki" in tables["kernel"]))
        names = set().union(*(template.names for template in files.cmdlines.values()))
        tables["variables"] = {
            name: text for name, text in sorted(variant.variables.items()) if name in names
        }
    tables["vcpu"] = {"count": _counts(variant.counts), **_cpus(variant)}
    if files.machine is not None:
        tables["machine"] = _machine(files.machine)
    if files.id_block is not None:
        tables["id-block"] = _id_block(files.id_block)
    return {name: table for name, table in tables.items() if table}


def _machine(machine: Machine) -> dict[str, Any]:
    """Return what the manifest itself says of the machine: all else stays at its default."""
    values = {
        "memory": machine.memory,
        "cbitpos": machine.cbitpos,
        "reduced-phys-bits": machine.reduced_phys_bits,
        "extra-args": machine.extra_args,
    }
    return {key: values[key] for key in machine.given}


def _id_block(declared: DeclaredIdBlock) -> dict[str, Any]:
    said = {key.replace("_", "-"): value for key, value in declared._asdict().items() if value is not None}
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in said.items()}


def _launch(variant: Variant, files: VariantFiles) -> dict[str, Any]:
    launch: dict[str, Any] = {
        "mode": _one_or_list(variant.modes),
        "profile": _one_or_list(files.profiles),
        "order": variant.order,
    }
    if variant.policies:
        launch["policy"] = dict(sorted(variant.policies.items()))
    if variant.guest_features:
        launch["guest-features"] = dict(sorted(variant.guest_features.items()))
    if files.host_data is not None:
        launch["host-data"] = files.host_data.hex()
    return launch


def _seed(firmware: FirmwareSeed) -> dict[str, Any]:
    metadata = firmware.metadata
    table: dict[str, Any] = {}
    if metadata.reset is not None:
        table["reset"] = metadata.reset
    if metadata.hash_table is not None:
        table["hash-table"] = metadata.hash_table.base
    table["sections"] = [
        {"gpa": section.gpa, "size": section.size, "kind": _kind(section.kind)}
        for section in metadata.sections or ()
    ]
    return {"seed": firmware.seed.hex(), "metadata": table}


def _kind(kind: int) -> str | int:
    name = section_kind_name(kind)
    return kind if name.startswith("0x") else name


def _boot(kernel: DirectBoot, files: VariantFiles, *, image: bool) -> dict[str, Any]:
    table: dict[str, Any] = {"uki-as": "kernel"} if image else {}
    if files.cmdline_file is not None:
        table["cmdline-file"] = files.cmdline_file
    elif list(files.cmdlines) == [None]:
        table["cmdline"] = files.cmdlines[None].text
    elif files.cmdlines:
        table["cmdlines"] = {name or "": template.text for name, template in files.cmdlines.items()}
    if not kernel.hashes:
        table["hashes"] = False
    return table


def _counts(counts: tuple[int, ...]) -> Any:
    if len(counts) > 2 and counts[-1] - counts[0] == len(counts) - 1:
        return f"{counts[0]}-{counts[-1]}"
    return _one_or_list(counts)


def _cpus(variant: Variant) -> dict[str, Any]:
    if all(cpu.label in CPU_MODELS for cpu in variant.cpus):
        return {"model": _one_or_list([cpu.label for cpu in variant.cpus])}
    return {"signature": _one_or_list([cpu.signature for cpu in variant.cpus])}


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _line(key: str, value: Any) -> str:
    return toml_line(key, value, HEX_KEYS)

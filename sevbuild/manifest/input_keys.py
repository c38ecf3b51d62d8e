"""Decode the tables of a manifest that name inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sevbuild.documents.document import NAME_REST, U32, Table, check_hex, check_type, check_word
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import SECTION_KINDS, Area, Metadata, Section
from sevbuild.manifest import inputs
from sevbuild.manifest.inputs import DeclaredInput, PathSource, Role, Source, UrlSource
from sevbuild.manifest.model import Cmdline, DirectBoot, Variant
from sevbuild.manifest.path_keys import check_path, decode_path
from sevbuild.manifest.url_keys import decode_pin, decode_source, decode_sources

__all__ = ["Inputs", "decode_inputs", "note_other_pins"]

_ENTWINED = frozenset(("firmware", "igvm", "svsm", "kernel", "initrd"))
"""Tables whose keys depend on each other; one of any other kind of input names a file and pins it."""


class Inputs(NamedTuple):
    """What the tables of inputs say, as a `Variant` has it."""

    declared: tuple[DeclaredInput, ...]
    seed: FirmwareSeed | None
    igvm_parameters: bool | None
    vars_size: int | None
    kernel: DirectBoot | None


def decode_inputs(top: Table) -> Inputs:
    """Return every input that a manifest, or an entry of its matrix, declares, in the order of a launch."""
    kernel, images = _kernel(top)
    igvm_parameters, igvm = _igvm(top)
    seed, firmware = _firmware(top, ready=bool(igvm))
    vars_size, svsm = _svsm(top, igvm=igvm_parameters is not None)
    initrd = _initrd(top, kernel)
    others = [_sole_file(top, role) for role in inputs.ROLES.values() if role.table not in _ENTWINED]
    declared = (*igvm, *firmware, *svsm, *images, *initrd, *(entry for found in others for entry in found))
    return Inputs(declared, seed, igvm_parameters, vars_size, kernel)


def note_other_pins(variants: Iterable[Variant]) -> None:
    """Note as a fault each URL that must have one SHA-256 here and another there."""
    pins: dict[str, bytes] = {}
    for variant in variants:
        for declared in variant.inputs:
            for source in declared.sources:
                if (
                    isinstance(source, UrlSource)
                    and pins.setdefault(source.name, source.sha256) != source.sha256
                ):
                    message = f"{source.name} is pinned to a different sha256 elsewhere in the manifest"
                    variant.document.fault(f"{declared.role.table}.sha256", message)


def _input(
    table: Table, role: Role, source: Source | None, pin: bytes | None, *, measured: bool = True
) -> list[DeclaredInput]:
    """Return one input that is a single file, none where that is at fault or not given."""
    if source is None:
        return []
    fetched = isinstance(source, UrlSource)
    key = table.at("url" if fetched else role.keys[0])
    return [DeclaredInput(role, key, (source,), None if fetched else pin, measured=measured)]


def _file(table: Table, role: Role, *, required: bool = False) -> list[DeclaredInput]:
    """Return the input that `path` or `url` of its own table names."""
    url_key = "url" if "url" in role.keys else None
    required = required and not (url_key and table.has(url_key))
    path, pin = decode_path(table, required=required, url_key=url_key), decode_pin(table)
    return _input(table, role, decode_source(table, role, path, pin), pin, measured=role.recorded)


def _sole_file(top: Table, role: Role) -> list[DeclaredInput]:
    table = top.table(role.table)
    if table is None:
        return []
    found = _file(table, role, required=True)
    table.finish()
    return found


def _igvm(top: Table) -> tuple[bool | None, list[DeclaredInput]]:
    table = top.table("igvm")
    if table is None:
        return None, []
    found = _file(table, inputs.IGVM)
    parameters = table.boolean("parameters")
    if table.has("path") == table.has("parameters"):
        hint = "path names a ready file; parameters says how one is built"
        table.fault("path", "give either path or parameters", hint)
    elif table.has("sha256") and not table.has("path"):
        table.fault("sha256", "pins a file, but none is given")
    table.finish()
    return parameters or False, found


def _firmware(top: Table, *, ready: bool) -> tuple[FirmwareSeed | None, list[DeclaredInput]]:
    if ready:
        if top.any("firmware") is not None:
            top.fault("firmware", "cannot be combined with igvm.path: a ready file contains its own")
        return None, []
    table = top.section("firmware")
    found = _file(table, inputs.FIRMWARE)
    from_file = table.has("path") or table.has("url")
    seed = check_hex(table.document, table.at("seed"), table.any("seed"), 48) if table.has("seed") else None
    metadata = _metadata(table) if table.has("metadata") else None
    if from_file == table.has("seed"):
        hint = "or a url; seed is the SNP digest after the firmware pages, for publications without the file"
        table.fault("path", "give either path or seed", hint)
    elif table.has("seed") and not table.has("metadata"):
        table.fault(
            "metadata", "missing: a seed needs the sections, reset address and hash table of its firmware"
        )
    elif from_file and table.has("metadata"):
        table.fault("metadata", "requires seed; a firmware file contains its own")
    if table.has("seed") and table.has("sha256"):
        table.fault("sha256", "pins a file, but none is given")
    table.finish()
    if seed is None or metadata is None:
        return None, found
    return FirmwareSeed(seed, metadata), [DeclaredInput(inputs.FIRMWARE, table.at("seed"), (), seed)]


def _metadata(firmware: Table) -> Metadata | None:
    table = firmware.table("metadata")
    if table is None:
        return None
    document = table.document

    def section(path: str, value: Any) -> Section | None:
        if check_type(document, path, value, dict) is None:
            return None
        entry = Table(document, value, path)
        gpa = entry.integer("gpa", 0, U32, required=True)
        size = entry.integer("size", 0, U32, required=True)
        kind = _section_kind(entry)
        entry.finish()
        return None if gpa is None or size is None or kind is None else Section(gpa, size, kind)

    sections = table.items("sections", section)
    if sections is None:
        table.fault("sections", "missing: the SEV metadata sections, in launch order")
    reset = table.integer("reset", 0, U32)
    hash_table = table.integer("hash-table", 0, U32)
    table.finish()
    area = None if hash_table is None else Area(hash_table, 0)
    return Metadata(sections=tuple(sections or ()), reset=reset, hash_table=area)


def _section_kind(entry: Table) -> int | None:
    value = entry.any("kind")
    if isinstance(value, str):
        name = check_word(entry.document, entry.at("kind"), value, SECTION_KINDS.values())
        return next((number for number, label in SECTION_KINDS.items() if label == name), None)
    return entry.integer("kind", 0, U32, required=True)


def _svsm(top: Table, *, igvm: bool) -> tuple[int | None, list[DeclaredInput]]:
    table = top.table("svsm")
    if table is None:
        return None, []
    if igvm:
        top.fault("svsm", "cannot be combined with [igvm]: a file contains its own SVSM")
    found = _file(table, inputs.SVSM, required=True)
    size = table.integer("vars-size", 0, U32)
    store = decode_path(table, "vars-path", url_key=None)
    if table.has("vars-size") == table.has("vars-path"):
        table.fault("vars-size", "give either vars-size or vars-path: the SVSM lies below the variable store")
    elif size is not None and size % 4096:
        table.fault("vars-size", f"must be a multiple of 4096, got {size:#x}")
    table.finish()
    if store is not None:
        found.append(DeclaredInput(inputs.VARS, table.at("vars-path"), (PathSource(store),), measured=False))
    return size, found


def _kernel(top: Table) -> tuple[DirectBoot | None, list[DeclaredInput]]:
    table = top.table("kernel")
    if table is None:
        return None, []
    path, uki, pin = decode_path(table), decode_path(table, "uki"), decode_pin(table)
    uki_as = table.choice("uki-as", ("kernel", "parts"))
    role = inputs.KERNEL if uki_as is None else inputs.UKI
    source = decode_source(table, role, path or uki, pin)
    hashes = table.boolean("hashes") is not False
    if table.has("path") and table.has("uki"):
        table.fault("uki", "give either path or uki")
    elif not any(table.has(key) for key in ("path", "url", "uki", "sha256")):
        table.fault(
            "path",
            "missing: a kernel, a uki, or the sha256 of a kernel",
            "leave out [kernel] to boot firmware only",
        )
    # A URL with uki-as leads to an image.
    if table.has("uki") != table.has("uki-as") and not (table.has("url") and not table.has("uki")):
        hint = (
            '"kernel" hashes the whole image as the kernel; "parts" hashes its .linux, .initrd and .cmdline'
        )
        table.fault("uki-as", "must be given with uki" if table.has("uki") else "requires uki", hint)
    cmdlines = _cmdlines(table)
    line = decode_path(table, "cmdline-file", url_key=None)
    if uki_as == "parts" and (table.has("cmdline") or table.has("cmdline-file") or table.has("cmdlines")):
        table.fault("uki-as", "the parts include a command line; the manifest must not give another")
    table.finish()
    found = []
    if line is not None:
        key = table.at("cmdline-file")
        found.append(DeclaredInput(inputs.CMDLINE, key, (PathSource(line),), measured=hashes))
    images = _input(table, role, source, pin, measured=hashes)
    if uki_as == "parts":
        images = [part for image in images for part in _parts(image)]
    elif source is None and pin is not None:
        images = [DeclaredInput(inputs.KERNEL, table.at("sha256"), (), pin, measured=hashes)]
    return DirectBoot(uki_as, hashes, cmdlines), [*found, *images]


def _parts(image: DeclaredInput) -> list[DeclaredInput]:
    """Return an image that is taken apart, and what is launched of it."""
    return [
        image._replace(launched=False),
        image._replace(role=inputs.KERNEL, part=".linux"),
        image._replace(role=inputs.INITRD, part=".initrd"),
    ]


def _cmdlines(table: Table) -> tuple[Cmdline, ...]:
    given = [key for key in ("cmdline", "cmdline-file", "cmdlines") if table.has(key)]
    if len(given) > 1:
        table.fault(given[1], f"cannot be combined with {given[0]}: give one of them")
    text = table.string("cmdline")
    found = [Cmdline(None, text, table.at(given[0] if given else "cmdline"))]
    variants = table.table("cmdlines")
    if variants is not None:
        found = []
        for name in variants.names():
            if not (name and set(name) <= NAME_REST):
                variants.fault(name, "the name of a variant must match [a-z0-9._-]+")
            found.append(Cmdline(name, variants.string(name), variants.at(name)))
        if not found:
            table.fault("cmdlines", "must not be empty")
    for cmdline in found:
        if cmdline.text is not None and "\0" in cmdline.text:
            table.document.fault(cmdline.key, "must not contain a NUL: the first one ends a command line")
    return tuple(found)


def _initrd(top: Table, kernel: DirectBoot | None) -> list[DeclaredInput]:
    table = top.table("initrd")
    if table is None:
        return []
    paths = table.items("path", lambda path, value: check_path(top.document, path, value))
    sources = decode_sources(table, inputs.INITRD, paths)
    fetched = table.has("url")
    pin = None if isinstance(table.any("sha256"), list) or fetched else decode_pin(table)
    if not any(table.has(key) for key in ("path", "url", "sha256")):
        table.fault("path", "missing: the initrd, or a list of files, or its sha256")
    table.finish()
    if not top.has("kernel"):
        table.fault("path", "an initrd requires a [kernel]")
    elif kernel is not None and kernel.uki_as == "parts":
        table.fault("path", "the parts of the uki include an initrd; the manifest must not give another")
    key = table.at("url" if fetched else "path" if sources else "sha256")
    return [DeclaredInput(inputs.INITRD, key, sources, pin, measured=kernel is None or kernel.hashes)]

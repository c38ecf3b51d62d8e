"""Decode a manifest, collecting every fault in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sevbuild.documents.document import (
    NAME_REST,
    Document,
    Table,
    check_hex,
    check_name,
    check_type,
    check_word,
    parse_toml,
)
from sevbuild.errors import Fault, FaultsError
from sevbuild.image.ovmf import SECTION_KINDS, Area, Metadata, Section
from sevbuild.launch.mode import MODES, ORDERS, Mode
from sevbuild.manifest.launch_keys import check_mode, decode_features, decode_policies
from sevbuild.manifest.machine_keys import decode_machine
from sevbuild.manifest.model import (
    Cmdline,
    FirmwareInput,
    IgvmInput,
    InitrdInput,
    KernelInput,
    Manifest,
    SvsmInput,
    Variant,
)
from sevbuild.manifest.overlays import TABLES, apply_settings, overlays, read_paths
from sevbuild.manifest.path_keys import check_path, decode_path, is_profile_path
from sevbuild.manifest.url_keys import decode_pin, decode_source, decode_sources
from sevbuild.manifest.vcpu_keys import decode_counts, decode_cpus
from sevbuild.text import as_utf8

__all__ = ["SCHEMA_VERSION", "decode_manifest"]

SCHEMA_VERSION = 1

_U32 = 0xFFFFFFFF


class _ManifestDocument(Document):
    """A manifest, whose keys have other names in other tools."""

    def key_hint(self, table: str, key: str, known: Collection[str]) -> str | None:
        """Return the key that is meant, by what other tools call it and by its letters."""
        from sevbuild.manifest.hints import key_hint

        return key_hint(table, key, known)


def decode_manifest(
    text: str, source: str, *, directory: str = ".", settings: Mapping[str, Any] | None = None
) -> Manifest:
    """Return the manifest in `text`; raises FaultsError with everything that is wrong with it.

    `settings` maps dotted TOML paths to values that override the text (`--set`), in all entries of a matrix.
    """
    given = read_paths(settings or {})
    tables = parse_toml(text, source)
    if "guest" not in tables:
        from sevbuild.manifest.hints import kin_of

        kin = kin_of(tables)
        if kin is not None:
            raise FaultsError([Fault(source, None, "", *kin)])
    raw, aliases = apply_settings(tables, given)
    document = _ManifestDocument(source, text, aliases=aliases)
    top = Table(document, raw)
    schema = top.integer("schema", 0, _U32, required=True)
    if schema not in (None, SCHEMA_VERSION):
        message = f"schema version {schema} is not the one this release reads, {SCHEMA_VERSION}"
        raise FaultsError([Fault(*document.place("schema"), message)])
    guest = top.section("guest")
    name = guest.string("name", required=True)
    if name is not None:
        check_name(document, "guest.name", name)
    version = guest.string("version", required=True)
    if version is not None and as_utf8(version) != version:
        # Documents that no reader takes would be written of it.
        guest.fault("version", "is not UTF-8 text")
    guest.finish()
    laid = overlays(document, top, raw, given)
    if "UNKNOWN:" in text:
        from sevbuild.manifest.incomplete import note_incomplete

        # What is lacking would only be found at fault again, and its place is known here.
        note_incomplete(document, raw, [tables for _, tables in laid])
        document.raise_faults()
    variants = [_variant(Table(view, tables), tables) for view, tables in laid]
    publish = None
    if top.has("publish"):
        # Few runs publish, and the formats' keys are many.
        from sevbuild.manifest.publish_keys import decode_publish

        publish = decode_publish(top)
    for key in (*TABLES, "publish"):
        top.any(key)
    top.finish()
    document.raise_faults()
    return Manifest(name or "", version or "", directory, tuple(variants), publish)


def _variant(top: Table, raw: Mapping[str, Any]) -> Variant:
    document = top.document
    launch = top.section("launch")
    modes: tuple[Mode, ...] = tuple(launch.items("mode", partial(check_mode, document)) or ())
    if not launch.has("mode"):
        launch.fault("mode", f"missing: one of {', '.join(MODES)}, or a list of them")
    profiles = tuple(launch.items("profile", partial(_profile, document)) or ())
    if not launch.has("profile"):
        launch.fault(
            "profile", "missing: a profile's name or a path to one", "`sevbuild profiles` lists them"
        )
    for key, values in (("mode", modes), ("profile", profiles)):
        if len(set(values)) != len(values):
            launch.fault(key, "names the same one twice")
    order = launch.choice("order", ORDERS) or "profile"
    policies = decode_policies(launch, modes)
    features = decode_features(launch, modes)
    host_data = None
    if launch.has("host-data"):
        host_data = check_hex(document, launch.at("host-data"), launch.any("host-data"), 32)
    launch.finish()
    vcpu = top.section("vcpu")
    counts, cpus = decode_counts(vcpu), decode_cpus(vcpu)
    vcpu.finish()
    kernel = _kernel(top)
    igvm = _igvm(top)
    if igvm is not None and igvm.path is not None and order == "canonical":
        launch.fault("order", "goes not with igvm.path: a loader follows the order of the ready file")
    return Variant(
        document=document,
        modes=modes,
        profiles=profiles,
        order=order,
        policies=policies,
        guest_features=features,
        host_data=host_data,
        firmware=_firmware(top, igvm),
        igvm=igvm,
        svsm=_svsm(top, igvm),
        kernel=kernel,
        initrd=_initrd(top, kernel, raw),
        variables=_variables(top),
        counts=counts,
        cpus=cpus,
        machine=decode_machine(top),
    )


def _profile(document: Document, path: str, value: Any) -> str | None:
    name = check_type(document, path, value, str)
    if name is None or not is_profile_path(name):
        return None if name is None else str(name)
    return check_path(document, path, name, url_key=None)


def _igvm(top: Table) -> IgvmInput | None:
    table = top.table("igvm")
    if table is None:
        return None
    path, pin = decode_path(table, url_key=None), decode_pin(table)
    parameters = table.boolean("parameters")
    if table.has("path") == table.has("parameters"):
        hint = "path names a ready file; parameters says how one is built"
        table.fault("path", "give either path or parameters", hint)
    elif pin is not None and path is None:
        table.fault("sha256", "pins a file; there is none here")
    table.finish()
    return IgvmInput(path, pin, parameters or False)


def _firmware(top: Table, igvm: IgvmInput | None) -> FirmwareInput:
    if igvm is not None and igvm.path is not None:
        if top.any("firmware") is not None:
            top.fault("firmware", "goes not with igvm.path: a ready file holds its own")
        return FirmwareInput(None, None, None, None)
    table = top.section("firmware")
    path, pin = decode_path(table), decode_pin(table)
    path, from_file = decode_source(table, path, pin), table.has("path") or table.has("url")
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
        table.fault("metadata", "goes with seed; a firmware file brings its own")
    if table.has("seed") and pin is not None:
        table.fault("sha256", "pins a file; there is none here")
    table.finish()
    return FirmwareInput(path, pin, seed, metadata)


def _metadata(firmware: Table) -> Metadata | None:
    table = firmware.table("metadata")
    if table is None:
        return None
    document = table.document

    def section(path: str, value: Any) -> Section | None:
        if check_type(document, path, value, dict) is None:
            return None
        entry = Table(document, value, path)
        gpa = entry.integer("gpa", 0, _U32, required=True)
        size = entry.integer("size", 0, _U32, required=True)
        kind = _section_kind(entry)
        entry.finish()
        return None if gpa is None or size is None or kind is None else Section(gpa, size, kind)

    sections = table.items("sections", section)
    if sections is None:
        table.fault("sections", "missing: the SEV metadata sections, in launch order")
    reset = table.integer("reset", 0, _U32)
    hash_table = table.integer("hash-table", 0, _U32)
    table.finish()
    area = None if hash_table is None else Area(hash_table, 0)
    return Metadata(sections=tuple(sections or ()), reset=reset, hash_table=area)


def _section_kind(entry: Table) -> int | None:
    value = entry.any("kind")
    if isinstance(value, str):
        name = check_word(entry.document, entry.at("kind"), value, SECTION_KINDS.values())
        return next((number for number, label in SECTION_KINDS.items() if label == name), None)
    return entry.integer("kind", 0, _U32, required=True)


def _svsm(top: Table, igvm: IgvmInput | None) -> SvsmInput | None:
    table = top.table("svsm")
    if table is None:
        return None
    if igvm is not None:
        top.fault("svsm", "goes not with [igvm]: a file brings an SVSM of its own")
    path, pin = decode_path(table, required=not table.has("url")), decode_pin(table)
    path = decode_source(table, path, pin)
    size = table.integer("vars-size", 0, _U32)
    vars_path = decode_path(table, "vars-path", url_key=None)
    if table.has("vars-size") == table.has("vars-path"):
        table.fault("vars-size", "give either vars-size or vars-path: the SVSM lies below the variable store")
    elif size is not None and size % 4096:
        table.fault("vars-size", f"must be a multiple of 4096, got {size:#x}")
    table.finish()
    return SvsmInput(path or "", pin, size, vars_path)


def _kernel(top: Table) -> KernelInput | None:
    table = top.table("kernel")
    if table is None:
        return None
    path, uki, pin = decode_path(table), decode_path(table, "uki"), decode_pin(table)
    source = decode_source(table, path or uki, pin)
    uki_as = table.choice("uki-as", ("kernel", "parts"))
    hashes = table.boolean("hashes")
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
        table.fault("uki-as", "must be given with uki" if table.has("uki") else "goes with uki", hint)
    cmdlines = _cmdlines(table)
    if uki_as == "parts" and (table.has("cmdline") or table.has("cmdline-file") or table.has("cmdlines")):
        table.fault("uki-as", "the parts include a command line; the manifest must not give another")
    table.finish()
    return KernelInput(source, pin, uki_as, hashes is not False, cmdlines)


def _cmdlines(table: Table) -> tuple[Cmdline, ...]:
    given = [key for key in ("cmdline", "cmdline-file", "cmdlines") if table.has(key)]
    if len(given) > 1:
        table.fault(given[1], f"goes not with {given[0]}: give one of them")
    text, path = table.string("cmdline"), decode_path(table, "cmdline-file", url_key=None)
    found = [Cmdline(None, text, path, table.at(given[0] if given else "cmdline"))]
    variants = table.table("cmdlines")
    if variants is not None:
        found = []
        for name in variants.names():
            if not (name and set(name) <= NAME_REST):
                variants.fault(name, "the name of a variant must match [a-z0-9._-]+")
            found.append(Cmdline(name, variants.string(name), None, variants.at(name)))
        if not found:
            table.fault("cmdlines", "must not be empty")
    for cmdline in found:
        if cmdline.text is not None and "\0" in cmdline.text:
            table.document.fault(cmdline.key, "must not contain a NUL: the first one ends a command line")
    return tuple(found)


def _initrd(top: Table, kernel: KernelInput | None, raw: Mapping[str, Any]) -> InitrdInput | None:
    table = top.table("initrd")
    if table is None:
        return None
    paths = table.items("path", lambda path, value: check_path(top.document, path, value))
    sources, pins = decode_sources(table, paths)
    pin = None if isinstance(table.any("sha256"), list) or pins else decode_pin(table)
    if not any(table.has(key) for key in ("path", "url", "sha256")):
        table.fault("path", "missing: the initrd, or a list of files, or its sha256")
    table.finish()
    if kernel is None and "kernel" not in raw:
        table.fault("path", "there is no [kernel] to go with the initrd")
    elif kernel is not None and kernel.uki_as == "parts":
        table.fault("path", "the parts of the uki include an initrd; the manifest must not give another")
    return InitrdInput(sources, pin, pins)


def _variables(top: Table) -> dict[str, str]:
    table = top.table("variables")
    found: dict[str, str] = {}
    if table is not None:
        for name in table.names():
            value = table.any(name)
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if check_type(top.document, table.at(name), value, str) is not None:
                found[name] = value
            if not (name.isidentifier() and name.isascii()):
                table.fault(name, "the name of a variable must be an identifier")
            elif name in ("vcpus", "cpu", "cpu_signature"):
                table.fault(name, "is set by sevbuild for each target")
    return found

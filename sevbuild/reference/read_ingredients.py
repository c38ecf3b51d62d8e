"""Read the profiles and ingredients of a reference-values document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.documents.document import U32, U64
from sevbuild.documents.json_reader import Reader, as_objects, hex_number
from sevbuild.image.ovmf import FOUR_GIB, SECTION_KINDS, Area, Metadata, Section, section_kind_name
from sevbuild.image.svsm import Svsm
from sevbuild.launch.mode import MODES, ORDERS
from sevbuild.launch.page_type import PAGE_SIZE, SECTION_PAGE_TYPES, page_type_named
from sevbuild.launch.profile import ENTRY_WORDS, KINDS, LAYERS, MEASURED_VCPUS, REGIONS, LaunchValues
from sevbuild.manifest.inputs import RECORDED_ROLES
from sevbuild.manifest.template import BUILT_IN, parse_template
from sevbuild.reference.model import Ingredients, KernelIngredients, PublishedProfile
from sevbuild.vcpu.reset import SYMBOLS
from sevbuild.vcpu.save_area import FIELDS, SEGMENT_PARTS

__all__ = ["STATE_LAYERS", "read_ingredients", "read_profile"]

STATE_LAYERS = {name.replace("-", "_"): name for name in LAYERS}
"""The layers of registers by their keys in JSON."""

_REGISTERS = {field.name: field for field in FIELDS}


def read_profile(table: Reader) -> PublishedProfile:
    """Return one entry of `profiles`."""
    regions_table = table.section("regions")
    regions = {mode: regions_table.words(mode, REGIONS[mode]) for mode in MODES if regions_table.has(mode)}
    regions_table.finish()
    for mode, found in regions.items():
        if found[:1] != ("firmware",):
            regions_table.fault(mode, "must begin with the firmware")
    types = table.section("page_types")
    page_types = {kind: page_type_named(types.word(kind, SECTION_PAGE_TYPES)) for kind in KINDS}
    types.finish()
    entry = table.section("entry")
    entries = {role: _symbol(entry, role, words, U64) for role, words in ENTRY_WORDS.items()}
    entry.finish()
    gpa = table.number("vmsa_gpa", (1 << 52) - PAGE_SIZE)
    if gpa % PAGE_SIZE:
        table.fault("vmsa_gpa", "must be a multiple of 0x1000")
    name, as_of = table.string("name"), table.string("as_of")
    launch = LaunchValues(
        regions,
        table.words("sections_last", SECTION_KINDS.values()),
        page_types,
        gpa,
        table.word("measured_vcpus", MEASURED_VCPUS),
        entries,
        _state(table.section("initial_state"), layers=True),
    )
    table.finish()
    return PublishedProfile(name, as_of, launch)


def read_ingredients(table: Reader) -> Ingredients:
    """Return one entry of `ingredients`."""
    inputs = table.section("inputs")
    digests = {}
    for role in RECORDED_ROLES:
        if inputs.has(role):
            text = inputs.any(role)
            digests[role] = inputs.hex(role, 48 if isinstance(text, str) and len(text) == 96 else 32)
    inputs.finish()
    mode = table.word("mode", MODES)
    seed = table.nullable("seed", lambda key: table.hex(key, 48))
    if seed is not None and mode != "snp":
        table.fault("seed", f"mode {mode} has none")
    area = table.nullable("hash_table", lambda key: table.number(key, U32))
    found = Ingredients(
        name=table.string("name"),
        mode=mode,
        profile=table.string("profile"),
        order=table.word("order", ORDERS),
        seed=seed,
        metadata=Metadata(
            _sections(table) if table.has("sections") else None,
            table.nullable("reset", lambda key: table.number(key, U32)),
            None if area is None else Area(area, 0),
        ),
        svsm=_svsm(table.section("svsm")) if table.has("svsm") else None,
        kernel=_kernel(table.section("kernel")) if table.has("kernel") else None,
        inputs=digests,
    )
    table.finish()
    return found


def _sections(table: Reader) -> tuple[Section, ...]:
    found = []
    for entry in as_objects(table, "sections"):
        section = Section(
            entry.number("gpa", FOUR_GIB - 1),
            entry.number("size", FOUR_GIB),
            entry.integer("number", 0, U32),
        )
        if entry.string("kind") != section_kind_name(section.kind):
            entry.fault("kind", f"section kind {section.kind} is {section_kind_name(section.kind)}")
        entry.finish()
        found.append(section)
    return tuple(found)


def _svsm(table: Reader) -> Svsm:
    svsm = Svsm(None, table.number("gpa", U32), table.number("entry", U32), _sections(table))
    table.finish()
    return svsm


def _kernel(table: Reader) -> KernelIngredients:
    text = table.string("cmdline") if table.has("cmdline") else None
    if text is not None:
        template = table.document.attempt(table.at("cmdline"), parse_template, text)
        unknown = [] if template is None else sorted(template.names - set(BUILT_IN))
        if unknown:
            table.fault("cmdline", f"unknown placeholder {{{unknown[0]}}}")
    kernel = KernelIngredients(
        table.hex("sha256", 32),
        table.hex("initrd_sha256", 32),
        text,
        table.hex("cmdline_sha256", 32) if table.has("cmdline_sha256") else None,
    )
    table.finish()
    return kernel


def _state(table: Reader, *, layers: bool = False) -> Mapping[str, Any]:
    state: dict[str, Any] = {}
    for key in table.names():
        field = _REGISTERS.get(key)
        if layers and key in STATE_LAYERS:
            state[STATE_LAYERS[key]] = _state(table.section(key))
        elif field is None or field.kind == "bytes":
            table.fault(key, "is not a register of the save area")
        elif field.kind == "segment":
            segment = table.section(key)
            state[key.replace("_", "-")] = {
                part: _symbol(segment, part, SYMBOLS, (1 << 8 * size) - 1)
                for part, size in SEGMENT_PARTS.items()
                if segment.has(part)
            }
            segment.finish()
        else:
            state[key.replace("_", "-")] = _symbol(table, key, SYMBOLS, (1 << 8 * field.size) - 1)
    return state


def _symbol(table: Reader, key: str, words: Any, high: int) -> int | str:
    text = table.name(key)
    if text in words:
        return text
    return (hex_number(table, key, text, high) or 0) if text else 0

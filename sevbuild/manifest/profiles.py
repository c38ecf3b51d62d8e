"""Find, merge and decode profiles, the shipped ones and those a manifest names by path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

from sevbuild.documents.document import (
    U64,
    Document,
    Table,
    check_integer,
    check_name,
    check_word,
    parse_toml,
    suggest,
)
from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.fs import path_from, read_text
from sevbuild.image.ovmf import SECTION_KINDS
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.page_type import PAGE_SIZE, SECTION_PAGE_TYPES, page_type_named
from sevbuild.launch.profile import (
    ENTRY_WORDS,
    KINDS,
    LAUNCHERS,
    LAYERS,
    MEASURED_VCPUS,
    REGIONS,
    Advice,
    HostFeatures,
    LaunchCommand,
    LaunchProfile,
    LaunchRules,
    LaunchValues,
    ProfileProse,
)
from sevbuild.manifest.path_keys import check_path, is_profile_path
from sevbuild.vcpu.reset import SYMBOLS
from sevbuild.vcpu.save_area import FIELDS, SEGMENT_PARTS

__all__ = [
    "DEFAULT_PROFILE",
    "load_profile",
    "profile_files",
    "profile_names",
    "profiles_that",
]

PROFILE_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "profiles")

DEFAULT_PROFILE = "qemu"
"""The profile that is taken where a document or a command of others names none."""

_REGISTERS = {field.name.replace("_", "-"): field for field in FIELDS}
_MAX_ANCESTORS = 8
Word = TypeVar("Word", bound=str)

_HEADINGS = ("name", "summary", "as-of")


def profile_names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(entry[:-5] for entry in os.listdir(PROFILE_DIRECTORY) if entry.endswith(".toml"))


def profiles_that(launch: Callable[[LaunchProfile], bool]) -> list[str]:
    """Return the names of the shipped profiles of which that holds, as hints name them."""
    return [profile.name for profile in _shipped() if launch(profile)]


@cache
def _shipped() -> tuple[LaunchProfile, ...]:
    return tuple(load_profile(name) for name in profile_names())


def load_profile(name: str, directory: str = ".") -> LaunchProfile:
    """Return the profile called `name`, or the one in the file it names relative to `directory`.

    A name with a slash or ending in `.toml` is a path. Raises SevbuildError for an unknown name and
    FaultsError for a document at fault.
    """
    return _decode(list(reversed(list(_lineage(name, directory)))))


def profile_files(name: str, directory: str = ".") -> list[str]:
    """Return the files of a profile and of those that it extends, less the shipped ones; raises alike."""
    paths = [path for path, _, _ in _lineage(name, directory)]
    return [path for path in paths if os.path.dirname(path) != PROFILE_DIRECTORY]


def _lineage(name: str, directory: str) -> Iterator[tuple[str, Document, dict[str, Any]]]:
    """Yield path, document and raw tables of a profile, then of what it extends, to the root."""
    seen: list[str] = []
    wanted: str | None = name
    while wanted is not None:
        path = _path_of(wanted, directory)
        if len(seen) == _MAX_ANCESTORS or path in seen:
            raise SevbuildError(
                f"{name}: the chain of `extends` does not end", hint="it must reach a root profile"
            )
        directory = os.path.dirname(path)
        shipped = directory == PROFILE_DIRECTORY
        text = read_text(path)
        document = Document(os.path.basename(path) if shipped else wanted, text)
        raw = parse_toml(text, document.source)
        parent = raw.get("extends")
        if parent is not None and not isinstance(parent, str):
            document.fault("extends", "must be a string: a profile's name or a path to one")
        elif parent is not None and is_profile_path(parent):
            check_path(document, "extends", parent, url_key=None)
        document.raise_faults()
        seen.append(path)
        yield path, document, raw
        wanted = parent


def _path_of(name: str, directory: str) -> str:
    if is_profile_path(name):
        return path_from(directory, name)
    path = os.path.join(PROFILE_DIRECTORY, f"{name}.toml")
    if not os.path.isfile(path):
        names = profile_names()
        hint = (
            suggest(name, names)
            or f"`sevbuild profiles` lists them: {', '.join(names)}; or give a path ending in .toml"
        )
        raise SevbuildError(f"unknown profile {name!r}", hint=hint)
    return path


def _decode(lineage: list[tuple[str, Document, dict[str, Any]]]) -> LaunchProfile:
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for path, document, raw in lineage:
        own = {
            key: value for key, value in raw.items() if key not in ("extends", "sources", "schema", "advice")
        }
        given, unsaid = raw.get("sources", {}), f"{document.source}, no source given"
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            document.fault("sources", "must be a table of strings")
            given = {}
        for leaf in _leaves(own):
            # A value given again is no longer covered by what its parent cited.
            at = leaf
            while at and not given.get(at):
                at = at.rpartition(".")[0]
            sources[leaf] = given[at] if at else unsaid
        if "advice" in raw:
            sources["advice"] = given.get("advice", unsaid)
        headings = Table(document, raw)
        for key in _HEADINGS:
            headings.string(key, required=True)
        _check_name(path, document, raw.get("name"))
        merged = _merge(merged, own)
        merged["advice"] = raw.get("advice", merged.get("advice", []))
        if raw.get("schema") != 1:
            document.fault("schema", "must be 1, the version of profiles this release reads")
    leaf_document = lineage[-1][1]
    table = Table(leaf_document, merged)
    try:
        names = [raw.get("name", "?") for _, _, raw in lineage]
        profile = _profile(table, merged, sources, names, lineage[-1][2].get("extends"))
    finally:
        faults = [fault for _, document, _ in lineage for fault in document.faults]
        if faults:
            raise FaultsError(faults)
    return profile


def _check_name(path: str, document: Document, name: Any) -> None:
    """Note as a fault a name that no label can carry, or that a shipped profile has.

    A label names one launch digest, and who reads it knows the shipped profiles by their names.
    """
    if not isinstance(name, str) or check_name(document, "name", name) is None:
        return
    if os.path.dirname(path) != PROFILE_DIRECTORY and name in profile_names():
        hint = f'give yours a different name; `extends = "{name}"` inherits from that one'
        document.fault("name", f"{name} is a shipped profile", hint)


def _profile(
    table: Table, merged: dict[str, Any], sources: dict[str, str], lineage: list[str], extends: str | None
) -> LaunchProfile:
    name, summary, as_of = (str(table.any(key) or "?") for key in _HEADINGS)
    launch = table.section("launch")
    modes: tuple[Mode, ...] = tuple(launch.items("modes", partial(_word, table.document, MODES)) or ())
    if not launch.has("modes"):
        launch.fault("modes", "missing: a list of modes is required")
    regions_table = launch.section("regions")
    regions = {}
    for mode in MODES:
        found = regions_table.items(mode, partial(_word, table.document, REGIONS[mode]))
        if found is None and mode in modes:
            regions_table.fault(mode, "missing: the regions launched in this mode")
        elif found is not None and found[:1] != ["firmware"]:
            regions_table.fault(mode, "must begin with the firmware")
        regions[mode] = tuple(found or ())
    regions_table.finish()
    sections_last = tuple(
        ()
        if launch.any("sections-last") == []
        else launch.items("sections-last", partial(_word, table.document, SECTION_KINDS.values())) or ()
    )
    vmsa_gpa = launch.integer("vmsa-gpa", 0, (1 << 52) - PAGE_SIZE, required=True) or 0
    if vmsa_gpa % PAGE_SIZE:
        launch.fault("vmsa-gpa", f"must be a multiple of 4096, got {vmsa_gpa:#x}")
    measured = launch.choice("measured-vcpus", MEASURED_VCPUS, required=True) or "all"
    direct_boot = launch.boolean("direct-boot")
    order = launch.choice("order", ("listed", "canonical"), required=True) or "listed"
    loader = _loader(launch)
    list_loader = launch.string("list-loader")
    launch.finish()
    page_types = _page_types(table)
    features, host_features = _features(table, modes)
    values = LaunchValues(
        regions={mode: regions[mode] for mode in modes},
        sections_last=sections_last,
        page_types=page_types,
        vmsa_gpa=vmsa_gpa,
        measured_vcpus=measured,
        entry=_entry(table),
        initial_state=_initial_state(table),
    )
    rules = LaunchRules(
        launch=values,
        modes=modes,
        direct_boot=direct_boot is not False,
        features=features,
        order=order,
        loader=loader,
        list_loader=list_loader or None,
    )
    prose = ProfileProse(
        summary=summary,
        as_of=as_of,
        host_features=host_features,
        advice=_advice(table),
        command=_command(table),
        raw=merged,
        sources=sources,
        lineage=tuple(lineage),
        extends=extends,
    )
    table.finish()
    return LaunchProfile(name, rules, prose)


def _loader(launch: Table) -> str | None:
    name = launch.string("loader", required=True)
    if not name:
        return None
    # Only a profile that loads files needs to know the loaders.
    from sevbuild.igvm.loaders import LOADERS

    return check_word(launch.document, launch.at("loader"), name, LOADERS)


def _word(document: Document, words: Iterable[Word], path: str, value: Any) -> Word | None:
    return check_word(document, path, value, words)


def _page_types(table: Table) -> dict[str, Any]:
    types = table.section("page-types")
    found = {}
    for kind in KINDS:
        found[kind] = page_type_named(types.choice(kind, SECTION_PAGE_TYPES, required=True) or "")
    types.finish()
    return found


def _features(table: Table, modes: Sequence[Mode]) -> tuple[dict[Mode, int], dict[Mode, HostFeatures]]:
    """Return SEV_FEATURES by mode that the profile launches: what hosts set, and what else they can set."""
    features = table.section("guest-features")
    defaults: dict[Mode, int] = {}
    hosts: dict[Mode, HostFeatures] = {}
    for mode in MODES[1:]:
        if mode in modes and not features.has(mode):
            features.fault(mode, "missing: what hosts set in this mode")
        entry = features.table(mode)
        if entry is not None:
            default = entry.integer("default", 0, U64, required=True) or 0
            known = entry.integer("known", 0, U64, required=True) or 0
            newer = entry.integer("newer", 0, U64) or 0
            entry.finish()
            if mode in modes:
                defaults[mode], hosts[mode] = default, HostFeatures(known, newer)
    features.finish()
    return defaults, hosts


def _entry(table: Table) -> dict[str, int | str]:
    entry = table.section("entry")
    found: dict[str, int | str] = {}
    for role, words in ENTRY_WORDS.items():
        value = entry.any(role)
        if isinstance(value, str):
            found[role] = check_word(table.document, entry.at(role), value, words) or ""
        else:
            found[role] = entry.integer(role, 0, U64, required=True) or 0
    entry.finish()
    return found


def _advice(table: Table) -> tuple[Advice, ...]:
    def decode(path: str, value: Any) -> Advice | None:
        if not isinstance(value, dict):
            table.document.fault(path, "must be a table")
            return None
        entry = Table(table.document, value, path)
        low = entry.integer("from-signature", 0, 0xFFFFFFFF)
        high = entry.integer("to-signature", 0, 0xFFFFFFFF)
        profile = entry.string("profile", required=True) or ""
        reason = entry.string("reason", required=True) or ""
        entry.finish()
        return Advice(low or 0, 0xFFFFFFFF if high is None else high, profile, reason)

    return tuple(() if table.any("advice") == [] else table.items("advice", decode) or ())


def _command(table: Table) -> LaunchCommand:
    command = table.table("command")
    if command is None:
        known = ", ".join(LAUNCHERS)
        unsaid = f"its profile does not say what launches it: [command] launcher, one of {known}"
        return LaunchCommand("none", unsaid, {})
    launcher = command.choice("launcher", LAUNCHERS, required=True) or "none"
    reason = command.string("reason")
    if launcher == "none" and not reason:
        command.fault("reason", "missing: what launches these guests, if nothing here can")
    properties = {}
    given = command.table("properties")
    if given is not None:
        properties = {name: given.string(name) or "" for name in given.names()}
    command.finish()
    return LaunchCommand(launcher, reason, properties)


def _initial_state(table: Table) -> dict[str, Any]:
    state = table.section("initial-state")
    for layer in LAYERS:
        below = state.table(layer)
        if below is not None:
            _check_registers(below)
    _check_registers(state, skip=LAYERS)
    raw = table.any("initial-state")
    return raw if isinstance(raw, dict) else {}


def _check_registers(state: Table, skip: tuple[str, ...] = ()) -> None:
    document = state.document
    for key in state.names():
        if key in skip:
            continue
        field, value = _REGISTERS.get(key), state.any(key)
        if field is None or field.kind == "bytes":
            state.fault(key, "is not a register of the save area", suggest(key, _REGISTERS))
        elif field.kind == "segment":
            segment = state.table(key)
            if segment is not None:
                for part, size in SEGMENT_PARTS.items():
                    if segment.has(part):
                        _check_value(document, segment.at(part), segment.any(part), 8 * size)
                segment.finish()
        else:
            _check_value(document, state.at(key), value, 8 * field.size)


def _check_value(document: Document, path: str, value: Any, bits: int) -> None:
    if isinstance(value, str):
        check_word(document, path, value, SYMBOLS)
    else:
        check_integer(document, path, value, 0, (1 << bits) - 1)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tables.items():
        path = prefix + key
        found += _leaves(value, f"{path}.") if isinstance(value, dict) else [path]
    return found

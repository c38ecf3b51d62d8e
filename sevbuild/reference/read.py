"""Read `reference-values.json`: every fault with its JSON path, and no key that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from sevbuild.documents.document import U32, U64
from sevbuild.documents.json_input import JsonDocument, parse_json
from sevbuild.documents.json_reader import Reader, as_objects
from sevbuild.errors import SevbuildError
from sevbuild.igvm.doubt import KINDS, Doubt
from sevbuild.igvm.loaders import ORDERS as LOADER_ORDERS
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.label import NO_CPU
from sevbuild.launch.mode import MODES, ORDERS
from sevbuild.manifest.inputs import RECORDED_ROLES, launched_as
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.reference import model
from sevbuild.reference.read_ingredients import read_ingredients, read_profile

__all__ = [
    "decode_reference_values",
    "is_reference_document",
    "read_guest_value",
    "read_reference_values",
]


def is_reference_document(value: Any) -> bool:
    """Tell whether a JSON value looks like a document of ours, of whatever schema."""
    return isinstance(value, dict) and "schema" in value and "values" in value


def read_reference_values(source: str, data: bytes) -> model.ReferenceValues:
    """Return the reference values of a document; `source` is its name in messages.

    Raises FaultsError with every fault and its JSON path, SevbuildError for what is no JSON or of
    another schema.
    """
    return decode_reference_values(source, parse_json(source, data))


def decode_reference_values(source: str, raw: Any) -> model.ReferenceValues:
    """Return the reference values of a parsed document; raises as `read_reference_values` does."""
    if not isinstance(raw, dict) or "schema" not in raw:
        raise SevbuildError(f"{source}: not reference values: an object with `schema` is expected")
    schema = raw["schema"]
    if schema != model.DOCUMENT_SCHEMA or isinstance(schema, bool):
        shown = schema if isinstance(schema, str | int) and len(str(schema)[:40]) < 40 else "another value"
        message = f"{source}: $.schema is {shown!r}; this release reads only version {model.DOCUMENT_SCHEMA}"
        raise SevbuildError(message, hint="the release of sevbuild that wrote the document reads it")
    document = JsonDocument(source)
    table = Reader(document, raw)
    table.any("schema")
    guest = table.section("guest")
    name, version = guest.string("name"), guest.nullable("version", guest.string)
    guest.finish()
    releases = _release_names(table, version)
    read_value = read_guest_value if version is not None else _file_value
    found = model.ReferenceValues(
        name,
        version,
        tuple(_input(entry, releases) for entry in as_objects(table, "inputs")),
        tuple(read_value(entry, releases) for entry in as_objects(table, "values", least=1)),
        tuple(read_profile(entry) for entry in as_objects(table, "profiles", required=False)),
        tuple(read_ingredients(entry) for entry in as_objects(table, "ingredients", required=False)),
        releases,
    )
    table.finish()
    document.raise_faults()
    _check(document, found)
    document.raise_faults()
    return found


def _release_names(table: Reader, version: str | None) -> tuple[str, ...]:
    if not table.has("releases"):
        return ()
    if version is None:
        table.any("releases")
        table.fault("releases", "an IGVM file has no version, and so no releases")
        return ()
    names = table.strings("releases")
    if len(set(names)) != len(names) or len(names) < 1:
        table.fault("releases", "must be a list of different versions")
    elif names[-1] != version:
        table.fault("releases", "must end with the version of the guest")
    return names


def _spans(table: Reader, releases: tuple[str, ...]) -> tuple[model.Span, ...]:
    if bool(releases) != table.has("releases"):
        message = "missing: the document is of several" if releases else "the document is of one release"
        table.fault("releases", message)
    spans = []
    at = -1
    for entry in as_objects(table, "releases", required=False):
        span = model.Span(entry.word("first", releases), entry.word("last", releases))
        entry.finish()
        if set(span) <= set(releases):
            first, last = releases.index(span.first), releases.index(span.last)
            if not at < first <= last:
                entry.fault("first", "must follow the release before it")
            at = last
        spans.append(span)
    return tuple(spans)


def _input(table: Reader, releases: tuple[str, ...]) -> model.Input:
    role, name = table.word("role", RECORDED_ROLES), table.string("name")
    size = table.integer("size", 0, U64) if table.has("size") else None
    algorithm = "seed" if table.has("seed") else "sha256"
    digest = table.hex(algorithm, 48 if algorithm == "seed" else 32)
    spans = _spans(table, releases)
    table.finish()
    return model.Input(role, name, size, algorithm, digest, spans)


def read_guest_value(table: Reader, releases: tuple[str, ...] = ()) -> model.Value:
    """Return one entry of `values`, of a guest in these releases."""
    origins = table.section("origins")
    value = _value(table, origins)._replace(
        cpu=table.string("cpu"),
        signature=table.number("signature", U32),
        vcpus=table.integer("vcpus", 1, MAX_VCPUS),
        order=table.word("order", ORDERS),
        features_origin=origins.string("guest_features"),
        ingredients=table.string("ingredients") if table.has("ingredients") else None,
        id_block=_id_block(table.section("id_block")) if table.has("id_block") else None,
        doubts=_doubts(table, least=1) if table.has("doubts") else None,
        releases=_spans(table, releases),
    )
    origins.finish()
    table.finish()
    return value


def _file_value(table: Reader, releases: tuple[str, ...]) -> model.Value:
    origins = table.section("origins")
    value = _value(table, origins)._replace(
        cpu=table.word("cpu", (NO_CPU,)),
        signature=table.nullable("signature", lambda key: table.number(key, U32)),
        vcpus=table.integer("vcpus", 0, model.MOST_DESCRIBED),
        order=table.word("order", LOADER_ORDERS),
        features_origin=origins.nullable("guest_features", origins.string),
        doubts=_doubts(table),
        releases=_spans(table, releases),
    )
    origins.finish()
    table.finish()
    return value


def _value(table: Reader, origins: Reader) -> model.Value:
    """Return what values of guests and of IGVM files have in common."""
    mode = table.word("mode", MODES)
    value = model.Value(
        label=table.name("label"),
        mode=mode,
        profile=table.string("profile"),
        cpu="",
        signature=None,
        vcpus=0,
        guest_features=table.nullable("guest_features", lambda key: table.number(key, U64)),
        policy=table.number("policy", U64),
        kernel_hashes=table.boolean("kernel_hashes"),
        cmdline=table.nullable("cmdline", table.string),
        order="",
        vmsa_gpa=table.nullable("vmsa_gpa", lambda key: table.number(key, (1 << 52) - 1)),
        digest=table.hex("digest", 48 if mode == "snp" else 32),
        features_origin=None,
        policy_origin=origins.string("policy"),
    )
    algorithm = table.word("algorithm", ("sha256", "sha384"))
    if "" not in (algorithm, mode) and algorithm != value.algorithm:
        table.fault("algorithm", f"must be {value.algorithm} in mode {mode}")
    return value


def _doubts(table: Reader, *, least: int = 0) -> tuple[Doubt, ...]:
    found = []
    for entry in as_objects(table, "doubts", least=least):
        found.append(Doubt(entry.word("kind", KINDS), entry.string("reason")))
        entry.finish()
    return tuple(found)


def _id_block(table: Reader) -> ReportedIdBlock:
    block = ReportedIdBlock(
        table.hex("id_key_digest", 48),
        table.hex("author_key_digest", 48) if table.has("author_key_digest") else None,
        table.hex("family_id", 16),
        table.hex("image_id", 16),
        table.integer("guest_svn", 0, U32),
    )
    table.finish()
    return block


def _check(document: JsonDocument, found: model.ReferenceValues) -> None:
    """Note what names nothing, and what is named twice."""
    _once(document, "profiles", [entry.name for entry in found.profiles])
    _once(document, "ingredients", [entry.name for entry in found.ingredients])
    if found.releases:
        _once_a_release(document, found)
    else:
        _once(document, "values", [entry.label for entry in found.values])
    for key in ("profiles", "ingredients"):
        if found.of_file and getattr(found, key):
            document.fault(key, "must be empty: an IGVM file has none")
    _check_ingredients(document, found)
    names = {entry.name for entry in found.ingredients}
    for index, value in enumerate(found.values):
        if value.ingredients is not None and value.ingredients not in names:
            path = f"values[{index}].ingredients"
            document.fault(path, f"there are no ingredients {value.ingredients!r}")


def _check_ingredients(document: JsonDocument, found: model.ReferenceValues) -> None:
    profiles = {entry.name for entry in found.profiles}
    digests = {
        (role, entry.digest) for entry in found.inputs for role in (entry.role, launched_as(entry.role))
    }
    for index, entry in enumerate(found.ingredients):
        if entry.profile not in profiles:
            document.fault(f"ingredients[{index}].profile", f"there is no profile {entry.profile!r}")
        for role, digest in entry.inputs.items():
            if (role, digest) not in digests:
                document.fault(f"ingredients[{index}].inputs.{role}", "no input has this digest")


def _once_a_release(document: JsonDocument, found: model.ReferenceValues) -> None:
    """Note labels that stand twice in one release: which of the two is meant cannot be told."""
    order = {name: at for at, name in enumerate(found.releases)}
    runs: dict[str, list[tuple[int, int, int]]] = {}
    for index, value in enumerate(found.values):
        for span in value.releases:
            runs.setdefault(value.label, []).append((order[span.first], order[span.last], index))
    for label, spans in runs.items():
        spans.sort()
        for (_, last, _), (first, _, index) in pairwise(spans):
            if first <= last:
                message = f"{label!r} appears twice in release {found.releases[first]}"
                document.fault(f"values[{index}].releases", message)


def _once(document: JsonDocument, path: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            document.fault(f"{path}[{index}]", f"{name!r} is listed twice")
        seen.add(name)

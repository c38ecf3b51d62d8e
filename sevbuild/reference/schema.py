"""The JSON Schema of `reference-values.json` (draft-7 keywords)."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.schema_shapes import integer, text, word
from sevbuild.igvm import doubt, loaders
from sevbuild.image.ovmf import SECTION_KINDS
from sevbuild.launch.label import NO_CPU
from sevbuild.launch.mode import MODES, ORDERS
from sevbuild.launch.page_type import SECTION_PAGE_TYPES
from sevbuild.launch.profile import ENTRY_WORDS, KINDS, MEASURED_VCPUS, REGIONS
from sevbuild.manifest.inputs import RECORDED_ROLES
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.reference.model import DOCUMENT_SCHEMA, MOST_DESCRIBED
from sevbuild.reference.read_ingredients import STATE_LAYERS
from sevbuild.vcpu.reset import SYMBOLS
from sevbuild.vcpu.save_area import FIELDS, SEGMENT_PARTS

__all__ = ["reference_values_schema"]

_STRING = text()
_HEX_NUMBER = text(pattern="^0x[0-9a-f]{1,16}$")
_SHA256 = text(pattern="^[0-9a-f]{64}$")
_SHA384 = text(pattern="^[0-9a-f]{96}$")
_ID = text(pattern="^[0-9a-f]{32}$")
_MODE = word(MODES)
_ORDER = word(ORDERS)


def reference_values_schema() -> dict[str, Any]:
    """Return the schema; that names lead somewhere is left to the reader."""
    release = _object("A run of releases, both ends included.", {"first": _STRING, "last": _STRING})
    releases = {"description": "The releases it holds in.", "type": "array", "items": release, "minItems": 1}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"sevbuild reference values, version {DOCUMENT_SCHEMA}",
        **_object(
            "The launch digests of a guest, and what they can be recomputed from.",
            {
                "schema": {"description": "The version of this format.", "const": DOCUMENT_SCHEMA},
                "guest": _object(
                    "Which guest, or which IGVM file.", {"name": _STRING, "version": _or_null(_STRING)}
                ),
                "inputs": _list("What it is made of, by role and name.", _input(releases)),
                "profiles": _list("What of each hypervisor's launch enters a digest.", _profile()),
                "ingredients": _list("Each distinct shape of launch, down to digests.", _ingredients()),
                "values": {"description": "A launch digest each target.", "type": "array", "minItems": 1},
                "releases": {
                    "description": "In a merged document: every release, the oldest first.",
                    "type": "array",
                    "items": _STRING,
                    "minItems": 1,
                    "uniqueItems": True,
                },
            },
            optional=("profiles", "ingredients", "releases"),
        ),
        # An IGVM file has no version, and its values are of another shape.
        "if": {"properties": {"guest": {"properties": {"version": {"type": "null"}}}}},
        "then": {"properties": _file_document()},
        "else": {"properties": {"values": {"items": _guest_value(releases)}}},
    }


def _object(
    description: str, properties: dict[str, Any], *, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optional],
        "additionalProperties": False,
    }


def _list(description: str, items: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _input(releases: dict[str, Any]) -> dict[str, Any]:
    return {
        **_object(
            "One input, by basename.",
            {
                "role": word(RECORDED_ROLES),
                "name": _STRING,
                "size": {"type": "integer", "minimum": 0},
                "sha256": _SHA256,
                "seed": _SHA384,
                "releases": releases,
            },
            optional=("size", "sha256", "seed", "releases"),
        ),
        "oneOf": [{"required": ["sha256"]}, {"required": ["seed"]}],
    }


def _sections() -> dict[str, Any]:
    section = _object(
        "One section of the SEV metadata.",
        {
            "kind": {"anyOf": [word(SECTION_KINDS.values()), _HEX_NUMBER]},
            "number": integer(0, 0xFFFFFFFF),
            "gpa": _HEX_NUMBER,
            "size": _HEX_NUMBER,
        },
    )
    return _list("In launch order.", section)


def _ingredients() -> dict[str, Any]:
    kernel = _object(
        "What the kernel-hashes table holds.",
        {
            "sha256": _SHA256,
            "initrd_sha256": _SHA256,
            "cmdline": text(
                "A template: {vcpus}, {cpu} and {cpu_signature} are the target's, {{ is a brace."
            ),
            "cmdline_sha256": {"description": "With the NUL that ends it.", **_SHA256},
        },
        optional=("cmdline", "cmdline_sha256"),
    )
    digest = {"anyOf": [_SHA256, _SHA384]}
    inputs = _object(
        "Digests of the inputs by role.", dict.fromkeys(RECORDED_ROLES, digest), optional=RECORDED_ROLES
    )
    return _object(
        "One shape of launch.",
        {
            "name": _STRING,
            "mode": _MODE,
            "profile": text("An entry of `profiles`."),
            "order": _ORDER,
            "seed": {
                "description": "The SNP digest after the pages of firmware and SVSM; null where no digest stands for them.",
                **_or_null(_SHA384),
            },
            "inputs": inputs,
            "reset": {"description": "The AP reset address.", **_or_null(_HEX_NUMBER)},
            "hash_table": {"description": "The GPA of the kernel-hashes table.", **_or_null(_HEX_NUMBER)},
            "sections": _sections(),
            "svsm": _object(
                "The SVSM in its place.", {"gpa": _HEX_NUMBER, "entry": _HEX_NUMBER, "sections": _sections()}
            ),
            "kernel": kernel,
        },
        optional=("sections", "svsm", "kernel"),
    )


def _profile() -> dict[str, Any]:
    value = {"anyOf": [_HEX_NUMBER, word(SYMBOLS)]}
    segment = _object("A segment.", dict.fromkeys(SEGMENT_PARTS, value), optional=tuple(SEGMENT_PARTS))
    registers = {
        field.name: segment if field.kind == "segment" else value for field in FIELDS if field.kind != "bytes"
    }
    layer = _object("Registers of one mode or role.", registers, optional=tuple(registers))
    state = {**registers, **dict.fromkeys(STATE_LAYERS, layer)}
    entries = {role: {"anyOf": [_HEX_NUMBER, word(words)]} for role, words in ENTRY_WORDS.items()}
    regions: dict[str, Any] = {
        mode: {"type": "array", "items": word(words), "minItems": 1} for mode, words in REGIONS.items()
    }
    types = word(SECTION_PAGE_TYPES)
    return _object(
        "How one hypervisor launches.",
        {
            "name": _STRING,
            "as_of": _STRING,
            "regions": _object("By mode, in order.", regions, optional=MODES),
            "sections_last": _list("Kinds launched after all others.", word(SECTION_KINDS.values())),
            "page_types": _object("By kind of section.", dict.fromkeys(KINDS, types)),
            "vmsa_gpa": _HEX_NUMBER,
            "measured_vcpus": word(MEASURED_VCPUS),
            "entry": _object("Where vCPUs start.", entries),
            "initial_state": _object(
                "Registers that are not zero; those of a mode or role under its name.",
                state,
                optional=tuple(state),
            ),
        },
    )


def _doubts() -> dict[str, Any]:
    reason = _object("A doubt.", {"kind": word(doubt.KINDS), "reason": _STRING})
    return _list("Why it may not be the digest of a running guest.", reason)


def _file_document() -> dict[str, Any]:
    return {
        "profiles": {"maxItems": 0},
        "ingredients": {"maxItems": 0},
        "releases": False,
        "values": {
            "items": _value(
                {
                    "cpu": {"description": "A file has none.", "const": NO_CPU},
                    "signature": {
                        "description": "Of the vCPUs that the file does not describe.",
                        **_or_null(_HEX_NUMBER),
                    },
                    "vcpus": integer(0, MOST_DESCRIBED),
                    "order": word(loaders.ORDERS),
                    "origins": _object(
                        "Where it is from.", {"guest_features": _or_null(_STRING), "policy": _STRING}
                    ),
                    "doubts": _doubts(),
                }
            )
        },
    }


def _guest_value(releases: dict[str, Any]) -> dict[str, Any]:
    block = _object(
        "What a report shows of the ID block.",
        {
            "id_key_digest": _SHA384,
            "author_key_digest": _SHA384,
            "family_id": _ID,
            "image_id": _ID,
            "guest_svn": integer(0, 0xFFFFFFFF),
        },
        optional=("author_key_digest",),
    )
    return _value(
        {
            "cpu": _STRING,
            "signature": _HEX_NUMBER,
            "vcpus": integer(1, MAX_VCPUS),
            "order": _ORDER,
            "origins": _object("Where it is from.", {"guest_features": _STRING, "policy": _STRING}),
            "ingredients": text("An entry of `ingredients`."),
            "id_block": block,
            "doubts": {**_doubts(), "minItems": 1},
            "releases": releases,
        },
        optional=("ingredients", "id_block", "doubts", "releases"),
    )


def _value(own: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of a value; `own` has the keys in which guests and IGVM files differ."""
    common = {
        "label": text(minLength=1),
        "mode": _MODE,
        "profile": _STRING,
        "guest_features": _or_null(_HEX_NUMBER),
        "policy": _HEX_NUMBER,
        "kernel_hashes": {"type": "boolean"},
        "cmdline": _or_null(_STRING),
        "vmsa_gpa": _or_null(_HEX_NUMBER),
        "algorithm": word(("sha256", "sha384")),
        "digest": {"anyOf": [_SHA256, _SHA384]},
    }
    return {
        **_object("The reference value of one target.", common | own, optional=optional),
        "if": {"properties": {"mode": {"const": "snp"}}},
        "then": {"properties": {"algorithm": {"const": "sha384"}, "digest": _SHA384}},
        "else": {"properties": {"algorithm": {"const": "sha256"}, "digest": _SHA256}},
    }

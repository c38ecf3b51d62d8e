"""The JSON Schema of one line of a trace of ours (draft-7 keywords)."""

from __future__ import annotations

from typing import Any

from sevbuild.diagnose.replay.json_lines import CONTENTS, OWN_EVENT, TRACE_SCHEMA, page_types
from sevbuild.documents.document import U64
from sevbuild.documents.schema_shapes import hex_digits, integer, table, text, word

__all__ = ["trace_schema"]


def trace_schema() -> dict[str, Any]:
    """Return the schema; what depends on the line before, such as the mode, is left to the reader."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"sevbuild launch trace, version {TRACE_SCHEMA}",
        "description": "One event of a launch. A trace is a text of such objects, one a line, in the order of "
        "the commands.",
        "oneOf": [_start(), _update(), _measure(), _finish(), _own()],
    }


def _event(name: str, description: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    shared = {
        "event": {"const": name},
        "guest": text("Which guest it is of, in a trace of several that are launched at once.", minLength=1),
    }
    return table(description, {**shared, **properties}, required=["event", *required])


def _start() -> dict[str, Any]:
    return _event(
        "launch-start",
        "LAUNCH_START: a launch begins.",
        {
            "schema": {"description": "The version of this format.", "const": TRACE_SCHEMA},
            "mode": word(("sev", "sev-es", "snp"), "What the guest is launched as."),
            "policy": _number("The guest policy."),
        },
        "schema",
        "mode",
        "policy",
    )


def _update() -> dict[str, Any]:
    kinds = list(dict.fromkeys([*page_types("snp"), *page_types("sev")]))
    shape = _event(
        "launch-update",
        "LAUNCH_UPDATE: a region, as the hypervisor passed it on.",
        {
            "page_type": word(kinds, "The page type of SNP; data or vmsa for SEV and SEV-ES."),
            "gpa": _number("The guest physical address; SEV and SEV-ES can do without."),
            "length": _number("Bytes; default: those of the contents, 4096 for a VMSA."),
            "contents": text("The contents in hexadecimal digits.", minLength=2),
            "contents_base64": text("The contents in base64.", minLength=1),
            "contents_file": text("A file with the contents, relative to the trace.", minLength=1),
            "contents_offset": _number("Where in that file they begin; default 0."),
            "contents_digest": {
                "description": "The digest of the contents: SHA-384 for SNP, else SHA-256.",
                "anyOf": [hex_digits(48), hex_digits(32)],
            },
            "vcpu": integer(0, 0xFFFF, "The number of the vCPU that a VMSA is of; default: the next one."),
            "vmpl_permissions": {
                "description": "The masks of VMPL1, VMPL2 and VMPL3; default: zeros, not compared.",
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "items": integer(0, 0xFF),
            },
        },
        "page_type",
    )
    return {
        **shape,
        "not": {"anyOf": [{"required": [a, b]} for i, a in enumerate(CONTENTS) for b in CONTENTS[i + 1 :]]},
        "dependencies": {"contents_offset": ["contents_file"]},
    }


def _measure() -> dict[str, Any]:
    return _event("launch-measure", "LAUNCH_MEASURE of SEV and SEV-ES.", {})


def _finish() -> dict[str, Any]:
    return _event(
        "launch-finish",
        "LAUNCH_FINISH: the launch is complete, and the command has succeeded.",
        {
            "launch_digest": {
                "description": "The launch digest that the hypervisor computed or was told.",
                "anyOf": [hex_digits(48), hex_digits(32)],
            },
            "id_block": text("The ID block it was given, in base64.", minLength=1),
            "id_auth": text("The authentication of that block, in base64.", minLength=1),
            "author_key": {"description": "AUTHOR_KEY_EN.", "type": "boolean"},
        },
    )


def _own() -> dict[str, Any]:
    return {
        "description": "An event of the hypervisor's own, which is counted and passed over.",
        "type": "object",
        "properties": {"event": {"type": "string", "pattern": f"^{OWN_EVENT}"}},
        "required": ["event"],
    }


def _number(description: str) -> dict[str, Any]:
    return {
        "description": f"{description} A number, or a hex string such as 0x30000.",
        "anyOf": [integer(0, U64), {"type": "string", "pattern": "^0x[0-9a-f]{1,16}$"}],
    }

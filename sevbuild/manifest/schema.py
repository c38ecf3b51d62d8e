"""The JSON Schema of manifests (draft-7 keywords, which TOML editors read)."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import U32, U64
from sevbuild.documents.schema_shapes import filled_table, hex_digits, integer, one_or_list, table, text, word
from sevbuild.image.ovmf import SECTION_KINDS
from sevbuild.launch.mode import MODES, ORDERS
from sevbuild.launch.policy import SEV_POLICY_BITS, SNP_POLICY_BITS
from sevbuild.manifest.id_block_keys import id_block_schema
from sevbuild.manifest.schema_output import machine_schema, publish_schema
from sevbuild.manifest.url_keys import URL_PATTERN
from sevbuild.manifest.vcpu_keys import MAX_VCPUS
from sevbuild.vcpu.models import CPU_MODELS
from sevbuild.vcpu.save_area import SEV_FEATURE_BITS

__all__ = ["manifest_schema"]

_SHA256 = hex_digits(32)
_SHA384 = hex_digits(48)
_BASIC = ("launch", "firmware", "vcpu")
_PATH = text(minLength=1, pattern="^[^~]")
_URL = text(pattern=URL_PATTERN)


def manifest_schema() -> dict[str, Any]:
    """Return the schema of version 1; what depends on two keys at once is left to `sevbuild check`."""
    tables = {
        "launch": _launch(),
        "firmware": _firmware(),
        "igvm": _igvm(),
        "svsm": _svsm(),
        "kernel": _kernel(),
        "initrd": _initrd(),
        "variables": _variables(),
        "vcpu": _vcpu(),
        "machine": machine_schema(),
        "id-block": id_block_schema(),
    }
    required = {
        name: table.pop("required")
        for name, table in tables.items()
        if name in _BASIC and "required" in table
    }
    matrix_entry = table(
        "One entry of the matrix: keys that override those of the tables above.",
        {
            name: {
                "type": "object",
                "properties": table["properties"],
                "additionalProperties": table["additionalProperties"],
            }
            for name, table in tables.items()
        },
    )
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sevbuild manifest, version 1",
        "description": "Declares a confidential guest: what it is made of and how it is launched.",
        "type": "object",
        "properties": {
            "schema": {"description": "The version of the manifest format.", "const": 1},
            "guest": _guest(),
            **tables,
            "publish": publish_schema(),
            "matrix": {
                "description": "Further targets whose values are no plain product of the lists above; each entry is laid over the tables.",
                "type": "array",
                "minItems": 1,
                "items": matrix_entry,
            },
        },
        "required": ["schema", "guest"],
        # With a matrix, what a table lacks may stand in the entries.
        "if": {"required": ["matrix"]},
        "else": {
            "required": [name for name in _BASIC if name != "firmware"],
            "properties": {name: {"required": keys} for name, keys in required.items()},
            # A ready IGVM file stands in the firmware's place.
            "anyOf": [
                {"required": ["firmware"]},
                {"required": ["igvm"], "properties": {"igvm": {"required": ["path"]}}},
            ],
        },
        "additionalProperties": False,
    }


def _guest() -> dict[str, Any]:
    return table(
        "The guest's name and version, as published.",
        {
            "name": text("A name such as `hello`.", pattern="^[a-z0-9][a-z0-9._-]*$"),
            "version": text("The guest's own version."),
        },
        required=["name", "version"],
    )


def _launch() -> dict[str, Any]:
    boolean = {"type": "boolean"}
    version = text(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}$")
    number = integer(0, U64)
    policy_names = {**SEV_POLICY_BITS, **SNP_POLICY_BITS}
    bits = filled_table({**dict.fromkeys(policy_names, boolean), "abi": version, "api": version})
    features = {"anyOf": [number, {"type": "array", "items": word(SEV_FEATURE_BITS)}]}
    policy = {"anyOf": [number, bits]}
    return table(
        "How the guest is launched.",
        {
            "mode": one_or_list("The technology, or a list.", word(MODES)),
            "profile": one_or_list("The hypervisor: a profile's name or a path to one, or a list.", text()),
            "order": word(
                ORDERS,
                "`profile`: the order in which the hypervisor launches. `canonical`: data by ascending GPA, then VMSAs by vCPU number, for loaders that replay a list; for another host it is neither built nor published.",
            ),
            "policy": {
                "description": "The guest policy: a number, a table of named bits, or a table of either by mode. Absent: SEV 0x1, SEV-ES 0x5, SNP 0x30000.",
                "anyOf": [number, bits, filled_table(dict.fromkeys(MODES, policy))],
            },
            "guest-features": {
                "description": "SEV_FEATURES: a number, a list of bit names, or a table of either by mode. Absent: the profile's.",
                "anyOf": [*features["anyOf"], filled_table(dict.fromkeys(MODES, features))],
            },
            "host-data": {
                "description": "32 bytes in hex that the host of an SNP guest passes to SNP_LAUNCH_FINISH; not part of the launch digest.",
                **hex_digits(32),
            },
        },
        required=["mode", "profile"],
    )


def _firmware() -> dict[str, Any]:
    address = integer(0, U32)
    section = table(
        "One section of the SEV metadata.",
        {
            "gpa": {"description": "Where it lies.", **address},
            "size": {"description": "Its bytes, a multiple of 4096.", **address},
            "kind": {
                "description": "Its kind, by name or number.",
                "anyOf": [word(SECTION_KINDS.values()), address],
            },
        },
        required=["gpa", "size", "kind"],
    )
    return table(
        "The firmware: a file, or the published digest of its pages.",
        {
            "path": {"description": "The OVMF image, relative to the manifest.", **_PATH},
            "url": {"description": "Where to fetch it, in place of path; sha256 must be given.", **_URL},
            "sha256": {"description": "A pin: the SHA-256 the file must have.", **_SHA256},
            "seed": {
                "description": "The SNP launch digest after the firmware's pages, in place of a file.",
                **_SHA384,
            },
            "metadata": table(
                "What a launch needs of a firmware known by its seed.",
                {
                    "sections": {
                        "description": "The SEV metadata sections, in launch order.",
                        "anyOf": [section, {"type": "array", "minItems": 1, "items": section}],
                    },
                    "reset": {"description": "The AP reset address (SEV-ES reset block).", **address},
                    "hash-table": {"description": "The GPA of the kernel-hashes table.", **address},
                },
                required=["sections"],
            ),
        },
    )


def _igvm() -> dict[str, Any]:
    return table(
        "The IGVM file that a loader profile replays: a ready one, or how it is built.",
        {
            "path": {"description": "A ready IGVM file, in place of a firmware.", **_PATH},
            "sha256": {"description": "A pin: the SHA-256 the file must have.", **_SHA256},
            "parameters": {
                "description": "Insert the loader's memory map and vCPU count where the firmware wants them; the file is then no longer portable.",
                "type": "boolean",
            },
        },
    )


def _svsm() -> dict[str, Any]:
    return table(
        "A COCONUT-SVSM binary below the firmware (profile svsm-qemu).",
        {
            "path": {"description": "The svsm.bin.", **_PATH},
            "url": {"description": "Where to fetch it, in place of path; sha256 must be given.", **_URL},
            "sha256": {"description": "A pin: the SHA-256 the file must have.", **_SHA256},
            "vars-size": integer(
                0, U32, "The size of the variable store between SVSM and firmware.", multipleOf=4096
            ),
            "vars-path": {"description": "The variable store, for its size.", **_PATH},
        },
        anyOf=[{"required": ["path"]}, {"required": ["url"]}],
    )


def _kernel() -> dict[str, Any]:
    return table(
        "The kernel of a measured direct boot; absent: firmware only.",
        {
            "path": {"description": "The kernel image.", **_PATH},
            "url": {
                "description": "Where to fetch it, or with uki-as the image; sha256 must be given.",
                **_URL,
            },
            "sha256": {
                "description": "A pin; without path and url, the published SHA-256 of the kernel.",
                **_SHA256,
            },
            "uki": {"description": "A unified kernel image in place of path.", **_PATH},
            "uki-as": word(
                ("kernel", "parts"),
                "`kernel` hashes the whole image as the kernel, `parts` its .linux, .initrd and .cmdline.",
            ),
            "cmdline": text("The command line, byte for byte; {name} is a placeholder."),
            "cmdline-file": {"description": "A file that holds the command line.", **_PATH},
            "cmdlines": {
                "description": "Named variants of the command line; each multiplies the targets.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": "^[a-z0-9._-]+$"},
                "additionalProperties": {"type": "string"},
            },
            "hashes": {
                "description": "Whether kernel, initrd and command line are measured (kernel-hashes=on). Default true.",
                "type": "boolean",
            },
        },
    )


def _initrd() -> dict[str, Any]:
    return table(
        "The initrd of a measured direct boot.",
        {
            "path": one_or_list("The initrd, or files to concatenate in order.", _PATH),
            "url": one_or_list("Where to fetch it, or a list to concatenate in order.", _URL),
            "sha256": one_or_list(
                "A pin of the whole, or of each url; without path and url, its published SHA-256.", _SHA256
            ),
        },
    )


def _variables() -> dict[str, Any]:
    return {
        "description": "Values for {name} in the command line; {vcpus}, {cpu} and {cpu_signature} are given.",
        "type": "object",
        "propertyNames": {
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "not": {"enum": ["vcpus", "cpu", "cpu_signature"]},
        },
        "properties": {},
        "additionalProperties": {"type": ["string", "integer"]},
    }


def _vcpu() -> dict[str, Any]:
    count = {"anyOf": [integer(1, MAX_VCPUS), text(pattern="^[0-9]{1,5}-[0-9]{1,5}$")]}
    return table(
        "How many vCPUs, and what they are.",
        {
            "count": one_or_list('The number of vCPUs, a list, or a range like "1-64".', count),
            "model": one_or_list("The CPU model, or a list.", word(CPU_MODELS)),
            "signature": one_or_list("CPUID Fn0000_0001_EAX of the guest's CPU, or a list.", integer(0, U32)),
            "family": integer(0, 0x10E, "The CPU's family, with model-number and stepping."),
            "model-number": integer(0, 0xFF, "The CPU's model number."),
            "stepping": integer(0, 0xF, "The CPU's stepping."),
        },
        required=["count"],
    )

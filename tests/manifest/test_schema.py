"""The JSON Schema and the decoder say the same; what only the decoder can see is listed here."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.documents import document
from sevbuild.errors import FaultsError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.formats import FORMATS
from sevbuild.manifest.schema import manifest_schema
from tests.support.guests import toml_value
from tests.support.shared import ROOT

SCHEMA = manifest_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
MANIFESTS = sorted([*ROOT.glob("templates/init/*.toml"), *ROOT.glob("guests/*/guest.toml")])

SHA = "ab" * 32
URL = "https://example.org:8443/a/OVMF.fd?x=1"
FULL: dict[str, Any] = {
    "schema": 1,
    "guest": {"name": "a", "version": "1"},
    "launch": {"mode": ["snp"], "profile": ["qemu"], "order": "canonical", "policy": 0x30000, "guest-features": ["snp-active"], "host-data": SHA},
    "firmware": {"path": "f", "sha256": SHA},
    "svsm": {"path": "s", "sha256": SHA, "vars-size": 0x1000},
    "kernel": {"path": "k", "sha256": SHA, "cmdlines": {"a": "{x}"}, "hashes": True},
    "initrd": {"path": ["i"], "sha256": SHA},
    "variables": {"x": "1", "y": 2},
    "vcpu": {"count": [1, "2-3"], "model": ["EPYC"]},
    "machine": {"memory": "4G", "cbitpos": 47, "reduced-phys-bits": 5, "extra-args": ["-device", "virtio-rng-pci"]},
    "id-block": {"key": "k", "key-digest": "ab" * 48, "author-key": "a", "author-signature": "s", "author-key-digest": "cd" * 48, "family-id": "ef" * 16, "image-id": "01" * 16, "guest-svn": 7},
    "publish": {"formats": ["hex"], **{name: {} for name in FORMATS}},
    "matrix": [{"vcpu": {"count": 9}}],
}  # fmt: skip

ALTERNATIVES: list[dict[str, Any]] = [
    {"firmware": {"seed": "cd" * 48, "metadata": {"sections": [{"gpa": 0, "size": 4096, "kind": 1}, {"gpa": 1, "size": 1, "kind": "cpuid"}], "reset": 1, "hash-table": 2}}},
    {"kernel": {"uki": "u", "uki-as": "kernel", "cmdline-file": "c"}, "initrd": {"path": "i"}},
    {"kernel": {"sha256": SHA, "cmdline": "x"}, "initrd": {"sha256": SHA}},
    {"vcpu": {"count": 5, "signature": [1, 2]}},
    {"vcpu": {"count": "1-2", "family": 25, "model-number": 1, "stepping": 1}},
    {"launch": {"mode": ["sev-es", "snp"], "profile": "qemu", "policy": {"snp": {"smt": True, "abi": "1.55"}, "sev-es": 5}, "guest-features": {"snp": 1, "sev-es": ["debug-swap"]}}},
    {"launch": {"mode": "sev", "profile": "qemu", "policy": {"nodbg": True, "api": "1.51"}}},
    {"svsm": {"path": "s", "vars-path": "v"}},
    {"igvm": {"parameters": True}, "svsm": None},
    {"id-block": {"signed": "d", "author-key-digest": "0x" + "ab" * 48}},
    {"id-block": {"key-digest": "ab" * 48}},
    {"igvm": {"path": "i", "sha256": SHA}, "firmware": None, "svsm": None, "id-block": None, "launch": {"mode": "snp", "profile": "qemu-igvm"}},
    {"publish": {"formats": "rvps", "rvps": {"name": "x"}, "igvm-identity": {"guest-svn": 1}, "contrast": {"smt-enabled": True, "allowed-chip-ids": ["ab" * 64]}, "tinfoil": {"rtmr1": "ab" * 48}}},
    {"firmware": {"url": URL, "sha256": SHA}, "svsm": {"url": URL, "sha256": SHA, "vars-size": 0}},
    {"kernel": {"url": URL, "uki-as": "kernel", "sha256": SHA}, "initrd": {"url": [URL, URL], "sha256": [SHA, SHA]}},
    {"initrd": {"url": URL, "sha256": SHA}},
]  # fmt: skip

SEMANTIC = (
    "give either",
    "cannot be combined with",
    "requires uki",
    "requires seed",
    "requires key: ",
    "requires author-key: ",
    "does not say who signs",
    "must be given with",
    "must not give another",
    "is required",  # of a key that another makes necessary; the schema's own are compared below
    "missing: a kernel",
    "missing: the initrd",
    "missing: a CPU model",
    "missing: a seed needs",
    "an initrd requires a [kernel]",
    "lacks bit",
    "sets bit",
    "is SNP's default",
    "is not a 32-bit",
    "one value cannot serve",
    "is not among the modes",
    "an SEV guest has no VMSA",
    "unknown key",  # of a bit in the policy of the other family
    "lists the same",
    "is listed twice",
    "must be within",
    "must not contain a NUL",
    "may change what is measured",  # of an extra argument
    "is the last argument",
    "pins a file",
    "must be the path of a file",
    "unknown CPU model",
    "is set elsewhere",
    "missing: what is fetched",
    "must be a list where url is one",
    "must have an entry for each url",
    "of several paths, the whole is pinned",
)
"""What depends on two values at once, or on what a number means: the schema leaves it to `check`."""


def _full(alternative: dict[str, Any]) -> dict[str, Any]:
    """Return the full manifest with other tables laid over it; None takes one away."""
    return {name: table for name, table in {**FULL, **alternative}.items() if table is not None}


def toml(tables: dict[str, Any]) -> str:
    """Return tables as a TOML text."""
    return "".join(f"{toml_value(name)} = {toml_value(value)}\n" for name, value in tables.items())


def faults(tables: dict[str, Any]) -> list[str]:
    """Return what the decoder says."""
    try:
        decode_manifest(toml(tables), "guest.toml")
    except FaultsError as error:
        return [f"{fault.path}: {fault.message}" for fault in error.faults]
    return []


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    keywords = {key for node in _nodes(SCHEMA) for key in node}
    assert not keywords & {"$defs", "unevaluatedProperties", "dependentRequired", "prefixItems"}


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_manifests_are_valid_both_ways(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("#:schema guest.schema.json\n")
    VALIDATOR.validate(tomli.loads(text))
    decode_manifest(text, str(path))


@pytest.mark.parametrize("tables", [FULL, *map(_full, ALTERNATIVES)])
def test_full_manifests_are_valid_both_ways(tables: dict[str, Any]) -> None:
    VALIDATOR.validate(tables)
    assert faults(tables) == []


def test_every_key_of_the_schema_is_known_to_the_decoder_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    original = document.Table.finish

    def record(self: document.Table) -> None:
        asked.update(f"{self.path}.{key}" if self.path else key for key in self._asked)
        original(self)

    monkeypatch.setattr(document.Table, "finish", record)
    for alternative in ({}, *ALTERNATIVES):
        assert faults(_full(alternative)) == []
    plain = {
        path for path in asked if "[" not in path and not path.startswith(("variables.", "kernel.cmdlines."))
    }
    bits = {path for path in plain if path.startswith("launch.policy.")}
    assert plain - bits - {"matrix"} == set(_schema_keys(SCHEMA)) - {"matrix"}
    assert {path.rpartition(".")[2] for path in bits} == set(
        SCHEMA["properties"]["launch"]["properties"]["policy"]["anyOf"][1]["properties"]
    )
    sections = {path.partition("].")[2] for path in asked if "sections[" in path}
    metadata = SCHEMA["properties"]["firmware"]["properties"]["metadata"]["properties"]["sections"]
    assert sections == set(metadata["anyOf"][0]["properties"])


def _schema_keys(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in schema.get("properties", {}).items():
        yield f"{prefix}{key}"
        if value.get("type") == "object":
            yield from _schema_keys(value, f"{prefix}{key}.")


JUNK = st.sampled_from([True, 5, -1, 1 << 65, 1.5, "junk", "", [], {}, [True], {"junk": 1}, [[1]], "ab" * 32])


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a full manifest with one value replaced, removed, or a key added somewhere."""
    tables = copy.deepcopy(_full(draw(st.sampled_from([{}, *ALTERNATIVES]))))
    # What every entry of a matrix overrides is never read, so the schema alone could judge it.
    del tables["matrix"]
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in entries:
            spots.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    walk(tables)
    node, key = draw(st.sampled_from(spots))
    action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if action == "replace":
        node[key] = draw(JUNK)
    elif action == "remove":
        del node[key]
    elif isinstance(node, dict):
        node[draw(st.sampled_from(["junk", "Path", "count2"]))] = draw(JUNK)
    return tables


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(mutated())
def test_both_refuse_the_same(tables: dict[str, Any]) -> None:
    errors = [error.message for error in VALIDATOR.iter_errors(tables)]
    found = faults(tables)
    if errors:
        assert found, errors
    else:
        left = [fault for fault in found if not any(word in fault for word in SEMANTIC)]
        assert not left, f"the schema accepts what the decoder refuses: {left}"


def test_descriptions_are_complete() -> None:
    for name, table in SCHEMA["properties"].items():
        if name != "matrix":
            assert table["description"].endswith("."), name
        for key, value in table.get("properties", {}).items():
            assert value["description"].endswith((".", ")")), f"{name}.{key}"

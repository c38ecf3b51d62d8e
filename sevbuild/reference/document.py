"""The reference-values document: what was measured, of which inputs, with which values from where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sevbuild.documents.json_text import hex_text, json_text, json_word
from sevbuild.image.ovmf import Section, section_kind_name
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.launch.page_type import page_type_word
from sevbuild.reference import model
from sevbuild.vcpu.models import signature_text

__all__ = [
    "Fact",
    "document_text",
    "facts",
    "reference_document",
    "value_entry",
    "value_texts",
]

Fact = str | tuple[str, ...] | None
"""What a document says under one key, as text: a list as the texts of its entries."""


def reference_document(values: model.ReferenceValues) -> dict[str, Any]:
    """Return the document: `schema`, `guest`, `inputs`, `profiles`, `ingredients` and `values`.

    32- and 64-bit values are lower-case hex strings. Nothing in it depends on path, time or machine.
    """
    document: dict[str, Any] = {
        "schema": model.DOCUMENT_SCHEMA,
        "guest": {"name": values.name, "version": values.version},
        "inputs": [_input(record) for record in values.inputs],
        "profiles": [_profile(profile) for profile in values.profiles],
        "ingredients": [_ingredients(entry) for entry in values.ingredients],
        "values": [value_entry(value) for value in values.values],
    }
    if values.releases:
        document["releases"] = list(values.releases)
    return document


def document_text(values: model.ReferenceValues) -> str:
    """Return the document as it is published: sorted keys, two spaces, LF at its end."""
    return json_text(reference_document(values))


def _input(record: model.Input) -> dict[str, Any]:
    """Return one entry of `inputs`."""
    entry: dict[str, Any] = {"role": record.role, "name": record.name}
    if record.size is not None:
        entry["size"] = record.size
    entry[record.algorithm] = record.digest.hex()
    return entry | _releases(record.releases)


def value_entry(value: model.Value) -> dict[str, Any]:
    """Return one entry of `values`."""
    entry: dict[str, Any] = {
        "label": value.label,
        "mode": value.mode,
        "profile": value.profile,
        "cpu": value.cpu,
        "signature": None if value.signature is None else signature_text(value.signature),
        "vcpus": value.vcpus,
        "guest_features": hex_text(value.guest_features),
        "policy": hex(value.policy),
        "kernel_hashes": value.kernel_hashes,
        "cmdline": value.cmdline,
        "order": value.order,
        "vmsa_gpa": hex_text(value.vmsa_gpa),
        "algorithm": value.algorithm,
        "digest": value.digest.hex(),
        "origins": {"guest_features": value.features_origin, "policy": value.policy_origin},
    }
    if value.ingredients is not None:
        entry["ingredients"] = value.ingredients
    if value.id_block is not None:
        entry["id_block"] = _id_block(value.id_block)
    if value.doubts is not None:
        entry["doubts"] = [doubt._asdict() for doubt in value.doubts]
    return entry | _releases(value.releases)


def value_texts(value: model.Value) -> dict[str, str]:
    """Return what a document says of a target by key, each as it is written on a command line."""
    return {key: json_word(said) for key, said in value_entry(value).items()}


def facts(part: model.Value | model.Ingredients | model.PublishedProfile) -> dict[str, Fact]:
    """Return what a document says of a part of it, by dotted path."""
    if isinstance(part, model.Value):
        return dict(_leaves(value_entry(part)))
    return dict(_leaves(_ingredients(part) if isinstance(part, model.Ingredients) else _profile(part)))


def _leaves(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Fact]]:
    for key, said in entry.items():
        if isinstance(said, Mapping):
            yield from _leaves(said, f"{prefix}{key}.")
        elif isinstance(said, list):
            texts = (part.values() if isinstance(part, Mapping) else [part] for part in said)
            yield prefix + key, tuple(" ".join(map(str, parts)) for parts in texts)
        else:
            yield prefix + key, None if said is None else json_word(said)


def _releases(spans: Sequence[model.Span]) -> dict[str, Any]:
    return {"releases": [{"first": span.first, "last": span.last} for span in spans]} if spans else {}


def _id_block(block: ReportedIdBlock) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id_key_digest": block.id_key_digest.hex(),
        "family_id": block.family_id.hex(),
        "image_id": block.image_id.hex(),
        "guest_svn": block.guest_svn,
    }
    if block.author_key_digest is not None:
        entry["author_key_digest"] = block.author_key_digest.hex()
    return entry


def _profile(profile: model.PublishedProfile) -> dict[str, Any]:
    launch = profile.launch
    return {
        "name": profile.name,
        "as_of": profile.as_of,
        "regions": {mode: list(regions) for mode, regions in launch.regions.items()},
        "sections_last": list(launch.sections_last),
        "page_types": {kind: page_type_word(found) for kind, found in launch.page_types.items()},
        "vmsa_gpa": hex(launch.vmsa_gpa),
        "measured_vcpus": launch.measured_vcpus,
        "entry": _shown(launch.entry),
        "initial_state": _shown(launch.initial_state),
    }


def _shown(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return register values as JSON has them: numbers in hex, names in snake_case."""
    return {
        name.replace("-", "_"): _shown(value)
        if isinstance(value, Mapping)
        else hex(value)
        if isinstance(value, int)
        else value
        for name, value in state.items()
    }


def _ingredients(entry: model.Ingredients) -> dict[str, Any]:
    metadata, svsm, kernel = entry.metadata, entry.svsm, entry.kernel
    document: dict[str, Any] = {
        "name": entry.name,
        "mode": entry.mode,
        "profile": entry.profile,
        "order": entry.order,
        "seed": None if entry.seed is None else entry.seed.hex(),
        "inputs": {role: digest.hex() for role, digest in entry.inputs.items()},
        "reset": hex_text(metadata.reset),
        "hash_table": None if metadata.hash_table is None else hex(metadata.hash_table.base),
    }
    if metadata.sections is not None:
        document["sections"] = _sections(metadata.sections)
    if svsm is not None:
        document["svsm"] = {
            "gpa": hex(svsm.gpa),
            "entry": hex(svsm.entry),
            "sections": _sections(svsm.sections),
        }
    if kernel is not None:
        hashes: dict[str, Any] = {"sha256": kernel.kernel.hex(), "initrd_sha256": kernel.initrd.hex()}
        if kernel.cmdline is not None:
            hashes["cmdline"] = kernel.cmdline
        if kernel.cmdline_sha256 is not None:
            hashes["cmdline_sha256"] = kernel.cmdline_sha256.hex()
        document["kernel"] = hashes
    return document


def _sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [
        {
            "kind": section_kind_name(section.kind),
            "number": section.kind,
            "gpa": hex(section.gpa),
            "size": hex(section.size),
        }
        for section in sections
    ]

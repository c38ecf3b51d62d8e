"""`sevbuild inspect`: what a file is, and whether it will do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_text, shown_progress
from sevbuild.cli.tables import facts_text, text_table, values_table
from sevbuild.documents.json_text import json_text
from sevbuild.errors import SevbuildError
from sevbuild.fs import file_starts_with
from sevbuild.launch.mode import Mode
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues, Span

__all__ = ["inspect"]

_KEYS = {"kernel": "kernel.path", "uki": "kernel.uki", "initrd": "initrd.path"}
"""Which key of a manifest names a file of each role."""


def inspect(
    file: str = typer.Argument(
        ...,
        metavar="FILE",
        help="A firmware, a kernel, an image, an initrd, a VMSA, an IGVM file, a bundle, reference values or "
        "an attestation report (of standard input with -), recognized by content.",
    ),
    fmt: str = options.TABLE_FORMAT,
    mode: str | None = options.MODE,
    everything: bool = typer.Option(False, "--all", help="Also show fields that are zero."),
) -> None:
    """Show what a file is that a guest is made of, launched from, published in or attested by.

    A firmware is looked into, an IGVM file shown to every loader, an image taken apart, a report decoded with
    what came with it. A folder means the bundle, the release or the entry of configfs-tsm that it is.
    """
    description, values = _describe(file, options.given_mode(mode))
    if everything and (description["kind"], fmt) != ("vmsa", "table"):
        raise SevbuildError("--all is for the table of a VMSA")
    if options.wants_json(fmt, "table"):
        print_data(json_text(description))
    elif description["kind"] == "attestation-report":
        from sevbuild.cli.inspect_report import evidence_text

        print_text(evidence_text(description))
    elif description["kind"] == "igvm":
        from sevbuild.cli.inspect_igvm import igvm_text

        print_text(igvm_text(description))
    elif values is not None:
        print_text(_values(description["name"], values))
    elif "targets" in description:
        print_text(_bundle(description))
    elif description["kind"] == "vmsa":
        print_text(_vmsa(description, everything=everything))
    elif "roles" in description:
        print_text(_input(description))
    else:
        print_text(_firmware(description))


def _describe(path: str, mode: Mode | None) -> tuple[dict[str, Any], ReferenceValues | None]:
    """Return what a file is as JSON has it, and the reference values that it holds."""
    if mode is not None and not file_starts_with(path, options.FOREIGN_MAGIC):
        raise SevbuildError("--mode is for IGVM files")
    from sevbuild.bundle.published import bundle_at, is_document, read_values

    if bundle_at(path) is not None:
        from sevbuild.bundle.folder import describe_bundle

        return describe_bundle(path), None
    from sevbuild.appraise.evidence import describe_evidence_at, holds_evidence

    if path == "-" or holds_evidence(path):
        return describe_evidence_at(path), None
    if is_document(path):
        from sevbuild.reference.document import reference_document

        name, values = read_values(path)
        named = {"kind": "reference-values", "name": os.path.basename(name)}
        return {**named, **reference_document(values)}, values
    from sevbuild.guest.inspection import inspect_file

    return inspect_file(path, mode, shown_progress()), None


def _input(file: dict[str, Any]) -> str:
    facts = [("size", f"{file['size']} bytes"), ("sha256", file["sha256"])]
    facts.append(("goes under", " or ".join(_KEYS[role] for role in file["roles"])))
    for name, part in (file.get("parts") or {}).items():
        facts.append((f".{name}", f"{part['size']} bytes at {part['offset']}" if part else "none"))
    if "other_sections" in file:
        facts.append(("further", ", ".join(file["other_sections"]) or "none"))
    if file.get("cmdline") is not None:
        facts.append(("command line", file["cmdline"]))
    if "unusable" in file:
        facts.append(("parts", f"cannot be used: {file['unusable']}"))
    return facts_text(f"{file['name']}: {file['description']}", facts, 14)


def _values(name: str, values: ReferenceValues) -> str:
    releases = values.releases
    title = f"{name}: reference values of {values.title()}".rstrip()
    title += f", {len(releases)} releases: {', '.join(releases)}" if releases else ""
    rows = [
        (
            entry.role,
            entry.name or "-",
            "-" if entry.size is None else str(entry.size),
            _releases(entry.releases),
            entry.digest.hex() if entry.algorithm == "sha256" else f"seed {entry.digest.hex()}",
        )
        for entry in values.inputs
    ]
    text = visible(title) + "\n\ninputs\n"
    text += text_table(("role", "name", "size", "releases", "sha256"), rows)
    labelled = (value._replace(label=f"{value.label} {_releases(value.releases)}") for value in values.values)
    return text + "\nvalues\n" + values_table("table", labelled if releases else values.values)


def _releases(spans: Sequence[Span]) -> str:
    return f"({', '.join(span.text() for span in spans)})" if spans else "-"


def _bundle(bundle: dict[str, Any]) -> str:
    guest = bundle["guest"]
    text = visible(f"{bundle['name']}: bundle of {guest['name']} {guest['version']}") + "\n\ninputs\n"
    rows = [
        (
            entry["role"],
            entry["name"] or "-",
            "-" if entry["size"] is None else str(entry["size"]),
            entry["file"] or "-",
            ("in the bundle" if entry["present"] else "absent")
            + ("" if entry["measured"] else ", not measured"),
            entry["sha256"] or f"seed {entry['seed']}",
        )
        for entry in bundle["inputs"]
    ]
    text += text_table(("role", "name", "size", "file", "", "sha256"), rows)
    targets = [
        (entry["label"], entry["policy"], entry["guest_features"] or "-", entry["digest"])
        for entry in bundle["targets"]
    ]
    text += "\ntargets\n" + text_table(("label", "policy", "guest features", "launch digest"), targets)
    files = [(entry["path"], entry["role"], str(entry["size"])) for entry in bundle["files"]]
    return text + "\nfiles\n" + text_table(("path", "role", "size"), files)


def _firmware(firmware: dict[str, Any]) -> str:
    facts = [
        ("size", f"{firmware['size']} bytes"),
        ("sha256", firmware["sha256"]),
        ("gpa", firmware["gpa"]),
        ("AP reset address", firmware["reset"] or "none"),
        ("kernel-hashes area", _area(firmware["hash_table"])),
        ("launch secret area", _area(firmware["secret"])),
    ]
    if firmware["svsm_entry"]:
        facts.append(("SVSM entry point", firmware["svsm_entry"]))
    text = facts_text(f"{firmware['name']}: firmware", facts, 20)
    sections, entries = firmware["sections"], firmware["entries"]
    if sections:
        rows = [(str(entry["index"]), entry["kind"], entry["gpa"], entry["size"]) for entry in sections]
        text += "\nSEV metadata, in launch order\n" + text_table(("#", "kind", "gpa", "size"), rows)
    if firmware["igvm_areas"]:
        areas = [(area["kind"], area["base"], area["size"]) for area in firmware["igvm_areas"]]
        text += "\nIGVM areas (memory-map and vp-count lie in parameters)\n"
        text += text_table(("kind", "base", "size"), areas)
    if entries:
        named = [(entry["name"] or "-", entry["guid"], entry["offset"], entry["data"]) for entry in entries]
        text += "\nfooter table\n" + text_table(("entry", "guid", "offset", "data"), named)
    text += "\nlint\n"
    for finding in firmware["findings"]:
        text += f"  {finding['level']:<8} {visible(finding['message'])}\n"
        text += f"           hint: {visible(finding['hint'])}\n" if finding["hint"] else ""
    return text


def _area(area: dict[str, str] | None) -> str:
    return f"{area['base']}, {area['size']} bytes" if area else "none"


def _vmsa(vmsa: dict[str, Any], *, everything: bool) -> str:
    facts = [("sha384", vmsa["sha384"]), ("features", ", ".join(vmsa["sev_features"]) or "none")]
    facts.append(("RDX is the vCPU signature of", ", ".join(vmsa["cpu_models"]) or "no known model"))
    text = facts_text(f"{vmsa['name']}: VMSA", facts, 30)
    for run in vmsa["reserved"]:
        text += f"  warning: {run['length']} reserved bytes are set at {run['offset']}\n"
    rows = [
        (field["name"], field["offset"], _value(field["value"]))
        for field in vmsa["fields"]
        if everything or _is_set(field["value"])
    ]
    return text + "\n" + text_table(("field", "offset", "value"), rows)


def _value(value: str | dict[str, str]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{part} {number}" for part, number in value.items())
    return value


def _is_set(value: str | dict[str, str]) -> bool:
    numbers = value.values() if isinstance(value, dict) else [value]
    return any(int(number, 16) for number in numbers)

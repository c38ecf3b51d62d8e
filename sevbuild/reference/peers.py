"""Ingredient documents of others: dstack and SecretVM, and Contrast's digest of one vCPU.

The shape is that of Dstack-TEE/dstack dstack-mr/src/sev.rs (312dc60), which SecretVM's sev.json shares;
Contrast's is `ReferenceValues.snp` of its manifest. They name no hypervisor: it is QEMU unless told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sevbuild.documents.document import U32, U64, Table, check_hex, check_integer, suggest
from sevbuild.documents.json_input import JsonDocument
from sevbuild.documents.json_text import json_word
from sevbuild.errors import SevbuildError, within
from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.image.ovmf import Area, Metadata, Section
from sevbuild.launch.label import target_label
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.model import Cpu
from sevbuild.manifest.vcpu_keys import MAX_VCPUS, cpu_named
from sevbuild.reference.model import Ingredients, KernelIngredients, ReferenceValues, Value
from sevbuild.reference.recompute import Recomputed, Recomputer, Request
from sevbuild.vcpu.models import CPU_MODELS

__all__ = ["ForeignResult", "is_foreign", "recompute_foreign"]

_MOST_SECTIONS = 4096
_INGREDIENTS = (
    "ovmf_hash",
    "kernel_hash",
    "initrd_hash",
    "base_cmdline",
    "sev_hashes_table_gpa",
    "sev_es_reset_eip",
    "vcpus",
    "vcpu_type",
    "guest_features",
    "ovmf_sections",
)
_SILENT = ("guest", "input", "policy", "origins", "cmdline")
_ONE_VCPU = ("TrustedMeasurement", "APEIP", "CPUs", "ProductName")


class ForeignResult(NamedTuple):
    """Recomputed digests, and notes on what was taken as given or passed over.

    `silent` names settings of which the document says nothing; `document` is the one of ours it was, and
    `ingredients` what others' document has of a whole launch: Contrast's digest of one vCPU is of none.
    """

    recomputed: list[Recomputed]
    notes: list[str]
    silent: tuple[str, ...] = ()
    document: ReferenceValues | None = None
    ingredients: Ingredients | None = None


def is_foreign(raw: Any) -> bool:
    """Tell whether a JSON value looks like an ingredient document of someone else's."""
    return bool(_records(raw))


def recompute_foreign(
    source: str, raw: Any, request: Request, selection: Mapping[str, str], profile: LaunchProfile
) -> ForeignResult:
    """Return the digests that a foreign document's ingredients give under `profile`.

    `selection` picks one record of a list by its keys; without it the only record, or the only one that
    the request fits. Raises SevbuildError, or FaultsError with JSON paths.
    """
    records = _records(raw)
    path, record = _pick(source, records, request, selection)
    document = JsonDocument(source)
    table = Table(document, record, path)
    if "snp" not in profile.rules.modes:
        raise SevbuildError(f"profile {profile.name} cannot launch snp")
    if "TrustedMeasurement" in record:
        return _one_vcpu(table, record, request, profile)
    entry, given, cpu = _ingredients(document, table, profile)
    vcpus = _integer(table, "vcpus", MAX_VCPUS, low=1, needed=request.counts is None)
    features = _integer(table, "guest_features", U64)
    document.raise_faults()
    notes = _ignored(record, _INGREDIENTS)
    recomputer = Recomputer({profile.name: profile.rules.launch})
    if request.cmdline is not None:
        if entry.kernel is None:
            raise SevbuildError(f"{source}: no command line is measured: the document has no kernel")
        given = cmdline_digest(request.cmdline)
    found = []
    for one in request.cpus or (_cpu(table, "vcpu_type", cpu),):
        for count in request.counts or (vcpus or 1,):
            digest = recomputer.digest(
                entry,
                one,
                count,
                policy=DEFAULT_POLICIES["snp"],
                guest_features=features or 0,
                cmdline=given,
            )
            value = _value(profile, one, count, features or 0, digest)
            found.append(_recomputed(value._replace(kernel_hashes=entry.kernel is not None)))
    return ForeignResult(found, notes, _SILENT, None, entry)


def _records(raw: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the records of a document with their JSON paths, none if it is of no known kind."""
    path = ""
    if isinstance(raw, dict) and isinstance(raw.get("ReferenceValues"), dict):
        raw, path = raw["ReferenceValues"].get("snp"), "ReferenceValues.snp"
    entries = raw if isinstance(raw, list) else [raw]
    found = []
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and ("ovmf_hash" in entry or "TrustedMeasurement" in entry):
            found.append((f"{path}[{index}]" if isinstance(raw, list) else path, entry))
    return found if len(found) == len(entries) else []


def _pick(
    source: str,
    records: list[tuple[str, dict[str, Any]]],
    request: Request,
    selection: Mapping[str, str],
) -> tuple[str, dict[str, Any]]:
    for key, wanted in selection.items():
        if not any(key in record for _, record in records):
            known = sorted({name for _, record in records for name in record})
            hint = suggest(key, known) or f"it has {', '.join(known)}"
            raise SevbuildError(f"{source}: no record has the key {key!r}", hint=hint)
        records = [entry for entry in records if key in entry[1] and json_word(entry[1][key]) == wanted]
    if not records:
        raise SevbuildError(f"{source}: no record matches the selection")
    if len(records) > 1:
        fitting = [entry for entry in records if _fits(entry[1], request)]
        records = fitting if len(fitting) == 1 else records
    if len(records) > 1:
        keys = sorted({key for _, record in records for key in record})
        telling = [key for key in keys if len({repr(record.get(key)) for _, record in records}) > 1]
        short = [key for key in telling if all(len(repr(record.get(key))) < 40 for _, record in records)]
        hint = f"--select KEY=VALUE picks one; they differ in {', '.join(short or telling) or 'nothing'}"
        raise SevbuildError(f"{source}: {len(records)} records match", hint=hint)
    return records[0]


def _fits(record: Mapping[str, Any], request: Request) -> bool:
    counts, cpus = request.counts, request.cpus
    if counts is None and cpus is None:
        return False
    vcpus = record.get("vcpus", record.get("CPUs"))
    model = record.get("vcpu_type", f"EPYC-{record.get('ProductName')}")
    return (counts is None or counts == (vcpus,)) and (cpus is None or [cpu.label for cpu in cpus] == [model])


def _ingredients(
    document: JsonDocument, table: Table, profile: LaunchProfile
) -> tuple[Ingredients, bytes | None, str | None]:
    sections = []
    listed = table.any("ovmf_sections")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_SECTIONS:
        table.fault("ovmf_sections", "must be a list of sections")
        listed = []
    for index, value in enumerate(listed):
        path = f"{table.at('ovmf_sections')}[{index}]"
        if not isinstance(value, dict):
            document.fault(path, "must be an object")
            continue
        entry = Table(document, value, path)
        numbers = [_integer(entry, key, U32) or 0 for key in ("gpa", "size", "section_type")]
        sections.append(Section(*numbers))
    kernel, digest = None, None
    hash_table = None
    if table.any("kernel_hash") is not None:
        text = table.string("base_cmdline", required=True) or ""
        digest = cmdline_digest(text.encode())
        kernel = KernelIngredients(
            _hex(table, "kernel_hash", 32), _hex(table, "initrd_hash", 32), None, digest
        )
        hash_table = Area(_integer(table, "sev_hashes_table_gpa", U32) or 0, 0)
    reset = _integer(table, "sev_es_reset_eip", U32, needed=False)
    seed = _hex(table, "ovmf_hash", 48)
    metadata = Metadata(tuple(sections), reset, hash_table)
    entry_ = Ingredients("ingredients", "snp", profile.name, "profile", seed, metadata, None, kernel, {})
    return entry_, digest, table.string("vcpu_type")


def _one_vcpu(
    table: Table, record: Mapping[str, Any], request: Request, profile: LaunchProfile
) -> ForeignResult:
    document = table.document
    seed = _hex(table, "TrustedMeasurement", 48)
    # Contrast writes an address in eight hexadecimal digits.
    reset = int.from_bytes(_hex(table, "APEIP", 4), "big")
    counts = request.counts or (_integer(table, "CPUs", MAX_VCPUS, low=1) or 1,)
    product = table.string("ProductName")
    document.raise_faults()
    if request.cmdline is not None:
        hint = "it is already in the digest of one vCPU"
        raise SevbuildError(f"{document.source}: its command line cannot be changed", hint=hint)
    own = None if product is None else f"EPYC-{product}"
    cpus = request.cpus or (_cpu(table, "ProductName", own),)
    if len(cpus) != 1 or (own in CPU_MODELS and cpus[0].signature != CPU_MODELS[own or ""].signature):
        hint = f"the digest of one vCPU is that of {own}"
        raise SevbuildError(f"{document.source}: its CPU model cannot be changed", hint=hint)
    features = profile.rules.features["snp"]
    # The digest stands for all regions and the first VMSA.
    alone = profile.rules.launch._replace(regions={"snp": ("firmware",)})
    metadata = Metadata(None, reset, None)
    entry = Ingredients("digest of one vCPU", "snp", profile.name, "profile", seed, metadata, None, None, {})
    recomputer = Recomputer({profile.name: alone})
    found = []
    for count in counts:
        digest = recomputer.digest(
            entry,
            cpus[0],
            count,
            policy=DEFAULT_POLICIES["snp"],
            guest_features=features,
            cmdline=None,
            vmsas_known=1,
        )
        found.append(_recomputed(_value(profile, cpus[0], count, features, digest)))
    notes = [f"guest features {features:#x} (profile {profile.name})"]
    return ForeignResult(found, notes + _ignored(record, _ONE_VCPU), (*_SILENT, "kernel_hashes"))


def _value(profile: LaunchProfile, cpu: Cpu, vcpus: int, features: int, digest: bytes) -> Value:
    """Return a target as a value of a document; of its policy and command line nothing is known."""
    return Value(
        label=target_label("snp", profile.name, cpu.label, vcpus),
        mode="snp",
        profile=profile.name,
        cpu=cpu.label,
        signature=cpu.signature,
        vcpus=vcpus,
        guest_features=features,
        policy=DEFAULT_POLICIES["snp"],
        kernel_hashes=False,
        cmdline=None,
        order="profile",
        vmsa_gpa=profile.rules.launch.vmsa_gpa,
        digest=digest,
        features_origin="",
        policy_origin="",
    )


def _recomputed(value: Value) -> Recomputed:
    return Recomputed(value.label, value.digest, None, value)


def _hex(table: Table, key: str, size: int) -> bytes:
    text = table.string(key, required=True)
    return b"" if text is None else check_hex(table.document, table.at(key), text, size) or b""


def _integer(table: Table, key: str, high: int, *, low: int = 0, needed: bool = True) -> int | None:
    """Return a number, which may be written as a string of decimal digits or of hex after 0x."""
    value = table.any(key)
    if value is None:
        if needed:
            table.fault(key, "missing: a number is required")
        return None
    if isinstance(value, str) and len(value) <= 20:
        try:
            value = int(value, 0)
        except ValueError:
            table.fault(key, f"must be a number, got {value!r}")
            return None
    return check_integer(table.document, table.at(key), value, low, high)


def _cpu(table: Table, key: str, name: str | None) -> Cpu:
    if name is None:
        raise SevbuildError(
            f"{table.document.source}: $.{table.at(key)} is missing: which CPU is it?",
            hint="give it with --cpu",
        )
    with within(f"{table.document.source}: $.{table.at(key)}"):
        return cpu_named(name)


def _ignored(record: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    others = sorted(key for key in record if key not in known)
    return [f"no ingredient, ignored: {', '.join(others)}"] if others else []

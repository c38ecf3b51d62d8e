"""Decode a manifest, collecting every fault in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sevbuild.documents.document import U32, Document, Table, check_hex, check_name, check_type, parse_toml
from sevbuild.errors import Fault, FaultsError
from sevbuild.launch.mode import MODES, ORDERS, Mode
from sevbuild.manifest.input_keys import decode_inputs, note_other_pins
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.launch_keys import check_mode, decode_features, decode_policies
from sevbuild.manifest.machine_keys import decode_machine
from sevbuild.manifest.model import Manifest, Variant
from sevbuild.manifest.overlays import TABLES, apply_settings, overlays, read_paths
from sevbuild.manifest.path_keys import check_path, is_profile_path
from sevbuild.manifest.vcpu_keys import decode_counts, decode_cpus
from sevbuild.text import as_utf8

__all__ = ["SCHEMA_VERSION", "decode_manifest"]

SCHEMA_VERSION = 1


class _ManifestDocument(Document):
    """A manifest, whose keys have other names in other tools."""

    def key_hint(self, table: str, key: str, known: Collection[str]) -> str | None:
        """Return the key that is meant, by what other tools call it and by its letters."""
        from sevbuild.manifest.hints import key_hint

        return key_hint(table, key, known)


def decode_manifest(
    text: str, source: str, *, directory: str = ".", settings: Mapping[str, Any] | None = None
) -> Manifest:
    """Return the manifest in `text`; raises FaultsError with everything that is wrong with it.

    `settings` maps dotted TOML paths to values that override the text (`--set`), in all entries of a matrix.
    """
    given = read_paths(settings or {})
    tables = parse_toml(text, source)
    if "guest" not in tables:
        from sevbuild.manifest.hints import kin_of

        kin = kin_of(tables)
        if kin is not None:
            raise FaultsError([Fault(source, None, "", *kin)])
    raw, aliases = apply_settings(tables, given)
    document = _ManifestDocument(source, text, aliases=aliases)
    top = Table(document, raw)
    schema = top.integer("schema", 0, U32, required=True)
    if schema not in (None, SCHEMA_VERSION):
        message = f"unsupported schema version {schema}; this release reads version {SCHEMA_VERSION}"
        raise FaultsError([Fault(*document.place("schema"), message)])
    guest = top.section("guest")
    name = guest.string("name", required=True)
    if name is not None:
        check_name(document, "guest.name", name)
    version = guest.string("version", required=True)
    if version is not None and as_utf8(version) != version:
        # Documents that no reader takes would be written of it.
        guest.fault("version", "is not UTF-8 text")
    guest.finish()
    laid = overlays(document, top, raw, given)
    if "UNKNOWN:" in text:
        from sevbuild.manifest.incomplete import note_incomplete

        # What is lacking would only be found at fault again, and its place is known here.
        note_incomplete(document, raw, [tables for _, tables in laid])
        document.raise_faults()
    variants = [_variant(Table(view, tables)) for view, tables in laid]
    note_other_pins(variants)
    publish = None
    if top.has("publish"):
        # Few runs publish, and the formats' keys are many.
        from sevbuild.manifest.publish_keys import decode_publish

        publish = decode_publish(top)
    for key in (*TABLES, "publish"):
        top.any(key)
    top.finish()
    document.raise_faults()
    return Manifest(name or "", version or "", directory, tuple(variants), publish)


def _variant(top: Table) -> Variant:
    document = top.document
    launch = top.section("launch")
    modes: tuple[Mode, ...] = tuple(launch.items("mode", partial(check_mode, document)) or ())
    if not launch.has("mode"):
        launch.fault("mode", f"missing: one of {', '.join(MODES)}, or a list of them")
    profiles = tuple(launch.items("profile", partial(_profile, document)) or ())
    if not launch.has("profile"):
        launch.fault(
            "profile", "missing: a profile's name or a path to one", "`sevbuild profiles` lists them"
        )
    for key, values in (("mode", modes), ("profile", profiles)):
        if len(set(values)) != len(values):
            launch.fault(key, "lists the same one twice")
    order = launch.choice("order", ORDERS) or "profile"
    policies = decode_policies(launch, modes)
    features = decode_features(launch, modes)
    host_data = None
    if launch.has("host-data"):
        host_data = check_hex(document, launch.at("host-data"), launch.any("host-data"), 32)
    launch.finish()
    vcpu = top.section("vcpu")
    counts, cpus = decode_counts(vcpu), decode_cpus(vcpu)
    vcpu.finish()
    inputs = decode_inputs(top)
    if any(declared.role is IGVM for declared in inputs.declared) and order == "canonical":
        launch.fault(
            "order", "cannot be combined with igvm.path: a loader follows the order of the ready file"
        )
    id_block = None
    if top.has("id-block"):
        from sevbuild.manifest.id_block_keys import decode_id_block

        id_block = decode_id_block(top, ready=any(declared.role is IGVM for declared in inputs.declared))
    return Variant(
        document=document,
        modes=modes,
        profiles=profiles,
        order=order,
        policies=policies,
        guest_features=features,
        host_data=host_data,
        inputs=inputs.declared,
        seed=inputs.seed,
        igvm_parameters=inputs.igvm_parameters,
        vars_size=inputs.vars_size,
        kernel=inputs.kernel,
        variables=_variables(top),
        counts=counts,
        cpus=cpus,
        machine=decode_machine(top),
        id_block=id_block,
    )


def _profile(document: Document, path: str, value: Any) -> str | None:
    name = check_type(document, path, value, str)
    if name is None or not is_profile_path(name):
        return None if name is None else str(name)
    return check_path(document, path, name, url_key=None)


def _variables(top: Table) -> dict[str, str]:
    table = top.table("variables")
    found: dict[str, str] = {}
    if table is not None:
        for name in table.names():
            value = table.any(name)
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if check_type(top.document, table.at(name), value, str) is not None:
                found[name] = value
            if not (name.isidentifier() and name.isascii()):
                table.fault(name, "the name of a variable must be an identifier")
            elif name in ("vcpus", "cpu", "cpu_signature"):
                table.fault(name, "is set by sevbuild for each target")
    return found

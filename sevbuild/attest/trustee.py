"""Trustee's evidence: not a report but its fields, from which the bytes are made again."""

from __future__ import annotations

from sevbuild.attest.given import Evidence, GivenCertificate
from sevbuild.attest.json_bytes import listed_at
from sevbuild.attest.product import PRODUCTS, Product, product_of
from sevbuild.attest.report import FirmwareVersion, encode_report
from sevbuild.documents.json_reader import Reader, as_objects
from sevbuild.identity.ecdsa import NUMBER_SIZE

__all__ = ["trustee_evidence"]

# virtee's sev crate 7, src/firmware/guest/types/snp.rs: AttestationReport as serde writes it. A report that
# is made wrongly has no valid signature, so that nothing here needs to be believed.
_NUMBERS = {"version": 4, "guest_svn": 4, "vmpl": 4, "policy": 8, "key_info": 4}
_RENAMED = {"sig_algo": ("signature_algo", 4), "plat_info": ("platform_info", 8)}
_OPTIONAL = {
    "cpuid_fam_id": 1,
    "cpuid_mod_id": 1,
    "cpuid_step": 1,
    "launch_mit_vector": 8,
    "current_mit_vector": 8,
}
_LISTS = {
    "family_id": 16,
    "image_id": 16,
    "report_data": 64,
    "measurement": 48,
    "host_data": 32,
    "id_key_digest": 48,
    "author_key_digest": 48,
    "report_id": 32,
    "report_id_ma": 32,
    "chip_id": 64,
}
_TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_VERSIONS = {"current": "current_version", "committed": "committed_version"}


def trustee_evidence(table: Reader, source: str) -> Evidence:
    """Return the report of Trustee's evidence, its bytes rebuilt, and the certificates in it.

    Raises SevbuildError for fields that are missing or hold what a report cannot. Reserved fields are not
    in the evidence: they are zero.
    """
    report = table.section("attestation_report")
    fields: dict[str, object] = {name: _number(report, name, size) for name, size in _NUMBERS.items()}
    fields.update((name, _number(report, key, size)) for key, (name, size) in _RENAMED.items())
    for name, size in _OPTIONAL.items():
        if report.any(name) is not None:
            fields[name] = _number(report, name, size)
    fields.update((name, listed_at(report, name, size)) for name, size in _LISTS.items())
    family, model = fields.get("cpuid_fam_id"), fields.get("cpuid_mod_id")
    known = product_of(family, model) if isinstance(family, int) and isinstance(model, int) else None
    fields.update((name, _tcb(report.section(name), known)) for name in _TCBS)
    fields.update((name, _version(report.section(key))) for key, name in _VERSIONS.items())
    numbers = report.section("signature")
    signature = listed_at(numbers, "r", NUMBER_SIZE) + listed_at(numbers, "s", NUMBER_SIZE)
    found, notes = _certificates(table, source)
    table.document.raise_faults()
    return Evidence("trustee", encode_report(fields, signature), tuple(found), None, tuple(notes))


def _number(table: Reader, key: str, size: int) -> int:
    return table.integer(key, 0, (1 << 8 * size) - 1)


def _tcb(table: Reader, known: Product | None) -> int:
    """Return a TCB as a u64: which of the two layouts it has is said by the product, else by its parts."""
    has_fmc = table.any("fmc") is not None
    product = known or next(each for each in PRODUCTS if ("fmc" in dict(each.parts)) == has_fmc)
    parts = dict(product.parts)
    if has_fmc and "fmc" not in parts:
        table.fault("fmc", f"must be null: {product.name} has no such part")
    names = {"boot_loader": "bootloader"}
    return sum(_number(table, names.get(part, part), 1) << 8 * at for part, at in parts.items())


def _version(table: Reader) -> FirmwareVersion:
    return FirmwareVersion(*(_number(table, part, 1) for part in FirmwareVersion._fields))


def _certificates(table: Reader, source: str) -> tuple[list[GivenCertificate], list[str]]:
    found, notes = [], []
    if table.any("cert_chain") is not None:
        for entry in as_objects(table, "cert_chain"):
            kind, data = entry.any("cert_type"), listed_at(entry, "data")
            name = f"{source}: cert_chain: {kind if isinstance(kind, str) else 'OTHER'}"
            if kind in ("ARK", "ASK", "VCEK", "VLEK"):
                found.append(GivenCertificate(name, data))
            else:
                notes.append(f"{name[:200]}, {len(data)} bytes: not read")
    return found, notes

"""Decode an appraisal policy from TOML: every fault at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from sevbuild.attest.appraisal import APPRAISAL_SCHEMA, LOWEST_VMPL, AppraisalPolicy, Published
from sevbuild.attest.check_names import CHECKS, NEVER_WAIVED
from sevbuild.attest.platform_info import PLATFORM_INFO_BITS
from sevbuild.attest.product import PRODUCTS, Product, Tcb
from sevbuild.attest.report import FirmwareVersion
from sevbuild.attest.tpm_quote import parse_nonce
from sevbuild.documents.binary_text import dotted_bytes
from sevbuild.documents.document import (
    U32,
    U64,
    Document,
    Table,
    check_hex,
    check_integer,
    check_type,
    check_word,
    parse_toml,
)
from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import decode_policy, policy_of

__all__ = ["decode_appraisal", "parse_version"]

T = TypeVar("T")


def decode_appraisal(text: str, source: str) -> AppraisalPolicy:
    """Return the appraisal policy in a TOML text; `source` is its name in messages.

    Raises FaultsError with all that is wrong, SevbuildError for a manifest.
    """
    raw = parse_toml(text, source)
    if {"launch", "firmware", "vcpu"} & raw.keys():
        hint = f"`sevbuild appraisal init {source}` writes one of it"
        raise SevbuildError(f"{source}: a manifest, not an appraisal policy", hint=hint)
    document = Document(source, text)
    top = Table(document, raw)
    schema = top.any("schema")
    if schema != APPRAISAL_SCHEMA or type(schema) is not int:
        top.fault(
            "schema", f"must be {APPRAISAL_SCHEMA}, the version of appraisal policies this release reads"
        )
    policy = AppraisalPolicy(source)
    for key, decode in (
        ("published", _published),
        ("guest", _guest),
        ("platform", _platform),
        ("checks", _checks),
    ):
        table = top.table(key)
        if table is not None:
            policy = decode(policy, table)
            table.finish()
    policy = policy._replace(
        minimum_tcb=_minima(top, "minimum-tcb"), minimum_launch_tcb=_minima(top, "minimum-launch-tcb")
    )
    top.finish()
    document.raise_faults()
    return policy


def parse_version(text: str) -> FirmwareVersion | None:
    """Return a firmware version that is written `1.55` or `1.55.21`, None for any other text."""
    numbers = dotted_bytes(text)
    if numbers is None or len(numbers) not in (2, 3):
        return None
    return FirmwareVersion(*numbers.ljust(3, b"\0"))


def _published(policy: AppraisalPolicy, table: Table) -> AppraisalPolicy:
    published = Published(_texts(table, "guest"), _texts(table, "release"), _texts(table, "target"))
    return policy._replace(published=published, measurements=_hexes(table, "measurement", 48))


def _guest(policy: AppraisalPolicy, table: Table) -> AppraisalPolicy:
    document = table.document
    if table.has("policy") and table.has("maximum-policy"):
        hint = "`policy` is the one that is accepted, `maximum-policy` a bound"
        table.fault("maximum-policy", "stands beside policy", hint)
    return policy._replace(
        vmpls=_several(table, "vmpl", partial(_bounded, document, high=LOWEST_VMPL)) or policy.vmpls,
        policy=_guest_policy(table, "policy"),
        maximum_policy=_guest_policy(table, "maximum-policy"),
        host_data=_hexes(table, "host-data", 32),
        report_data=_hexes(table, "report-data", 64),
        tpm_nonces=_several(table, "tpm-nonce", partial(_nonce, document)),
        family_ids=_hexes(table, "family-id", 16),
        image_ids=_hexes(table, "image-id", 16),
        guest_svn=table.integer("guest-svn", 0, U32),
        id_keys=_hexes(table, "id-key-digest", 48),
        author_keys=_hexes(table, "author-key-digest", 48),
    )


def _platform(policy: AppraisalPolicy, table: Table) -> AppraisalPolicy:
    document = table.document
    bits = partial(_word, document, words=PLATFORM_INFO_BITS)
    required, forbidden = _several(table, "required", bits), _several(table, "forbidden", bits)
    for word in sorted(set(required) & set(forbidden)):
        table.fault("forbidden", f"{word} is required as well")
    version = table.string("firmware-version")
    least = None if version is None else parse_version(version)
    if version is not None and least is None:
        table.fault("firmware-version", f'must look like "1.55" or "1.55.21", got {version[:120]!r}')
    return policy._replace(
        products=_several(table, "product", partial(_word, document, words=_PRODUCTS)),
        platform_required=required,
        platform_forbidden=forbidden,
        chip_ids=_several(table, "chip-id", partial(_chip_id, document)),
        csp_ids=_texts(table, "csp-id"),
        firmware_version=least,
        provisional_firmware=table.boolean("provisional-firmware") or False,
        launch_mitigations=table.integer("launch-mitigations", 0, U64) or 0,
        current_mitigations=table.integer("current-mitigations", 0, U64) or 0,
    )


def _checks(policy: AppraisalPolicy, table: Table) -> AppraisalPolicy:
    names = partial(_word, table.document, words=CHECKS)
    required, waived = _several(table, "require", names), _several(table, "waive", names)
    for word in sorted(set(required) & set(waived)):
        table.fault("waive", f"{word} is required as well")
    for word in sorted(set(NEVER_WAIVED) & set(waived)):
        table.fault("waive", f"{word}: without it nothing in a report is anybody's word")
    return policy._replace(
        required=frozenset(required),
        waived=frozenset(waived),
        strict=table.boolean("strict") or False,
        unknown_versions=table.boolean("unknown-versions") or False,
    )


_PRODUCTS = {product.name: product for product in PRODUCTS}


def _minima(top: Table, key: str) -> dict[str, Tcb]:
    """Return the least TCBs by product."""
    table = top.table(key)
    found: dict[str, Tcb] = {}
    if table is not None and not table.names():
        top.fault(key, "must not be empty", f"a minimum is that of a product: [{key}.Milan]")
    for name in () if table is None else table.names():
        word = check_word(top.document, f"{key}.{name}", name, _PRODUCTS)
        entry = None if word is None or table is None else table.table(name)
        if entry is not None:
            found[name] = _tcb(entry, _PRODUCTS[name])
    return found


def _tcb(table: Table, product: Product) -> Tcb:
    """Return a TCB of which every part that the product has must be given."""
    parts = {
        part: table.integer(part.replace("_", "-"), 0, 0xFF, required=True) or 0 for part, _ in product.parts
    }
    table.finish()
    return Tcb(**parts)


def _guest_policy(table: Table, key: str) -> int | None:
    value = table.any(key)
    policy = None if value is None else decode_policy(table.document, table.at(key), value, "snp")
    fault = None if policy is None else policy_of("snp", policy).fault("snp")
    if fault is not None:
        table.fault(key, *fault)
    return policy


def _several(table: Table, key: str, decode: Callable[[str, Any], T | None]) -> tuple[T, ...]:
    """Return what one value or a list of them stands for, each once."""
    return tuple(dict.fromkeys(table.items(key, decode) or ()))


def _hexes(table: Table, key: str, size: int) -> tuple[bytes, ...]:
    return _several(table, key, partial(_hex, table.document, size=size))


def _texts(table: Table, key: str) -> tuple[str, ...]:
    return _several(table, key, partial(_text, table.document))


def _hex(document: Document, path: str, value: Any, *, size: int) -> bytes | None:
    return check_hex(document, path, value, size)


def _nonce(document: Document, path: str, value: Any) -> bytes | None:
    text = check_type(document, path, value, str)
    return None if text is None else document.attempt(path, parse_nonce, text)


def _chip_id(document: Document, path: str, value: Any) -> bytes | None:
    """Return the 64 bytes of a chip id; the 8 of a newer product stand at their start, as in a report."""
    short = isinstance(value, str) and len(value.lower().removeprefix("0x")) == 16
    found = check_hex(document, path, value, 8 if short else 64)
    if found is not None and not any(found):
        document.fault(path, "must not be zero: so it is of every chip whose id the host masks")
        return None
    return None if found is None else found.ljust(64, b"\0")


def _text(document: Document, path: str, value: Any) -> str | None:
    text = check_type(document, path, value, str)
    if text == "":
        document.fault(path, "must not be empty")
        return None
    return None if text is None else str(text)


def _word(document: Document, path: str, value: Any, *, words: Any) -> str | None:
    return check_word(document, path, value, words)


def _bounded(document: Document, path: str, value: Any, *, high: int) -> int | None:
    return check_integer(document, path, value, 0, high)

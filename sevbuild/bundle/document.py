"""bundle.json: what is in a bundle, and which target needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sevbuild.bundle.layout import DOCUMENT, SUMS, is_safe_path
from sevbuild.documents.json_input import JsonDocument, parse_json
from sevbuild.documents.json_reader import Reader, as_objects
from sevbuild.documents.json_text import json_bytes
from sevbuild.errors import SevbuildError
from sevbuild.reference.document import value_entry
from sevbuild.reference.model import Value
from sevbuild.reference.read import read_guest_value

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "DOCUMENT_LIMIT",
    "BundleDocument",
    "FileEntry",
    "InputEntry",
    "TargetEntry",
    "all_files",
    "bundle_document",
    "decode_bundle",
    "encode_bundle",
    "sums_text",
]

BUNDLE_KIND = "sevbuild-bundle"
BUNDLE_SCHEMA = 1
DOCUMENT_LIMIT = 32 << 20
"""The size a bundle.json can have: some 20000 targets. Parsed JSON takes many times its size."""

_STRING_LIMIT = 1 << 20

_ELSEWHERE = ("doubts", "id_block", "ingredients")
"""What a value has in reference-values.json alone."""


class FileEntry(NamedTuple):
    """One file of the bundle: its path in it, what it is, its size and its SHA-256 (32 bytes)."""

    path: str
    role: str
    size: int
    sha256: bytes


class InputEntry(NamedTuple):
    """One input of the guest, as the publisher named it.

    `sha256` is None for a firmware that is known by its `seed` alone (48 bytes); a firmware left out of
    the bundle has both. `file` is where it is in the bundle, or would be; None where it never is.
    `measured` is False for what is launched without entering a digest.
    """

    role: str
    name: str
    size: int | None
    sha256: bytes | None
    seed: bytes | None
    file: str | None
    measured: bool


class TargetEntry(NamedTuple):
    """A target's value, without what reference-values.json alone has, and its files: paths by role."""

    value: Value
    files: Mapping[str, str]


class BundleDocument(NamedTuple):
    """The contents of bundle.json."""

    name: str
    version: str
    inputs: tuple[InputEntry, ...]
    files: tuple[FileEntry, ...]
    targets: tuple[TargetEntry, ...]

    @property
    def by_path(self) -> dict[str, FileEntry]:
        """Return the files by path."""
        return {entry.path: entry for entry in self.files}

    @property
    def absent(self) -> list[InputEntry]:
        """Return the inputs that are launched and not in the bundle."""
        paths = {entry.path for entry in self.files}
        return [entry for entry in self.inputs if entry.file is not None and entry.file not in paths]


def encode_bundle(bundle: BundleDocument) -> bytes:
    """Return the bytes of bundle.json."""
    return json_bytes(bundle_document(bundle))


def bundle_document(bundle: BundleDocument) -> dict[str, Any]:
    """Return bundle.json as JSON has it."""
    return {
        "schema": BUNDLE_SCHEMA,
        "kind": BUNDLE_KIND,
        "guest": {"name": bundle.name, "version": bundle.version},
        "inputs": [_encode_input(entry) for entry in bundle.inputs],
        "files": [{**entry._asdict(), "sha256": entry.sha256.hex()} for entry in bundle.files],
        "targets": [{**value_entry(target.value), "files": dict(target.files)} for target in bundle.targets],
    }


def _encode_input(entry: InputEntry) -> dict[str, Any]:
    digests = {
        key: None if value is None else value.hex()
        for key, value in (("sha256", entry.sha256), ("seed", entry.seed))
    }
    return {**entry._asdict(), **digests}


def sums_text(files: Sequence[FileEntry]) -> str:
    """Return the contents of SHA256SUMS, for `sha256sum -c`."""
    return "".join(f"{entry.sha256.hex()}  {entry.path}\n" for entry in sorted(files))


def all_files(bundle: BundleDocument, data: bytes) -> list[FileEntry]:
    """Return every file of a bundle in the order of their paths; `data` are the bytes of its bundle.json."""
    files = [*bundle.files, FileEntry(DOCUMENT, "bundle", len(data), sha256(data).digest())]
    sums = sums_text(files).encode()
    return sorted([*files, FileEntry(SUMS, "sums", len(sums), sha256(sums).digest())])


def decode_bundle(data: bytes, source: str) -> BundleDocument:
    """Return what a bundle.json says; raises FaultsError or SevbuildError naming the places of its faults.

    The bytes are untrusted: every key, type and path is checked, nothing beyond them is allowed.
    """
    if len(data) > DOCUMENT_LIMIT:
        raise SevbuildError(f"{source}: {len(data)} bytes; the limit is {DOCUMENT_LIMIT} bytes")
    raw = parse_json(source, data)
    document = JsonDocument(source)
    top = Reader(document, raw if isinstance(raw, dict) else {})
    schema = top.any("schema")
    if top.any("kind") != BUNDLE_KIND or isinstance(schema, bool) or schema != BUNDLE_SCHEMA:
        raise SevbuildError(f"{source}: not a bundle of version {BUNDLE_SCHEMA}, the one this release reads")
    guest = top.section("guest")
    name, version = _text(guest, "name"), _text(guest, "version")
    guest.finish()
    bundle = BundleDocument(
        name,
        version,
        tuple(_input(entry) for entry in as_objects(top, "inputs")),
        tuple(_file(entry) for entry in as_objects(top, "files")),
        tuple(_target(entry) for entry in as_objects(top, "targets", least=1)),
    )
    top.finish()
    document.raise_faults()
    paths = [entry.path for entry in bundle.files]
    if paths != sorted(set(paths)) or len({path.casefold() for path in paths}) != len(paths):
        top.fault("files", "must be sorted by path, without duplicates")
    if len({target.value.label for target in bundle.targets}) != len(bundle.targets):
        top.fault("targets", "must not repeat a label")
    if bundle_document(bundle) != raw:
        top.fault("targets", "must write numbers without leading zeros")
    document.raise_faults()
    return bundle


def _text(table: Reader, key: str) -> str:
    text = table.string(key)
    if len(text) > _STRING_LIMIT:
        table.fault(key, f"must be a string of at most {_STRING_LIMIT} characters")
    return text


def _path(table: Reader, key: str) -> str:
    text = _text(table, key)
    if not is_safe_path(text) or text in (DOCUMENT, SUMS):
        table.fault(key, f"is not a path within a bundle: {text[:120]!r}")
    return text


def _size(table: Reader, key: str) -> int:
    return table.integer(key, 0, (1 << 63) - 1)


def _file(table: Reader) -> FileEntry:
    path, role = _path(table, "path"), _text(table, "role")
    entry = FileEntry(path, role, _size(table, "size"), table.hex("sha256", 32))
    table.finish()
    return entry


def _input(table: Reader) -> InputEntry:
    entry = InputEntry(
        role=_text(table, "role"),
        name=_text(table, "name"),
        size=table.nullable("size", lambda key: _size(table, key)),
        sha256=table.nullable("sha256", lambda key: table.hex(key, 32)),
        seed=table.nullable("seed", lambda key: table.hex(key, 48)),
        file=table.nullable("file", lambda key: _path(table, key)),
        measured=table.boolean("measured"),
    )
    if entry.sha256 is None and entry.seed is None:
        table.fault("sha256", "is null, and so is seed")
    table.finish()
    return entry


def _target(table: Reader) -> TargetEntry:
    for key in _ELSEWHERE:
        if table.has(key):
            table.fault(key, "unknown key")
    files = table.section("files")
    paths = {role: _text(files, role) for role in files.names()}
    return TargetEntry(read_guest_value(table), paths)

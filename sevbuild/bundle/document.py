"""bundle.json: what is in a bundle, and which target needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn

from sevbuild.bundle.layout import DOCUMENT, SUMS, is_safe_path
from sevbuild.documents.json_input import parse_json
from sevbuild.documents.json_text import json_bytes
from sevbuild.errors import SevbuildError

__all__ = [
    "BUNDLE_KIND",
    "BUNDLE_SCHEMA",
    "DOCUMENT_LIMIT",
    "BundleDocument",
    "FileEntry",
    "InputEntry",
    "all_files",
    "decode_bundle",
    "encode_bundle",
    "sums_text",
]

BUNDLE_KIND = "sevbuild-bundle"
BUNDLE_SCHEMA = 1
DOCUMENT_LIMIT = 32 << 20
"""The size a bundle.json can have: some 20000 targets. Parsed JSON takes many times its size."""

_STRING_LIMIT = 1 << 20


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


class BundleDocument(NamedTuple):
    """The contents of bundle.json: `targets` are its reference values, each with `files`, paths by role."""

    name: str
    version: str
    inputs: tuple[InputEntry, ...]
    files: tuple[FileEntry, ...]
    targets: tuple[Mapping[str, Any], ...]

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
    return json_bytes(
        {
            "schema": BUNDLE_SCHEMA,
            "kind": BUNDLE_KIND,
            "guest": {"name": bundle.name, "version": bundle.version},
            "inputs": [_encode_input(entry) for entry in bundle.inputs],
            "files": [{**entry._asdict(), "sha256": entry.sha256.hex()} for entry in bundle.files],
            "targets": list(bundle.targets),
        }
    )


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
    """Return what a bundle.json says; raises SevbuildError naming the place of the first fault.

    The bytes are untrusted: every key, type and path is checked, nothing beyond them is allowed.
    """
    if len(data) > DOCUMENT_LIMIT:
        raise SevbuildError(f"{source}: {len(data)} bytes; the limit is {DOCUMENT_LIMIT} bytes")
    raw = parse_json(source, data)
    reader = _Reader(source)
    top = reader.table("", raw, ("schema", "kind", "guest", "inputs", "files", "targets"))
    if top["kind"] != BUNDLE_KIND or isinstance(top["schema"], bool) or top["schema"] != BUNDLE_SCHEMA:
        reader.fail("schema", f"not a bundle of version {BUNDLE_SCHEMA}, the one this release reads")
    guest = reader.table("guest", top["guest"], ("name", "version"))
    name, version = (reader.text(f"guest.{key}", guest[key]) for key in ("name", "version"))
    inputs = [reader.input(path, value) for path, value in reader.items("inputs", top["inputs"])]
    files = [reader.file(path, value) for path, value in reader.items("files", top["files"])]
    paths = [entry.path for entry in files]
    if paths != sorted(set(paths)) or len({path.casefold() for path in paths}) != len(paths):
        reader.fail("files", "must be sorted by path, without duplicates")
    targets = [reader.target(path, value) for path, value in reader.items("targets", top["targets"])]
    if not targets:
        reader.fail("targets", "must not be empty")
    if len({target["label"] for target in targets}) != len(targets):
        reader.fail("targets", "must not repeat a label")
    return BundleDocument(name, version, tuple(inputs), tuple(files), tuple(targets))


_TARGET_KEYS: dict[str, tuple[type, ...]] = {
    "label": (str,),
    "mode": (str,),
    "profile": (str,),
    "cpu": (str,),
    "signature": (str,),
    "vcpus": (int,),
    "guest_features": (str, type(None)),
    "policy": (str,),
    "kernel_hashes": (bool,),
    "cmdline": (str, type(None)),
    "order": (str,),
    "vmsa_gpa": (str, type(None)),
    "algorithm": (str,),
    "digest": (str,),
    "origins": (dict,),
    "files": (dict,),
}


class _Reader:
    """The values of one document; each fault names source and place."""

    def __init__(self, source: str) -> None:
        self._source = source

    def fail(self, path: str, message: str) -> NoReturn:
        where = f"{self._source}: {path}" if path else self._source
        raise SevbuildError(f"{where}: {message}")

    def table(self, path: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(path, "must be an object")
        for key in keys:
            if key not in value:
                self.fail(path, f"has no {key!r}")
        for key in value:
            if key not in keys:
                self.fail(path, f"has the unknown key {key[:80]!r}")
        found: dict[str, Any] = value
        return found

    def items(self, path: str, value: Any) -> list[tuple[str, Any]]:
        if not isinstance(value, list):
            self.fail(path, "must be a list")
        return [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]

    def text(self, path: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > _STRING_LIMIT:
            self.fail(path, f"must be a string of at most {_STRING_LIMIT} characters")
        return str(value)

    def size(self, path: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            self.fail(path, "must be a size in bytes")
        return int(value)

    def digest(self, path: str, value: Any, size: int = 32) -> bytes:
        text = self.text(path, value)
        if len(text) != 2 * size or not set(text) <= set("0123456789abcdef"):
            self.fail(path, f"must be {2 * size} lower-case hexadecimal digits")
        return bytes.fromhex(text)

    def path(self, path: str, value: Any) -> str:
        text = self.text(path, value)
        if not is_safe_path(text) or text in (DOCUMENT, SUMS):
            self.fail(path, f"is not a path within a bundle: {text[:120]!r}")
        return text

    def file(self, path: str, value: Any) -> FileEntry:
        entry = self.table(path, value, FileEntry._fields)
        return FileEntry(
            self.path(f"{path}.path", entry["path"]),
            self.text(f"{path}.role", entry["role"]),
            self.size(f"{path}.size", entry["size"]),
            self.digest(f"{path}.sha256", entry["sha256"]),
        )

    def input(self, path: str, value: Any) -> InputEntry:
        entry = self.table(path, value, InputEntry._fields)
        sha256, seed, size, file = (entry[key] for key in ("sha256", "seed", "size", "file"))
        if sha256 is None and seed is None:
            self.fail(path, "has neither sha256 nor seed")
        if not isinstance(entry["measured"], bool):
            self.fail(f"{path}.measured", "must be a boolean")
        return InputEntry(
            self.text(f"{path}.role", entry["role"]),
            self.text(f"{path}.name", entry["name"]),
            None if size is None else self.size(f"{path}.size", size),
            None if sha256 is None else self.digest(f"{path}.sha256", sha256),
            None if seed is None else self.digest(f"{path}.seed", seed, 48),
            None if file is None else self.path(f"{path}.file", file),
            entry["measured"],
        )

    def target(self, path: str, value: Any) -> dict[str, Any]:
        entry = self.table(path, value, tuple(_TARGET_KEYS))
        for key, kind in _TARGET_KEYS.items():
            found = entry[key]
            if not isinstance(found, kind) or (isinstance(found, bool) and bool not in kind):
                self.fail(f"{path}.{key}", "has the wrong type")
        for key in ("origins", "files"):
            for name, text in entry[key].items():
                self.text(f"{path}.{key}.{name[:80]}", text)
        self.digest(f"{path}.digest", entry["digest"], 48 if entry["mode"] == "snp" else 32)
        return entry

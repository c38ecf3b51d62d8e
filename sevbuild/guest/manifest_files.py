"""What files a manifest rests on, and which files are manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sevbuild.documents.document import parse_toml
from sevbuild.errors import SevbuildError
from sevbuild.fs import path_from, read_text
from sevbuild.guest.guest import Guest
from sevbuild.manifest.inputs import PathSource
from sevbuild.manifest.path_keys import is_profile_path
from sevbuild.manifest.profiles import profile_files

__all__ = ["MANIFEST", "PROFILE", "document_kind", "kind_of_tables", "named_files"]

MANIFEST, PROFILE = "a manifest", "a profile"

_MANIFEST_TABLES = ("guest", "launch", "firmware", "igvm", "matrix")


def named_files(guest: Guest) -> Iterator[tuple[str, str]]:
    """Yield what a manifest names, and the path of each file, as this process can open it.

    That is its inputs, the keys of its ID blocks, and the profiles that are files with all that they extend.
    """
    for variant in guest.manifest.variants:
        for declared in variant.inputs:
            for key, source in declared.files():
                if isinstance(source, PathSource):
                    yield f"an input of the guest, {key}", guest.reader.path_of(source)
        for key, name in variant.id_block.files() if variant.id_block is not None else ():
            yield f"a key or signature of the guest, {key}", path_from(guest.manifest.directory, name)
        for name in filter(is_profile_path, variant.profiles):
            for path in profile_files(name, guest.manifest.directory):
                yield f"a profile of the guest, {name} or what it extends", path


def document_kind(path: str) -> str | None:
    """Return what a TOML document is for us, MANIFEST or PROFILE, by its tables; None for any other file.

    One that is no TOML is taken for a manifest if its name is that of a TOML document: it is being edited.
    """
    try:
        text = read_text(path)
    except SevbuildError:
        return None
    try:
        raw = parse_toml(text, path)
    except SevbuildError:
        return MANIFEST if path.endswith(".toml") else None
    return kind_of_tables(raw)


def kind_of_tables(raw: Mapping[str, Any]) -> str | None:
    """Return the same of the tables of a TOML document."""
    if "guest" not in raw and "as-of" in raw:
        return PROFILE
    # A lock has a schema version as well, and says what wrote it.
    versioned = isinstance(raw.get("schema"), int) and "sevbuild" not in raw
    return MANIFEST if versioned or any(table in raw for table in _MANIFEST_TABLES) else None

"""Decode inputs that are fetched: `url` in place of a path, with the SHA-256 it must have."""

from __future__ import annotations

import re
from typing import Any

from sevbuild.documents.document import Document, Table, check_hex, check_type
from sevbuild.manifest.inputs import PathSource, Role, Source, UrlSource

__all__ = ["URL_PATTERN", "decode_pin", "decode_source", "decode_sources"]

URL_PATTERN = r'^https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/[!"$-~]*$'
"""Printable ASCII after `https://HOST[:PORT]/`: no user, no password, no fragment."""


def decode_pin(table: Table) -> bytes | None:
    """Return the `sha256` of an input, None with a fault where it is something else."""
    if not table.has("sha256"):
        return None
    return check_hex(table.document, table.at("sha256"), table.any("sha256"), 32)


def decode_source(table: Table, role: Role, path: str | None, pin: bytes | None) -> Source | None:
    """Return what one input is read from: its `url` if it has one, else `path`, None for neither."""
    if "url" not in role.keys or not table.has("url"):
        return None if path is None else PathSource(path)
    url = _url(table.document, table.at("url"), table.any("url"))
    for key in ("path", "uki"):
        if table.has(key):
            table.fault("url", f"cannot be combined with {key}: give one of them")
    if pin is None and not table.has("sha256"):
        _missing_pin(table)
    return None if url is None or pin is None else UrlSource(url, pin, role.limit)


def decode_sources(table: Table, role: Role, paths: list[str] | None) -> tuple[Source, ...]:
    """Return what a list of files is read from.

    Each URL has a SHA-256 of its own; of paths, the whole has one.
    """
    document = table.document
    if not table.has("url"):
        if isinstance(table.any("sha256"), list):
            table.fault("sha256", "must be one string: of several paths, the whole is pinned")
        return tuple(PathSource(path) for path in paths or ())
    if table.has("path"):
        table.fault("url", "cannot be combined with path: give one of them")
    urls = table.items("url", lambda path, value: _url(document, path, value)) or []
    pins = table.items("sha256", lambda path, value: check_hex(document, path, value, 32))
    if pins is None:
        _missing_pin(table)
    elif isinstance(table.any("sha256"), list) != isinstance(table.any("url"), list):
        table.fault("sha256", "must be a list where url is one")
    elif isinstance(table.any("sha256"), list) and len(table.any("sha256")) != len(table.any("url")):
        table.fault("sha256", f"must have an entry for each url: {len(table.any('url'))}")
    return tuple(UrlSource(url, pin, role.limit) for url, pin in zip(urls, pins or (), strict=False))


def _missing_pin(table: Table) -> None:
    hint = "a server may send something else tomorrow"
    table.fault("sha256", "missing: what is fetched must be pinned", hint)


def _url(document: Document, path: str, value: Any) -> str | None:
    url = check_type(document, path, value, str)
    if url is None:
        return None
    match = re.fullmatch(URL_PATTERN[1:-1], url)
    if match is None or int((match[2] or ":1")[1:]) not in range(1, 65536):
        hint = "without user, password and fragment; plain http is not fetched"
        document.fault(path, f"must be a URL like https://HOST/FILE, got {url[:200]!r}", hint)
        return None
    return str(url)

"""Check the paths that a manifest gives: of files of this machine, opened as they are written."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import Document, Table, check_type

__all__ = ["check_path", "decode_path", "is_profile_path"]


def check_path(document: Document, at: str, value: Any, *, url_key: str | None = "url") -> str | None:
    """Return a path, or None with a fault where it is no path of a file.

    Nothing in a path is expanded. One that begins with `~` is refused, for a shell's user would mean a home
    folder by it. `url_key` is the key beside it that takes a URL, None where there is none.
    """
    path = check_type(document, at, value, str)
    if path is None:
        return None
    if not path or "\0" in path:
        document.fault(at, "must be the path of a file")
    elif path.startswith("~"):
        hint = f"`./{path}` names such a file; write a home folder out in full"
        document.fault(at, f"{path!r} begins with ~, which is not expanded", hint)
    elif path.startswith(("https://", "http://")):
        say = None if url_key is None else f'write {url_key} = "https://..." with its sha256'
        document.fault(at, "is a URL, not the path of a file", say)
    else:
        return str(path)
    return None


def decode_path(
    table: Table, key: str = "path", *, required: bool = False, url_key: str | None = "url"
) -> str | None:
    """Return the path under a key, or None with a fault where it is none."""
    path = table.string(key, required=required)
    return None if path is None else check_path(table.document, table.at(key), path, url_key=url_key)


def is_profile_path(name: str) -> bool:
    """Tell whether what a manifest calls a profile is a path to one: it has a slash or ends in .toml."""
    return "/" in name or name.endswith(".toml")

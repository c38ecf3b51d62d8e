"""What lies in a folder that may be a bundle; whoever made it may mean harm."""

from __future__ import annotations

import os
import stat
from typing import Any

from sevbuild.bundle.document import DOCUMENT_LIMIT, BundleDocument, bundle_document, decode_bundle
from sevbuild.bundle.layout import DOCUMENT, MAX_DEPTH, SUMS, is_safe_path
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import read_file

__all__ = [
    "bundle_folder",
    "describe_bundle",
    "find_extra",
    "list_folder",
    "read_document",
    "refuse_foreign",
]

_MOST_ENTRIES = 1_000_000


def bundle_folder(path: str) -> str:
    """Return the folder of a bundle given by its folder or its bundle.json."""
    folder = os.path.dirname(path) or "." if os.path.basename(path) == DOCUMENT else path
    if not os.path.isdir(folder):
        from sevbuild.output.exchange import interrupted

        left = interrupted(os.path.realpath(folder))
        hint = None
        if left is not None:
            hint = f"a build may have been killed while replacing it: verify {left}, then move it back"
        raise SevbuildError(f"{folder}: no such folder", hint=hint)
    return folder


def list_folder(folder: str) -> dict[str, int]:
    """Return the size of each file by its path in the folder, folders as `path/` with size 0.

    Raises SevbuildError for links, devices, names that no bundle has, and more than a bundle can hold.
    """
    found: dict[str, int] = {}
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(os.path.join(folder, below)) as entries:
                for entry in entries:
                    path = below + entry.name
                    status = entry.stat(follow_symlinks=False)
                    if not is_safe_path(path):
                        raise SevbuildError(f"{folder}: a bundle cannot contain a file named {path[:200]!r}")
                    if stat.S_ISDIR(status.st_mode) and path.count("/") < MAX_DEPTH:
                        pending.append(f"{path}/")
                        found[f"{path}/"] = 0
                    elif stat.S_ISREG(status.st_mode):
                        found[path] = status.st_size
                    else:
                        raise SevbuildError(f"{folder}/{path}: neither a file nor a folder")
                    if len(found) > _MOST_ENTRIES:
                        raise SevbuildError(f"{folder}: more than {_MOST_ENTRIES} files")
        except OSError as error:
            raise SevbuildError(f"cannot read {folder}/{below}: {error.strerror or error}") from None
    return dict(sorted(found.items()))


def read_document(folder: str) -> tuple[BundleDocument, bytes]:
    """Return the decoded bundle.json of a folder, and its bytes."""
    path = os.path.join(folder, DOCUMENT)
    if os.path.islink(path) or not os.path.isfile(path):
        raise SevbuildError(f"{folder}: not a bundle: it has no {DOCUMENT}")
    data = read_file(path, DOCUMENT_LIMIT)
    return decode_bundle(data, path), data


def describe_bundle(path: str) -> dict[str, Any]:
    """Return a JSON-able description of a bundle; nothing in it is measured or compared.

    `path` is its folder or its bundle.json. Raises SevbuildError for what is none.
    """
    folder = bundle_folder(path)
    bundle, _ = read_document(folder)
    absent = {entry.file for entry in bundle.absent}
    description = bundle_document(bundle)
    del description["schema"]
    description["name"] = os.path.basename(os.path.abspath(folder))
    for entry in description["inputs"]:
        entry["present"] = entry["file"] is not None and entry["file"] not in absent
    return description


def find_extra(listing: dict[str, int], bundle: BundleDocument) -> str | None:
    """Return the first path of a listing that the bundle does not account for, else None."""
    known = {entry.path for entry in bundle.files} | {DOCUMENT, SUMS}
    known |= {entry.file for entry in bundle.inputs if entry.file is not None}
    folders: set[str] = set()
    for path in known:
        parts = path.split("/")
        folders |= {"/".join(parts[:count]) + "/" for count in range(1, len(parts))}
    return next((path for path in listing if path not in known and path not in folders), None)


def refuse_foreign(place: str, shown: str) -> None:
    """Raise SevbuildError unless a place, called `shown`, is free, empty, or a bundle and nothing else."""
    if not os.path.lexists(place):
        return
    if os.path.islink(place) or not os.path.isdir(place):
        raise SevbuildError(f"{shown} exists and is not a folder", hint="give the path of a folder")
    if not os.listdir(place):
        return
    hint = "build into another folder, or remove this one yourself"
    with within(f"{shown} exists and is not a bundle", hint=hint):
        bundle, _ = read_document(place)
        extra = find_extra(list_folder(place), bundle)
    if extra is not None:
        hint = "move it elsewhere: the whole folder is replaced"
        raise SevbuildError(f"{shown} contains {extra}, which is not part of the bundle", hint=hint)

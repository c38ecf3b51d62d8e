"""Where things lie in a bundle."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

__all__ = [
    "DOCUMENT",
    "ID_BLOCK_FOLDER",
    "INPUT_FOLDER",
    "MANIFEST",
    "REFERENCE",
    "SUMS",
    "input_path",
    "is_safe_path",
    "profile_path",
    "target_folders",
]

DOCUMENT = "bundle.json"
MANIFEST = "guest.toml"
REFERENCE = "reference-values.json"
SUMS = "SHA256SUMS"
INPUT_FOLDER = "inputs"
ID_BLOCK_FOLDER = "id-blocks"
_TARGET_FOLDER = "targets"

MAX_DEPTH = 4
"""No path in a bundle has more parts."""

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_SUFFIXES = {"firmware": ".fd", "igvm": ".igvm", "vars": ".fd", "svsm": ".bin"}
_LONGEST = 160
_LONGEST_PART = 200


def is_safe_path(path: str) -> bool:
    """Tell whether a path stays in its folder on any system: plain parts of [A-Za-z0-9._-]."""
    parts = path.split("/")
    return len(parts) <= MAX_DEPTH and all(
        0 < len(part) <= _LONGEST_PART and set(part) <= _SAFE and part.strip(".") != "" for part in parts
    )


def target_folders(labels: Iterable[str], above: str = _TARGET_FOLDER) -> dict[str, str]:
    """Return a folder for each label: `/` becomes `_`, and so does what file names should not have.

    Where that changes a label beyond `/`, or two would share a folder (on a file system without case, for
    one), the label's digest is added.
    """
    taken: set[str] = set()
    folders: dict[str, str] = {}
    for label in labels:
        plain = label.replace("/", "_")
        name = "".join(char if char in _SAFE else "_" for char in plain)[:_LONGEST]
        if name != plain or name.casefold() in taken:
            name = f"{name}-{sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
        taken.add(name.casefold())
        folders[label] = f"{above}/{name}"
    return folders


def profile_path(index: int) -> str:
    """Return the path of the bundle's profile number `index`, counted from 0."""
    return f"profiles/profile{_number(index)}.toml"


def input_path(role: str, index: int) -> str:
    """Return the path of the bundle's input number `index` of a role, counted from 0."""
    return f"{INPUT_FOLDER}/{role}{_number(index)}{_SUFFIXES.get(role, '')}"


def _number(index: int) -> str:
    return f"-{index + 1}" if index else ""

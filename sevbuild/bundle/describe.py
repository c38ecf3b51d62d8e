"""Say what a bundle holds, as its bundle.json has it."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.bundle.document import bundle_document
from sevbuild.bundle.folder import read_document

__all__ = ["describe_bundle"]


def describe_bundle(path: str) -> dict[str, Any]:
    """Return a JSON-able description of a bundle; nothing in it is measured or compared.

    `path` is its folder or its bundle.json. Raises SevbuildError for what is none.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    bundle, _ = read_document(folder)
    absent = {entry.file for entry in bundle.absent}
    description = bundle_document(bundle)
    del description["schema"]
    description["name"] = os.path.basename(os.path.abspath(folder))
    for entry in description["inputs"]:
        entry["present"] = entry["file"] is not None and entry["file"] not in absent
    return description

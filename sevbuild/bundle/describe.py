"""Say what a bundle holds, as its bundle.json has it."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.bundle.document import BUNDLE_KIND
from sevbuild.bundle.folder import read_document

__all__ = ["describe_bundle"]


def describe_bundle(path: str) -> dict[str, Any]:
    """Return a JSON-able description of a bundle; nothing in it is measured or compared.

    `path` is its folder or its bundle.json. Raises SevbuildError for what is none.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    bundle, _ = read_document(folder)
    absent = {entry.file for entry in bundle.absent}
    return {
        "kind": BUNDLE_KIND,
        "name": os.path.basename(os.path.abspath(folder)),
        "guest": {"name": bundle.name, "version": bundle.version},
        "inputs": [
            {
                "role": entry.role,
                "name": entry.name,
                "size": entry.size,
                "sha256": entry.sha256.hex() if entry.sha256 else None,
                "seed": entry.seed.hex() if entry.seed else None,
                "file": entry.file,
                "present": entry.file is not None and entry.file not in absent,
                "measured": entry.measured,
            }
            for entry in bundle.inputs
        ],
        "files": [{**entry._asdict(), "sha256": entry.sha256.hex()} for entry in bundle.files],
        "targets": [dict(entry) for entry in bundle.targets],
    }

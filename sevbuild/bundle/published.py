"""What was published, by its path: a document, a release or bundle with one inside, a list, a digest."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from sevbuild.bundle.layout import DOCUMENT, INPUT_FOLDER, REFERENCE
from sevbuild.errors import SevbuildError
from sevbuild.fs import read_file, read_range
from sevbuild.reference.expected import Expected, parse_digest, parse_expected

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = [
    "bundle_at",
    "document_path",
    "is_document",
    "read_consistent_values",
    "read_document_bytes",
    "read_expected",
    "read_values",
]

_OF_BUNDLES = (INPUT_FOLDER, "targets")


def bundle_at(path: str) -> str | None:
    """Return the folder of the bundle that a path means: a folder with a bundle.json, or that file itself.

    None for any other path. A bundle that an interrupted build left beside its place is one as well.
    """
    if os.path.basename(path) == DOCUMENT:
        return os.path.dirname(path) or "."
    if os.path.isdir(path):
        return path if os.path.lexists(os.path.join(path, DOCUMENT)) else None
    if not os.path.lexists(path):
        from sevbuild.output.exchange import interrupted

        return path if interrupted(path) else None
    return None


def is_document(path: str) -> bool:
    """Tell whether a path means a document: a folder, or a file that starts with a brace."""
    return os.path.isdir(path) or (os.path.isfile(path) and read_range(path, 0, 64).lstrip()[:1] == b"{")


def document_path(path: str) -> str:
    """Return the file that a path means where a document is meant: in a folder its reference-values.json.

    Raises SevbuildError for a folder that has none.
    """
    if not os.path.isdir(path):
        return path
    found = os.path.join(path, REFERENCE)
    below = next((name for name in _OF_BUNDLES if os.path.isdir(os.path.join(path, name))), None)
    if below is not None:
        # Without what lists them, none of its files would be looked at.
        raise SevbuildError(f"{path}: contains {below}/ like a bundle, but no {DOCUMENT}")
    if not os.path.isfile(found):
        raise SevbuildError(f"{path}: a folder with neither {DOCUMENT} nor {REFERENCE}")
    return found


def read_document_bytes(path: str) -> tuple[str, bytes]:
    """Return the name and the bytes of the document that a path means.

    That of a bundle is the one that its bundle.json lists. Raises SevbuildError.
    """
    from sevbuild.documents.json_input import DOCUMENT_LIMIT

    folder = bundle_at(path)
    if folder is None:
        path = document_path(path)
        return path, read_file(path, DOCUMENT_LIMIT)
    return _of_bundle(folder)


def read_values(path: str) -> tuple[str, ReferenceValues]:
    """Return the name of the document that a path means, and its reference values; raises SevbuildError."""
    from sevbuild.reference.read import read_reference_values

    name, data = read_document_bytes(path)
    return name, read_reference_values(name, data)


def read_consistent_values(path: str) -> tuple[str, ReferenceValues]:
    """Return the same of a document that is passed on: MismatchError where it contradicts itself."""
    from sevbuild.reference.consistency import check_consistent

    source, values = read_values(path)
    check_consistent(source, values)
    return source, values


def read_expected(text: str, flag: str = "--expect") -> Expected:
    """Return what is expected: a digest in hex, or the path of a document, a release, a bundle, or a list.

    Raises SevbuildError.
    """
    digest = parse_digest(text)
    if digest is not None:
        return Expected(flag, digest=digest)
    if not os.path.lexists(text) and bundle_at(text) is None:
        before, colon, digits = text.strip().lower().removeprefix("0x").rpartition(":")
        if digits and set(digits) <= set("0123456789abcdef") and before in ("", "sha256", "sha384"):
            from sevbuild.documents.hints import digits_hint

            message = f"{flag} {text[:100]}: no such file, and {len(digits)} digits are not a launch digest"
            hint = "a launch digest has 96 hexadecimal digits (64 for SEV and SEV-ES)"
            if colon and parse_digest(digits) is not None:
                message = f"{flag} {text[:110]}: no such file, and not a launch digest"
                hint = digits_hint(text) or hint
            raise SevbuildError(message, hint=hint)
    name, data = read_document_bytes(text)
    return parse_expected(name, data)


def _of_bundle(folder: str) -> tuple[str, bytes]:
    from sevbuild.bundle.folder import bundle_folder, read_document
    from sevbuild.documents.json_input import DOCUMENT_LIMIT

    bundle, _ = read_document(bundle_folder(folder))
    path = os.path.join(folder, REFERENCE)
    entry = bundle.by_path.get(REFERENCE)
    if entry is None or os.path.islink(path) or not os.path.isfile(path):
        raise SevbuildError(f"{folder}: a bundle without {REFERENCE}")
    data = read_file(path, DOCUMENT_LIMIT)
    if sha256(data).digest() != entry.sha256:
        hint = f"`sevbuild verify {folder}` tells more"
        raise SevbuildError(f"{path}: not the file that {DOCUMENT} lists", hint=hint)
    return path, data

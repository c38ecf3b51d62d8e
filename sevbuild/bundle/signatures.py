"""Who published a release, or a file of one: its signatures, held to a public key."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.bundle.release import listed_digests
from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.json_input import DOCUMENT_LIMIT
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.fs import hash_files, is_regular, read_file, read_range, why_unreadable
from sevbuild.reference.export.signing import VerifyingKey, load_verifying_key
from sevbuild.reference.read import read_reference_values
from sevbuild.reference.release import CHECKSUMS, DOCUMENT_NAME, SIGNATURE
from sevbuild.reference.signed import Signed, is_signed, read_signed
from sevbuild.text import counted, utf8_text

if TYPE_CHECKING:
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Publication", "holds_signature", "published_by"]

_KEY_LIMIT = 64 << 10
_SIGNED_FILES = ("in-toto.intoto.jsonl", "corim.cose")
"""What of a release is signed by itself, beside its checksums."""


class Publication(NamedTuple):
    """What one key signed: a line for each signature, and the reference values that are under one."""

    lines: list[str]
    values: ReferenceValues | None


def holds_signature(path: str) -> bool:
    """Tell whether a file is one that holds its own signature."""
    return is_regular(path) and is_signed(read_range(path, 0, DOCUMENT_LIMIT))


def published_by(path: str, key_path: str) -> Publication:
    """Return what the owner of a public key signed of a file, or of the folder of a release.

    MismatchError where a signature is not theirs, where a file is another than was signed, and where nothing
    is signed; SevbuildError for what has no signature of a kind that is known.
    """
    key = load_verifying_key(read_file(key_path, _KEY_LIMIT), key_path)
    folder = os.path.dirname(path) or "." if os.path.basename(path) == CHECKSUMS else path
    if os.path.isdir(folder):
        return _release(folder, key, key_path)
    fault = why_unreadable(path)
    if fault is not None:
        raise fault
    if not holds_signature(path):
        hint = f"of a release, name the folder with {CHECKSUMS} and {SIGNATURE}"
        raise SevbuildError(f"{path}: no envelope, no signed CoRIM: nothing in it is signed", hint=hint)
    found = read_signed(path, read_file(path, DOCUMENT_LIMIT), key, key_path)
    values = next((one.values for one in found if one.values is not None), None)
    return Publication([_line(path, one, key, key_path) for one in found], values)


def _release(folder: str, key: VerifyingKey, called: str) -> Publication:
    lines, covered = [], None
    if os.path.isfile(os.path.join(folder, SIGNATURE)):
        listed = _checksums(folder, key, called)
        lines.append(
            f"{os.path.join(folder, CHECKSUMS)}: signed by {_owner(key, called)}: {counted(len(listed), 'file')}"
        )
        covered = _document(folder, listed[DOCUMENT_NAME]) if DOCUMENT_NAME in listed else None
    for name in _SIGNED_FILES:
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        for signed in read_signed(path, read_file(path, DOCUMENT_LIMIT), key, called):
            lines.append(_line(path, signed, key, called))
            if signed.values is not None:
                _hold(folder, signed.values)
                covered = signed.values
    if not lines:
        raise MismatchError(
            f"{folder}: nothing in it is signed", hint="`sevbuild publish --sign KEY` signs a release"
        )
    if covered is None:
        raise MismatchError(f"{os.path.join(folder, DOCUMENT_NAME)}: under no signature by {called}")
    return Publication(lines, covered)


def _checksums(folder: str, key: VerifyingKey, called: str) -> dict[str, str]:
    """Return the signed checksums by name; each file is as listed."""
    path = os.path.join(folder, CHECKSUMS)
    text = utf8_text(read_file(os.path.join(folder, SIGNATURE), _KEY_LIMIT))
    signature = None if text is None else base64_bytes(text)
    if signature is None:
        raise SevbuildError(f"{os.path.join(folder, SIGNATURE)}: not a signature in base64")
    data = read_file(path, DOCUMENT_LIMIT)
    if not key.verifies(data, signature):
        raise MismatchError(f"{path}: not signed by {called}")
    listed = listed_digests(utf8_text(data) or "", folder)
    for name, digest in listed.items():
        file = os.path.join(folder, name)
        if os.path.islink(file) or not os.path.isfile(file):
            raise MismatchError(f"{file}: absent, though {CHECKSUMS} lists it")
        if hash_files([file])[0].hexdigest() != digest:
            raise MismatchError(f"{file}: not the file that {CHECKSUMS} lists")
    return listed


def _document(folder: str, digest: str = "") -> ReferenceValues | None:
    """Return the reference values of a release; those that `digest` lists are of the very bytes it is of."""
    path = os.path.join(folder, DOCUMENT_NAME)
    if not digest and not os.path.isfile(path):
        return None
    data = read_file(path, DOCUMENT_LIMIT)
    if digest and sha256(data).hexdigest() != digest:
        raise MismatchError(f"{path}: not the file that {CHECKSUMS} lists")
    return read_reference_values(path, data)


def _hold(folder: str, values: ReferenceValues) -> None:
    """Raise MismatchError where the document of a release is another than the one that was signed."""
    document = _document(folder)
    if document is not None and document != values:
        raise MismatchError(
            f"{os.path.join(folder, DOCUMENT_NAME)}: not the reference values that were signed"
        )


def _line(path: str, signed: Signed, key: VerifyingKey, called: str) -> str:
    return f"{path}: signed by {_owner(key, called)}: {signed.said}"


def _owner(key: VerifyingKey, called: str) -> str:
    return f"{called} ({key.kind}, SHA-256 {key.fingerprint.hex()})"

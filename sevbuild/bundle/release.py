"""Put a release in its place: a flat folder with a list of checksums, exchanged as bundles are."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from sevbuild.bundle.keep import Keeper
from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.json_input import DOCUMENT_LIMIT
from sevbuild.errors import SevbuildError, file_errors, within
from sevbuild.fs import hash_files, read_file, read_text
from sevbuild.output.disk import Disk
from sevbuild.output.exchange import staging
from sevbuild.output.locks import Patience
from sevbuild.reference.read import read_reference_values
from sevbuild.reference.release import CHECKSUMS, DOCUMENT_NAME, SIGNATURE, names_in_releases
from sevbuild.text import utf8_text

__all__ = ["listed_digests", "write_release"]

_LARGEST_SIGNATURE = 4096
_HEX = frozenset("0123456789abcdef")
_HINT = "name a new or empty folder, or an unmodified release; move other files elsewhere"


def write_release(
    output: str,
    files: Mapping[str, bytes],
    *,
    disk: Disk | None = None,
    patience: Patience | None = None,
) -> None:
    """Write a folder of these files whole or not at all; an earlier release there is exchanged for it.

    What is not an earlier release through and through is not replaced: SevbuildError names the file that
    tells.
    """
    disk = Disk() if disk is None else disk
    output = output.rstrip("/") or output
    if os.path.islink(output):
        raise SevbuildError(f"{output}: not a folder")
    place = os.path.realpath(output)
    with staging(disk, place, _Replaceable(), patience) as stage:
        keeper = Keeper(disk, stage.folder, "copy", shown=place)
        for name, data in files.items():
            keeper.write(name, data)
        disk.sync(stage.folder, [os.path.join(stage.folder, name) for name in files])
        stage.publish()


class _Replaceable:
    """A check that a folder is absent, empty, or a release as it was written; SevbuildError else.

    That is one whose every file has a name that releases have, and the digest that SHA256SUMS there says;
    the reference values must be among them and readable.
    """

    def __init__(self) -> None:
        self._readable: set[str] = set()

    def __call__(self, folder: str, shown: str) -> None:
        if not os.path.lexists(folder):
            return
        if os.path.islink(folder) or not os.path.isdir(folder):
            raise SevbuildError(f"{shown}: not a folder")
        found = _plain_files(folder, shown)
        if not found:
            return
        sums = read_text(os.path.join(folder, CHECKSUMS)) if CHECKSUMS in found else ""
        listed = listed_digests(sums, shown)
        for name in found:
            if name == CHECKSUMS or (name == SIGNATURE and _is_signature(folder)):
                continue
            if name not in listed:
                raise _foreign(f"{shown}: contains {name}, which its {CHECKSUMS} does not list")
            if name not in names_in_releases():
                raise _foreign(f"{shown}: contains {name}, which is not the name of a release's file")
            if hash_files([os.path.join(folder, name)])[0].hexdigest() != listed[name]:
                raise _foreign(f"{shown}: {name} does not match its {CHECKSUMS}")
        if DOCUMENT_NAME not in found:
            first = next((name for name in found if name != CHECKSUMS), CHECKSUMS)
            raise _foreign(f"{shown}: contains {first} but no {DOCUMENT_NAME}, so it is not a release")
        self._read(os.path.join(folder, DOCUMENT_NAME), listed[DOCUMENT_NAME], shown)

    def _read(self, path: str, digest: str, shown: str) -> None:
        # The same folder is looked at before its exchange and after it.
        if digest in self._readable:
            return
        with within("cannot replace the release that is there", hint=_HINT):
            read_reference_values(f"{shown}/{DOCUMENT_NAME}", read_file(path, DOCUMENT_LIMIT))
        self._readable.add(digest)


def _plain_files(folder: str, shown: str) -> list[str]:
    """Return the names in a folder; raises SevbuildError for what is no regular file."""
    with file_errors("read", shown), os.scandir(folder) as entries:
        found = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
    for name in sorted(found):
        if not stat.S_ISREG(found[name]):
            kind = "a folder" if stat.S_ISDIR(found[name]) else "not a regular file"
            raise _foreign(f"{shown}: {name} is {kind}; a release has only regular files")
    return sorted(found)


def _is_signature(folder: str) -> bool:
    """Tell whether the signature of the checksums has the form in which it is written, whoever signed."""
    text = utf8_text(read_file(os.path.join(folder, SIGNATURE), _LARGEST_SIGNATURE))
    return text is not None and base64_bytes(text) is not None


def listed_digests(text: str, shown: str) -> dict[str, str]:
    """Return the digest of each name in the text of a SHA256SUMS; `shown` is its folder in messages."""
    listed = {}
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64 or not set(digest) <= _HEX or name in listed:
            raise _foreign(f"{shown}: {CHECKSUMS} is not that of a release")
        listed[name] = digest
    return listed


def _foreign(message: str) -> SevbuildError:
    return SevbuildError(message, hint=_HINT)

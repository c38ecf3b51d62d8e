"""What can be compared, told by its contents: what is launched, and the files that it is made of."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.fs import is_regular, read_file, read_range, read_standard_input
from sevbuild.kind import HEAD_SIZE, KINDS, kind_of
from sevbuild.vcpu.save_area import VMSA_SIZE

__all__ = ["DOCUMENTS", "NOUNS", "Thing", "thing_at"]

DOCUMENTS = ("bundle", "release", "reference-values")

NOUNS = {
    "manifest": "a manifest",
    "lock": "a lock",
    "bundle": "a bundle",
    "release": "a release",
    "reference-values": "a document of reference values",
    "igvm": "an IGVM file",
    "plan": "a launch plan",
    "firmware": "a firmware",
    "kernel": "a kernel",
    "initrd": "an initrd",
    "vmsa": "a VMSA",
}

_JSON = re.compile(rb"\s*(?:\{|\[\s*\{)")
"""How a JSON document begins; a table of TOML begins with a bracket and no brace."""


class Thing(NamedTuple):
    """One of two things to compare: its path, what messages call it, what it is.

    `data` are the bytes of what can be read but once, a pipe or standard input; else None.
    """

    path: str
    name: str
    kind: str
    data: bytes | None = None

    def read(self, limit: int) -> bytes:
        """Return its bytes; raises SevbuildError for more than `limit`."""
        return read_file(self.path, limit) if self.data is None else self.data


def thing_at(path: str) -> Thing:
    """Return what is at a path, on standard input for `-`; raises SevbuildError for what is not compared."""
    from sevbuild.bundle.published import bundle_at
    from sevbuild.documents.json_input import DOCUMENT_LIMIT

    if path == "-":
        data = read_standard_input(DOCUMENT_LIMIT)
        return Thing(path, "stdin", _document_kind("stdin", data), data)
    if bundle_at(path) is not None:
        return Thing(path, path, "bundle")
    if os.path.isdir(path):
        return Thing(path, path, "release")
    if not is_regular(path):
        data = read_file(path, DOCUMENT_LIMIT)
        return Thing(path, path, _document_kind(path, data), data)
    return Thing(path, path, _file_kind(path))


def _document_kind(name: str, data: bytes) -> str:
    """Return which document these bytes are: JSON or TOML."""
    if _JSON.match(data):
        from sevbuild.diagnose.differences.plan_document import is_plan_document

        return "plan" if is_plan_document(name, data) else "reference-values"
    kind = kind_of(data[:HEAD_SIZE])
    if kind not in (None, KINDS["document"]):
        raise SevbuildError(f"{name} is {kind.phrase}, which must be given by the path of a file")
    return _text_kind(name, data)


def _file_kind(path: str) -> str:
    from sevbuild.documents.json_input import DOCUMENT_LIMIT
    from sevbuild.guest.inspection import told_by_its_end
    from sevbuild.vcpu.describe import looks_like_vmsa

    head = read_range(path, 0, HEAD_SIZE)
    kind, size = kind_of(head), os.path.getsize(path)
    if kind == KINDS["igvm"]:
        return "igvm"
    if told_by_its_end(path, kind):
        return "vmsa" if size == VMSA_SIZE and looks_like_vmsa(read_file(path, VMSA_SIZE)) else "firmware"
    if kind == KINDS["document"] or _JSON.match(head):
        return _document_kind(path, read_file(path, DOCUMENT_LIMIT))
    if kind is None:
        return _unknown_kind(path, size)
    if not kind.roles:
        raise _not_compared(path, kind.phrase)
    return "kernel" if kind.roles & {"kernel", "uki"} else "initrd"


def _unknown_kind(path: str, size: int) -> str:
    """Return what a file is that nothing tells: an image of whole pages may be a firmware of any kind."""
    if size == VMSA_SIZE:
        message = f"{path}: 4096 bytes, but no VMSA: EFER.SVME and bit 1 of RFLAGS are set in each"
        raise SevbuildError(message)
    if size % VMSA_SIZE:
        raise _not_compared(path, "a file of no known kind")
    return "firmware"


def _text_kind(name: str, data: bytes) -> str:
    from sevbuild.documents.document import parse_toml
    from sevbuild.guest.manifest_files import PROFILE, kind_of_tables

    try:
        tables = parse_toml(data.decode("utf-8"), name)
    except UnicodeDecodeError:
        raise _not_compared(name, "no UTF-8 text") from None
    if kind_of_tables(tables) == PROFILE:
        raise _not_compared(name, PROFILE)
    return "lock" if "sevbuild" in tables else "manifest"


def _not_compared(name: str, what: str) -> SevbuildError:
    compared = ", ".join(noun.partition(" ")[2] for noun in NOUNS.values())
    return SevbuildError(f"{name} is {what}, which is not compared", hint=f"compared are: {compared}")

"""A release: reference values, every format that applies, checksums, release notes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sevbuild.errors import Notice
from sevbuild.manifest.formats import FORMATS
from sevbuild.reference.document import document_text
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from sevbuild.reference.export.signing import SigningKeys
from sevbuild.reference.model import ReferenceValues

__all__ = ["CHECKSUMS", "DOCUMENT_NAME", "SIGNATURE", "Release", "make_release", "names_in_releases"]

DOCUMENT_NAME = "reference-values.json"
CHECKSUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
"""The signature of the checksums in base64, as `cosign verify-blob --signature` takes it."""


class Release(NamedTuple):
    """The files of a release by name, and what a publisher should know of it."""

    files: dict[str, bytes]
    notices: list[Notice]


def make_release(
    values: ReferenceValues,
    formats: Sequence[str] | None,
    extra: Mapping[str, Mapping[str, Any]],
    keys: SigningKeys | None = None,
) -> Release:
    """Return the files of a release: the document, its exports, release notes, SHA256SUMS, its signature.

    `formats` None takes every format that applies, and a notice names each that does not with the reason;
    what a relying party says is no part of a release that nobody asked for.
    A format asked for by name that cannot be written raises SevbuildError. `extra` is what a publisher
    gives, by format and key. A key of `keys` that signs nothing raises SevbuildError.
    """
    files = {DOCUMENT_NAME: document_text(values).encode()}
    notices: list[Notice] = []
    keys = SigningKeys() if keys is None else keys
    signed: set[str] = set()
    reasons: dict[str, str] = {}
    for name in FORMATS:
        wanted = formats is not None and name in formats
        # The release notes are part of every release.
        if formats is not None and not wanted and name != "markdown":
            continue
        found = exporter(name)
        if found.appraises and not wanted:
            continue
        options = ExportOptions(extra.get(name, {}), keys.of(name) if found.signs else None, f"{name}.")
        reason = None if wanted else _not_applicable(name, values, options)
        if reason is not None:
            reasons[name] = reason
            notices.append(Notice("note", name, f"not applicable: {reason}"))
            continue
        rendered = render(name, values, options)
        if options.key is not None:
            signed.add(name)
        files |= rendered
        notices += found.notices(values, options)
    keys.refuse_unused(signed, reasons)
    sums = [f"{sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files)]
    files[CHECKSUMS] = "".join(sums).encode()
    if keys.default is not None:
        files[SIGNATURE] = b64encode(keys.default.sign(files[CHECKSUMS])) + b"\n"
    return Release(files, notices)


def names_in_releases() -> set[str]:
    """Return the names of all files that a release may have."""
    return {DOCUMENT_NAME, CHECKSUMS, SIGNATURE, *(name for fmt in FORMATS for name in exporter(fmt).files)}


def _not_applicable(name: str, values: ReferenceValues, options: ExportOptions) -> str | None:
    found = exporter(name)
    reason = found.refusal(values)
    if reason is None and (missing := found.missing(values, options)):
        reason = f"needs what the guest does not determine: {', '.join(missing)}"
    return reason

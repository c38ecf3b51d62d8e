"""Compare a consistent bundle with what somebody published elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sevbuild.bundle.document import BUNDLE_KIND, decode_bundle
from sevbuild.bundle.folder import read_document
from sevbuild.bundle.verify import Verified
from sevbuild.errors import MismatchError
from sevbuild.fs import read_file
from sevbuild.guest.expect import expect_digests, parse_expected

__all__ = ["compare_with"]

_LIMIT = 256 << 20
_COMPARED = ("digest", "policy", "guest_features")


def compare_with(verified: Verified, other: str) -> None:
    """Raise MismatchError unless every target has the value that `other` publishes for it.

    `other` is a bundle, a document of `measure --format json`, `DIGEST  LABEL` lines or one digest. Where
    it gives policy and guest features these are compared too: of an SNP guest's digest, neither the policy
    nor, on some clouds, anything else of the host is a part.
    """
    published = _published(other)
    if published is None:
        expect_digests(other, verified.measured)
        return
    for entry in verified.document.targets:
        value = published.get(entry["label"])
        if value is None:
            raise MismatchError(f"{entry['label']}: {other} has no such target")
        for key in _COMPARED:
            if key in value and value[key] != entry[key]:
                raise MismatchError(f"{entry['label']}: {key} is {entry[key]}, {other} has {value[key]}")


def _published(other: str) -> dict[str, Mapping[str, Any]] | None:
    """Return values by label from a bundle or a JSON document, None for what has digests alone."""
    if os.path.isdir(other):
        bundle, _ = read_document(other)
        return {entry["label"]: entry for entry in bundle.targets}
    data = read_file(other, _LIMIT)
    if not data.lstrip().startswith(b"{"):
        return None
    if BUNDLE_KIND.encode() in data[:_LIMIT] and b'"targets"' in data:
        return {entry["label"]: entry for entry in decode_bundle(data, other).targets}
    parse_expected(other, data)
    return {str(value["label"]): value for value in json.loads(data)["values"]}

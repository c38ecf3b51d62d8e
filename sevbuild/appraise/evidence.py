"""Evidence by its path: a file, standard input, or the folder that Linux has under configfs-tsm."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.attest.describe import describe_evidence
from sevbuild.attest.evidence import EVIDENCE_LIMIT, Evidence, is_evidence, read_evidence
from sevbuild.attest.tsm import tsm_evidence
from sevbuild.errors import SevbuildError
from sevbuild.fs import is_regular, read_file, read_range, read_standard_input

__all__ = ["describe_evidence_at", "evidence_at", "holds_evidence", "refuse_broken_json"]

_STANDARD_INPUT = "stdin"
_TRIES = 3
"""How often a folder is read that somebody asks for another report meanwhile."""
_PARTS = ("outblob", "auxblob", "provider", "manifestblob")


def evidence_at(path: str) -> Evidence:
    """Return the evidence in a file, in a folder of configfs-tsm, or of standard input (`-`).

    Raises SevbuildError where there is none.
    """
    if path == "-":
        return read_evidence(read_standard_input(EVIDENCE_LIMIT), _STANDARD_INPUT)
    if os.path.isdir(path):
        return _tsm_folder(path)
    return read_evidence(read_file(path, EVIDENCE_LIMIT), path)


def holds_evidence(path: str) -> bool:
    """Tell whether a path is that of evidence, by its content; a pipe is left alone."""
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, "outblob"))
    return is_regular(path) and is_evidence(read_range(path, 0, EVIDENCE_LIMIT + 1))


def refuse_broken_json(path: str) -> None:
    """Raise SevbuildError where a file begins as JSON and is none: then no evidence can be found in it."""
    if not is_regular(path) or read_range(path, 0, 1 << 10).lstrip()[:1] != b"{":
        return
    from sevbuild.documents.json_input import parse_json

    parse_json(path, read_file(path, EVIDENCE_LIMIT))


def describe_evidence_at(path: str) -> dict[str, Any]:
    """Return a JSON-able description of the evidence at a path; raises SevbuildError where there is none."""
    name = _STANDARD_INPUT if path == "-" else os.path.basename(os.path.abspath(path))
    return {"name": name, **describe_evidence(evidence_at(path), name if path == "-" else path)}


def _tsm_folder(path: str) -> Evidence:
    """Return the evidence of one entry: its parts are of one report where its generation stays what it was.

    Linux counts it up for each change of what is asked for (Documentation/ABI/testing/configfs-tsm-report).
    A copy of such a folder may lack all but `outblob`.
    """
    for _try in range(_TRIES):
        before = _part(path, "generation")
        parts = {name: _part(path, name) for name in _PARTS}
        if _part(path, "generation") == before:
            break
    else:
        raise SevbuildError(
            f"{path}: another report was asked for while this one was read",
            hint="have one process at a time use an entry of configfs-tsm",
        )
    outblob = parts["outblob"]
    if outblob is None:
        raise SevbuildError(f"{path}: no evidence of a guest: a folder of configfs-tsm has an outblob")
    provider = (parts["provider"] or b"").decode("utf-8", "replace")
    return tsm_evidence(path, outblob, parts["auxblob"] or b"", provider, parts["manifestblob"] or b"")


def _part(path: str, name: str) -> bytes | None:
    file = os.path.join(path, name)
    return read_file(file, EVIDENCE_LIMIT) if os.path.lexists(file) else None

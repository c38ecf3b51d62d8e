"""Compare computed launch digests with expected ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.fs import read_file

__all__ = ["LabelledDigest", "expect_digests", "expect_pairs", "parse_expected"]

_LIMIT = 256 << 20
_SIZES = (96, 64)


class LabelledDigest(Protocol):
    """Have a launch digest and the label it is printed with."""

    @property
    def label(self) -> str:
        """Return the label."""

    @property
    def digest(self) -> bytes:
        """Return the launch digest."""


def expect_digests(expected: str, measured: Sequence[LabelledDigest]) -> None:
    """Raise MismatchError unless every target has its expected launch digest.

    `expected` is a digest in hex (for a single target), or a file: one digest, `DIGEST  LABEL` lines as
    `measure` prints them, or its JSON document.
    """
    expect_pairs(expected, [(item.label, item.digest.hex()) for item in measured])


def expect_pairs(expected: str, measured: Sequence[tuple[str, str]]) -> None:
    """Raise MismatchError unless these labels have the expected digests (hex), as `expect_digests` does."""
    digest = _digest(expected)
    wanted = {"": digest} if digest is not None else parse_expected(expected, read_file(expected, _LIMIT))
    if "" in wanted and len(measured) > 1:
        hint = "give a file of `DIGEST  LABEL` lines, or pick one with --target or --loader"
        raise SevbuildError(f"one expected digest for {len(measured)} targets", hint=hint)
    differences = []
    for label, actual in measured:
        value = wanted.get("", wanted.get(label))
        if value is None:
            differences.append(f"{label}: nothing is expected for it")
        elif value != actual:
            differences.append(f"{label}: expected {value}, measured {actual}")
    if differences:
        noun = "digest" if len(differences) == 1 else "digests"
        more = [f"and {len(differences) - 20} more"] if len(differences) > 20 else []
        raise MismatchError(
            f"{len(differences)} of {len(measured)} launch {noun} differ:",
            hint="`sevbuild plan` shows what is launched, step by step",
            details=[*differences[:20], *more],
        )


def parse_expected(name: str, data: bytes) -> dict[str, str]:
    """Return digests by label from the contents of a file; a lone digest has the label ``""``."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SevbuildError(f"{name}: not a text of digests") from None
    if text.lstrip().startswith("{"):
        return _from_json(name, text)
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, label = line.strip().partition(" ")
        digest = _digest(word)
        label = label.strip()
        if digest is None:
            raise SevbuildError(
                f"{name}:{number}: no launch digest: {word[:100]}", hint="64 or 96 hexadecimal digits"
            )
        if label in found:
            raise SevbuildError(f"{name}:{number}: {label or 'a lone digest'} stands here twice")
        found[label] = digest
    if not found or ("" in found and len(found) > 1):
        raise SevbuildError(f"{name}: neither one digest nor `DIGEST  LABEL` lines")
    return found


def _from_json(name: str, text: str) -> dict[str, str]:
    try:
        document: Any = json.loads(text)
        values = [(str(value["label"]), _digest(str(value["digest"]))) for value in document["values"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SevbuildError(f"{name}: not a document of `measure --format json`") from None
    for label, digest in values:
        if digest is None:
            raise SevbuildError(f"{name}: the digest of {label} is none")
    return {label: digest for label, digest in values if digest is not None}


def _digest(text: str) -> str | None:
    digits = text.strip().lower().removeprefix("0x")
    return digits if len(digits) in _SIZES and set(digits) <= set("0123456789abcdef") else None

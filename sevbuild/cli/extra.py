"""`--extra KEY=VALUE`: what a format needs and the guest does not determine."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.document import Document, Table, suggest
from sevbuild.errors import SevbuildError
from sevbuild.fs import read_text
from sevbuild.manifest.formats import FORMATS, FormatKey
from sevbuild.manifest.publish_keys import decode_format_values

__all__ = ["read_extra", "read_extras"]


def read_extra(name: str, pairs: list[str], prefix: str = "") -> dict[str, Any]:
    """Return the values of `KEY=VALUE` pairs for one format, checked as its table in a manifest is.

    `prefix` stands before each pair where it was given, and does so in errors.
    """
    known = {key.name: key for key in FORMATS[name]}
    raw: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise SevbuildError(f"--extra {prefix}{pair}: not of the form {prefix}KEY=VALUE")
        if key not in known:
            hint = (
                suggest(key, known, say=f"did you mean {prefix}{{}}?")
                or f"it takes {', '.join(known) or 'none'}"
            )
            raise SevbuildError(f"--extra {prefix}{key}: format {name} has no such value", hint=hint)
        if text.startswith("@"):
            text = read_text(text[1:])
            text = text if key == "config" else text.strip()
        raw[key] = _typed(known[key], text)
    document = Document("--extra", "")
    values = decode_format_values(name, Table(document, raw))
    document.raise_faults()
    return values


def read_extras(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """Return the values of `FORMAT.KEY=VALUE` pairs by format."""
    split: dict[str, list[str]] = {}
    for pair in pairs:
        path = pair.partition("=")[0]
        name, dot, _ = path.partition(".")
        if not dot or name not in FORMATS:
            takers = [known for known, keys in FORMATS.items() if path in {key.name for key in keys}]
            example = f"{takers[0]}.{path}" if takers else "rvps.name"
            hint = suggest(name, FORMATS) or f"such as --extra {example}=VALUE"
            raise SevbuildError(f"--extra {pair}: not of the form FORMAT.KEY=VALUE", hint=hint)
        split.setdefault(name, []).append(pair[len(name) + 1 :])
    return {name: read_extra(name, own, f"{name}.") for name, own in split.items()}


def _typed(key: FormatKey, text: str) -> Any:
    """Return text as the type its key has in TOML; what does not read as such stays text, and is refused."""
    if key.kind == "integer":
        digits = text.lower().removeprefix("0x")
        base = 16 if digits != text.lower() else 10
        valid = set(digits) <= set("0123456789abcdef"[:base]) and 0 < len(digits) <= 20
        return int(digits, base) if valid else text
    if key.kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text.split(",") if key.kind == "hex-list" else text

"""The forms that text formats share: JSON, hex numbers, lists without repeats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from shlex import quote as shell_word
from typing import Any

from sevbuild.text import visible_json

__all__ = ["guest_title", "json_bytes", "number", "shell_word", "some_of", "unique"]

_NAMED = 3


def json_bytes(document: Any) -> bytes:
    """Return a JSON document, indented, keys in their order, with LF at its end."""
    return (visible_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n").encode()


def guest_title(document: Mapping[str, Any], *, between: str = " ") -> str:
    """Return name and version of the guest; an IGVM file has a name alone."""
    guest = document["guest"]
    return str(guest["name"]) if guest["version"] is None else f"{guest['name']}{between}{guest['version']}"


def number(text: str) -> int:
    """Return the number that a hex string of the document stands for."""
    return int(text, 16)


def some_of(labels: Sequence[str]) -> str:
    """Return the first labels in words, and how many more there are."""
    more = [f"{len(labels) - _NAMED} more"] if len(labels) > _NAMED else []
    return ", ".join([*labels[:_NAMED], *more])


def unique(items: Iterable[str]) -> list[str]:
    """Return each item once, in the order of its first appearance."""
    return list(dict.fromkeys(items))

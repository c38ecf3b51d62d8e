"""The forms that text formats share: JSON, words of a shell, lists without repeats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from shlex import quote as shell_word
from typing import Any

from sevbuild.text import visible_json

__all__ = ["ordered_json", "shell_word", "some_of", "unique"]

_NAMED = 3


def ordered_json(document: Any) -> bytes:
    """Return JSON as others publish it: indented, keys in the order they have here, with LF at its end."""
    return (visible_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n").encode()


def some_of(labels: Sequence[str]) -> str:
    """Return the first labels in words, and how many more there are."""
    more = [f"{len(labels) - _NAMED} more"] if len(labels) > _NAMED else []
    return ", ".join([*labels[:_NAMED], *more])


def unique(items: Iterable[str]) -> list[str]:
    """Return each item once, in the order of its first appearance."""
    return list(dict.fromkeys(items))

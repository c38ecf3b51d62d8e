"""Numbers that the environment sets."""

from __future__ import annotations

import os

from sevbuild.errors import SevbuildError

__all__ = ["positive_number"]


def positive_number(name: str, default: float) -> float:
    """Return the number above zero in $`name`, or `default` if it is unset or empty; raises SevbuildError."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SevbuildError(f"{name} must be a positive number, got {text[:100]!r}")
    return value

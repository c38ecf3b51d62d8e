"""Which technology a guest is launched with, and in which order: words that are types."""

from __future__ import annotations

from typing import Literal, get_args

from sevbuild.errors import SevbuildError

__all__ = ["MODES", "ORDERS", "Mode", "Order", "mode_named"]

Mode = Literal["sev", "sev-es", "snp"]
"""The technology of one launch; a string at run time, so documents and labels take it as it is."""

MODES: tuple[Mode, ...] = get_args(Mode)

Order = Literal["profile", "canonical"]
"""How the data of a launch are ordered: as its profile lists them, or by GPA."""

ORDERS: tuple[Order, ...] = get_args(Order)


def mode_named(name: str) -> Mode:
    """Return the mode of this name; raises SevbuildError for a name there is not."""
    for mode in MODES:
        if mode == name:
            return mode
    raise SevbuildError("unknown mode", hint=f"one of {', '.join(MODES)}")

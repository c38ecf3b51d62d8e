"""Every mismatch case, by the order of the causes they stand for."""

from __future__ import annotations

from tests.diagnose.cases import (
    cmdline_cases,
    compared_cases,
    firmware_cases,
    igvm_cases,
    kernel_cases,
    launch_cases,
    tail_cases,
    vcpu_cases,
)
from tests.diagnose.cases.case import ROWS

__all__ = ["CASES"]

_MODULES = (
    firmware_cases,
    vcpu_cases,
    cmdline_cases,
    kernel_cases,
    tail_cases,
    launch_cases,
    igvm_cases,
    compared_cases,
)
_FOUND = [case for module in _MODULES for case in module.CASES]

CASES = sorted(_FOUND, key=lambda case: list(ROWS).index(case.row))

"""The appraisal policy of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevbuild.attest.appraisal_keys import decode_appraisal
from sevbuild.fs import read_text

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy

__all__ = ["read_appraisal"]


def read_appraisal(path: str) -> AppraisalPolicy:
    """Return the appraisal policy in a file; raises SevbuildError."""
    return decode_appraisal(read_text(path), path)

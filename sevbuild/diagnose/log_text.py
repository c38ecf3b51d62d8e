"""Logs of others by their path: traces of hypervisors, messages of a kernel."""

from __future__ import annotations

from sevbuild.fs import read_file
from sevbuild.text import decode_text

__all__ = ["read_log"]

_LIMIT = 64 << 20
"""Far more than the launch of the largest guest traces, and than a kernel's log holds."""


def read_log(path: str) -> str:
    """Return the text of a log; raises SevbuildError where it cannot be read, or is larger than 64 MiB.

    A console that writes into the same file may have put anything there: bytes that are no UTF-8 stay as
    surrogates.
    """
    return decode_text(read_file(path, _LIMIT))

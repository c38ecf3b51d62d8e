"""What goes to standard error: errors, warnings and notes."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from sevbuild.errors import FaultsError, Notice, SevbuildError

__all__ = ["print_error", "print_notices", "print_warning"]


def print_error(error: SevbuildError) -> None:
    """Print an error and its hint; the faults of a document a line each, as `file:line: path: message`."""
    if isinstance(error, FaultsError):
        for fault in error.faults:
            _print(str(fault), fault.hint)
    else:
        _print(f"error: {error.message}", error.hint)


def print_notices(notices: Iterable[Notice], *, quiet: bool) -> None:
    """Print notes, then warnings; `quiet` leaves out both."""
    if quiet:
        return
    for level in ("note", "warning"):
        for notice in notices:
            if notice.level == level:
                _print(f"{notice.where}: {level}: {notice.message}", notice.hint)


def print_warning(message: str) -> None:
    """Print one warning that belongs to no place in a file."""
    _print(f"warning: {message}", None)


def _print(line: str, hint: str | None) -> None:
    # File names may hold bytes that no encoding knows; they must not turn a message into a traceback.
    safe = f"{line}\n" + (f"  hint: {hint}\n" if hint else "")
    stream = sys.stderr
    stream.write(
        safe.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8")
    )

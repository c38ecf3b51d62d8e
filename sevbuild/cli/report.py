"""What goes to standard error: errors, warnings and notes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from sevbuild.errors import FaultsError, Notice, SevbuildError

__all__ = ["on_github", "print_error", "print_notices", "print_usage", "print_warning"]


def on_github() -> bool:
    """Return whether this is a step of GitHub Actions, which then is told more (sevbuild/cli/github.py)."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def print_error(error: SevbuildError) -> None:
    """Print an error and its hint; the faults of a document a line each, as `file:line: path: message`."""
    if isinstance(error, FaultsError):
        for fault in error.faults:
            _print(str(fault), fault.hint)
    else:
        _print(f"error: {error.message}", error.hint)
    if on_github():
        from sevbuild.cli.github import annotate_error

        annotate_error(error)


def print_usage(usage: Any) -> None:
    """Print what the command line parser has to say of a command line."""
    if not on_github():
        usage.show()
        return
    from io import StringIO

    from sevbuild.cli.github import annotation

    shown = StringIO()
    usage.show(file=shown)
    _print(shown.getvalue().removesuffix("\n"), None)
    sys.stderr.write(annotation("error", usage.format_message()))


def print_notices(notices: Iterable[Notice], *, quiet: bool) -> None:
    """Print notes, then warnings; `quiet` leaves out both."""
    if quiet:
        return
    listed = list(notices)
    for level in ("note", "warning"):
        for notice in listed:
            if notice.level == level:
                _print(f"{notice.where}: {level}: {notice.message}", notice.hint)
    if on_github():
        from sevbuild.cli.github import annotate_notices

        annotate_notices(listed)


def print_warning(message: str) -> None:
    """Print one warning that belongs to no place in a file."""
    _print(f"warning: {message}", None)


def _print(line: str, hint: str | None) -> None:
    # File names may hold bytes that no encoding knows; they must not turn a message into a traceback.
    safe = f"{line}\n" + (f"  hint: {hint}\n" if hint else "")
    if on_github():
        from sevbuild.cli.github import harmless

        safe = harmless(safe)
    stream = sys.stderr
    stream.write(
        safe.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8")
    )

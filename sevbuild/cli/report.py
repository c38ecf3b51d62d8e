"""What a person reads: errors, warnings and notes on standard error, text on standard output.

Names and labels in it may be anybody's: none acts on a terminal, ends a line or commands a CI system.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from sevbuild.errors import FaultsError, Notice, SevbuildError
from sevbuild.text import visible, visible_lines

__all__ = [
    "on_github",
    "print_data",
    "print_digests",
    "print_error",
    "print_help",
    "print_line",
    "print_message",
    "print_notices",
    "print_text",
    "print_warning",
]


def on_github() -> bool:
    """Return whether this is a step of GitHub Actions, which then is told more (sevbuild/cli/github.py)."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def print_text(text: str) -> None:
    """Print lines for a person to standard output; values in them are `visible` already, or on one line."""
    sys.stdout.write(visible_lines(text))


def print_line(text: str) -> None:
    """Print one line to standard output, whatever names stand in it."""
    print_text(f"{visible(text)}\n")


def print_digests(pairs: Sequence[tuple[str, str]]) -> None:
    """Print launch digests by label: a single one bare, several as `DIGEST  LABEL` a line."""
    if len(pairs) == 1:
        print_line(pairs[0][1])
    else:
        print_text("".join(f"{digest}  {visible(label)}\n" for label, digest in pairs))


def print_data(data: str | bytes) -> None:
    """Print a document to standard output as it is: for a program, or to be kept."""
    if isinstance(data, str):
        sys.stdout.write(data)
        return
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(data.decode("utf-8", "backslashreplace"))
    else:
        sys.stdout.flush()
        stream.write(data)


def print_error(error: SevbuildError) -> None:
    """Print an error and its hint; the faults of a document a line each, with file and line."""
    if isinstance(error, FaultsError):
        for fault in error.faults:
            print_message(f"error: {fault}", hint=fault.hint)
    else:
        print_message(f"error: {error.message}", details=error.details, hint=error.hint)
    if on_github():
        from sevbuild.cli.github import annotate_error

        annotate_error(error)


def print_help(text: str) -> None:
    """Print the help to standard error, where somebody has yet to say what should be done."""
    sys.stderr.write(visible_lines(f"{text}\n"))


def print_notices(notices: Iterable[Notice], *, quiet: bool) -> None:
    """Print notes, then warnings; `quiet` leaves out both."""
    if quiet:
        return
    listed = list(notices)
    for level in ("note", "warning"):
        for notice in listed:
            if notice.level == level:
                print_message(f"{notice.where}: {level}: {notice.message}", hint=notice.hint)
    if on_github():
        from sevbuild.cli.github import annotate_notices

        annotate_notices(listed)


def print_warning(message: str) -> None:
    """Print one warning that belongs to no place in a file."""
    print_message(f"warning: {message}")


def print_message(message: str, *, details: Sequence[str] = (), hint: str | None = None) -> None:
    """Print one line to standard error, and below it its details and a hint, a line each."""
    lines = [visible(message), *(f"  {visible(detail)}" for detail in details)]
    if hint:
        lines.append(f"  hint: {visible(hint)}")
    sys.stderr.write(visible_lines("".join(f"{line}\n" for line in lines)))

"""What a person reads: errors, warnings and notes on standard error, text on standard output.

Names and labels in it may be anybody's: none acts on a terminal, ends a line or commands a CI system.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sevbuild.errors import FaultsError, Notice, SevbuildError
from sevbuild.text import visible, visible_lines

if TYPE_CHECKING:
    from sevbuild.progress import Progress

__all__ = [
    "COLOR",
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
    "set_color",
    "shown_progress",
]

COLOR = ("auto", "always", "never")
"""When to colour words of errors, warnings and hints."""

_STYLES = {"error": "1;31", "warning": "1;33", "hint": "1;36"}  # ECMA-48 SGR: bold red, yellow, cyan
_chosen = ["auto"]


def on_github() -> bool:
    """Return whether this is a step of GitHub Actions, which then is told more (sevbuild/cli/github.py)."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def print_text(text: str) -> None:
    """Print lines for a person to standard output; values in them are `visible` already, or on one line."""
    sys.stdout.write(visible_lines(text))


def print_line(text: str) -> None:
    """Print one line to standard output, whatever names stand in it."""
    print_text(f"{visible(text)}\n")


def print_digests(digests: Sequence[tuple[str, bytes]], fmt: str = "hex") -> None:
    """Print launch digests as `hex` or `base64`: a single one bare, several as `DIGEST  LABEL` a line."""
    texts = [(label, digest.hex()) for label, digest in digests]
    if fmt == "base64":
        from base64 import b64encode

        texts = [(label, b64encode(digest).decode()) for label, digest in digests]
    if len(texts) == 1:
        print_line(texts[0][1])
    else:
        print_text("".join(f"{text}  {visible(label)}\n" for label, text in texts))


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
            print_message(str(fault), level="error", hint=fault.hint)
    else:
        print_message(error.message, level="error", details=error.details, hint=error.hint)
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
                print_message(notice.message, level=level, where=notice.where, hint=notice.hint)
    if on_github():
        from sevbuild.cli.github import annotate_notices

        annotate_notices(listed)


def print_warning(message: str) -> None:
    """Print one warning that belongs to no place in a file."""
    print_message(message, level="warning")


def print_message(
    message: str, *, level: str = "", where: str = "", details: Sequence[str] = (), hint: str | None = None
) -> None:
    """Print `WHERE: LEVEL: MESSAGE` to standard error, and below it details and a hint, a line each."""
    head = visible_lines(f"{visible(where)}: ") if where else ""
    text = visible(message)
    if level:
        head += f"{_painted(level)}: "
    lines = [f"{head}{text}" if head else visible_lines(text)]
    lines += [visible_lines(f"  {visible(detail)}") for detail in details]
    if hint:
        lines.append(f"  {_painted('hint')}: {visible(hint)}")
    if (progress := sys.modules.get("sevbuild.cli.progress")) is not None:
        progress.clear_lines()
    if sys.stderr.isatty() and sys.stdout.isatty():
        # Whoever looks at both reads them in the order in which they were said.
        sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def shown_progress() -> Progress | None:
    """Return what shows how far long work is; None where standard error is no terminal that could."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from sevbuild.cli.progress import show_progress

    return partial(show_progress, color=_coloured())


def set_color(when: str) -> None:
    """Colour words where standard error is a terminal (`auto`), `always` or `never`; raises SevbuildError."""
    if when not in COLOR:
        raise SevbuildError(f"--color {when}: unknown value", hint=f"one of {', '.join(COLOR)}")
    _chosen[:] = [when]


def _coloured() -> bool:
    """Tell whether standard error is to have colours (https://no-color.org)."""
    if _chosen[0] == "auto" and sys.stderr.isatty():
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return _chosen[0] == "always"


def _painted(word: str) -> str:
    return f"\x1b[{_STYLES[word]}m{word}\x1b[0m" if word in _STYLES and _coloured() else word

"""What is said where the program itself is at fault."""

from __future__ import annotations

import sys

__all__ = ["print_internal_error"]


def print_internal_error(error: BaseException) -> None:
    """Print the traceback of an error that nobody expected, and where to report it."""
    from traceback import format_exception

    from sevbuild import __version__
    from sevbuild.cli.report import print_message
    from sevbuild.text import visible_lines

    sys.stderr.write(visible_lines("".join(format_exception(error))))
    python = sys.version.partition(" ")[0]
    name = type(error).__name__
    text = f"{name}: {error}" if str(error) else name
    print_message(
        f"internal error: {text}",
        level="error",
        hint=f"this is a bug in sevbuild {__version__} (Python {python}), not in its input: please "
        f"report it with the lines above {_place()}",
    )


def _place() -> str:
    """Return where to report it, as the package's own data names it."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("sevbuild").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named = dict(str(url).split(", ", 1) for url in urls if ", " in str(url))
    for label in ("Issues", "Repository", "Homepage"):
        if label in named:
            return f"at {named[label]}"
    return "to its maintainers, as docs/security.md says"

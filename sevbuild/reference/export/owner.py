"""What the two guest owner's scripts for SEV and SEV-ES have in common."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.reference.export.text import shell_word
from sevbuild.reference.model import ReferenceValues, Value
from sevbuild.text import visible, visible_lines

__all__ = ["owner_script", "unfit_labels"]


def unfit_labels(values: Sequence[Value]) -> str | None:
    """Return why no script can be called by label: one stands twice, or would act on a terminal."""
    labels = {value.label for value in values}
    if len(labels) < len(values):
        return "the document is of several releases, and a label does not say which"
    odd = next((label for label in labels if visible_lines(visible(label)) != label), None)
    return None if odd is None else f"no script can name the target {odd!r}"


def owner_script(
    values: ReferenceValues,
    tool: str,
    variables: Sequence[str],
    cases: Sequence[tuple[str, str]],
    command: str,
) -> bytes:
    """Return a POSIX shell script that checks one target's reported measurement with a tool.

    `variables` are lines of its comment, `cases` labels with the arguments they stand for, as shell words;
    `command` uses those arguments as ``"$@"`` and ends the script with its status.
    """
    lines = [
        "#!/bin/sh",
        f"# Check the launch measurement of {visible(values.title())} with {tool}.",
        "# Usage: VARIABLE=VALUE... sh THIS LABEL",
        *(f"#   {line}" for line in variables),
        "set -eu",
        'case "${1-}" in',
    ]
    for label, arguments in cases:
        lines += [f"{shell_word(label)})", f"    set -- {arguments}", "    ;;"]
    lines += [
        "*)",
        '    echo "no target of this guest: ${1-}; the labels are:" >&2',
        *(f"    echo {shell_word('  ' + label)} >&2" for label, _ in cases),
        "    exit 2",
        "    ;;",
        "esac",
        command,
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")

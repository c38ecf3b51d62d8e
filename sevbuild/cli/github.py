"""What a run tells GitHub Actions: annotations, outputs of the step, a table in its summary.

Imported only under `GITHUB_ACTIONS=true`. Annotations go to standard error, which the runner reads as it
does standard output; standard output itself stays what it is anywhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256

from sevbuild.cli.findings import Finding, findings_of_error, findings_of_notices
from sevbuild.errors import Notice, SevbuildError
from sevbuild.text import encode_text, visible

__all__ = [
    "annotate_error",
    "annotate_notices",
    "annotation",
    "output_lines",
    "report_cause",
    "report_values",
]

SUMMARY_LIMIT = 1000 << 10
"""Bytes one step may put into its summary: GitHub drops more than 1 MiB whole ("Workflow commands")."""

OUTPUT_LIMIT = 1000 << 10
"""Bytes of one output: GitHub refuses more than 1 MB of them a job ("Workflow syntax", jobs.<id>.outputs)."""

# actions/toolkit packages/core/src/command.ts; the runner undoes it (src/Runner.Common/ActionCommand.cs).
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def annotation(level: str, message: str, *, file: str = "", line: int | None = None) -> str:
    """Return one workflow command that annotates a file, or the run where `file` is empty.

    `level` is `error`, `warning` or `notice`; no contents of the other values end the command or begin
    another, nor act on a terminal.
    """
    properties = {"file": file, "line": str(line) if file and line is not None else ""}
    given = ",".join(f"{key}={_escape(value, _PROPERTY)}" for key, value in properties.items() if value)
    command = f"::{level} {given}" if given else f"::{level}"
    return visible(f"{command}::{_escape(message, _DATA)}") + "\n"


def annotate_error(error: SevbuildError) -> None:
    """Annotate an error; each fault of a document on its own line of that document."""
    for finding in findings_of_error(error):
        _annotate(finding)


def annotate_notices(notices: Sequence[Notice]) -> None:
    """Annotate warnings; GitHub shows ten of a level in a step, so that notes stay in the log."""
    for finding in findings_of_notices(notices):
        if finding.level == "warning":
            _annotate(finding)


def output_lines(name: str, value: str) -> str:
    """Return the lines that set an output in $GITHUB_OUTPUT; the value may have any number of lines.

    The delimiter depends on the value alone, and is no line of it.
    """
    count = 0
    lines = set(value.split("\n"))
    while True:
        seed = encode_text(f"{count}\n{value}")
        delimiter = f"sevbuild-{sha256(seed).hexdigest()}"
        if delimiter not in lines:
            return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
        count += 1


def report_values(
    title: str, values: Sequence[tuple[str, bytes]], outputs: Mapping[str, str] | None = None
) -> None:
    """Set the outputs of the step, and put a table of launch digests into its summary.

    `values` are labels and launch digests. The output `digest` is the bare digest of a single one, else
    `DIGEST  LABEL` a line, as `measure` prints them; `outputs` are further ones by name. Raises
    SevbuildError where a file of the runner cannot be written.
    """
    lines = [digest.hex() if len(values) == 1 else f"{digest.hex()}  {label}" for label, digest in values]
    text = ""
    for name, value in {"digest": "\n".join(lines), **(outputs or {})}.items():
        entry = output_lines(name, value)
        if len(encode_text(entry)) > OUTPUT_LIMIT:
            message = f"the output {name} is left out: the limit is {OUTPUT_LIMIT} bytes"
            sys.stderr.write(annotation("warning", message))
        else:
            text += entry
    _append("GITHUB_OUTPUT", text)
    _append("GITHUB_STEP_SUMMARY", _summary(title, values, SUMMARY_LIMIT - _size("GITHUB_STEP_SUMMARY")))


def report_cause(sentence: str) -> None:
    """Put why a digest is another into the summary of the step."""
    _append("GITHUB_STEP_SUMMARY", f"**Cause:** {_cell(sentence)}\n\n")


def _annotate(finding: Finding) -> None:
    text = "\n".join(map(visible, finding.lines("  ")))
    file = _in_workspace(finding.file) if finding.file else ""
    sys.stderr.write(annotation(finding.level, text, file=file, line=finding.line))


def _in_workspace(file: str) -> str:
    """Return a file's path from the root of the checkout, which is where GitHub looks for it."""
    root = os.environ.get("GITHUB_WORKSPACE", "")
    if not root:
        return file
    path = os.path.relpath(os.path.realpath(file), os.path.realpath(root))
    return file if path.startswith("..") else path


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)


def _cell(text: str) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " -./+:") else f"&#{ord(c)};" for c in text)


def _summary(title: str, values: Sequence[tuple[str, bytes]], room: int) -> str:
    text = f"### {_cell(title)}\n\n| target | launch digest |\n| --- | --- |\n"
    more = "\nand {} more: the output `digest` has them all\n"
    left = room - len(text) - len(more) - 20
    if left < 0:
        return ""
    rows: list[str] = []
    for label, digest in values:
        row = f"| {_cell(label)} | `{digest.hex()}` |\n"
        left -= len(row)
        if left < 0:
            break
        rows.append(row)
    rest = len(values) - len(rows)
    return text + "".join(rows) + (more.format(rest) if rest else "") + "\n"


def _size(variable: str) -> int:
    path = os.environ.get(variable, "")
    return os.path.getsize(path) if os.path.exists(path) else 0


def _append(variable: str, text: str) -> None:
    """Append to the file that the runner names in a variable; without the variable there is none."""
    path = os.environ.get(variable, "")
    if not path or not text:
        return
    try:
        with open(path, "ab") as stream:
            stream.write(encode_text(text))
    except OSError as error:
        raise SevbuildError(f"cannot write {path} (${variable}): {error.strerror or error}") from None

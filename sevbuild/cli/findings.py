"""Errors, warnings and notes as findings: each with its place, for whoever reads them by program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sevbuild.errors import FaultsError, MismatchError, Notice, SevbuildError

__all__ = ["Finding", "findings_of_error", "findings_of_notices", "sarif_document"]

_PLACE = re.compile(r"(?P<file>[^\n]+?):(?P<line>[0-9]{1,9})(?:: (?P<rest>.*))?", re.DOTALL)


class Finding(NamedTuple):
    """One finding: `level` is error, warning or note, `rule` what kind of it.

    `file` is None for what belongs to no file, `line` counts from 1, `key` is the path in a manifest.
    `details` are further lines below the message.
    """

    level: str
    rule: str
    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None
    details: tuple[str, ...] = ()

    def lines(self, indent: str = "") -> list[str]:
        """Return what it says, its details so far indented, its hint last."""
        first = f"{self.key}: {self.message}" if self.key else self.message
        hint = [f"hint: {self.hint}"] if self.hint else []
        return [first, *(f"{indent}{detail}" for detail in self.details), *hint]

    def document(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return {**self._asdict(), "details": list(self.details)}


def findings_of_error(error: SevbuildError) -> Iterator[Finding]:
    """Yield an error as findings; each fault of a document is one."""
    rule = "mismatch" if isinstance(error, MismatchError) else "fault"
    if isinstance(error, FaultsError):
        for fault in error.faults:
            if os.path.isfile(fault.source):
                yield Finding(
                    "error", rule, fault.message, fault.source, fault.line, fault.path or None, fault.hint
                )
            else:
                # A source that is no file ("stdin", a flag) is named in the message instead.
                yield Finding("error", rule, str(fault), hint=fault.hint)
        return
    file, line, message = _place(error.message)
    yield Finding("error", rule, message, file, line, None, error.hint, tuple(error.details))


def findings_of_notices(notices: Sequence[Notice]) -> Iterator[Finding]:
    """Yield warnings and notes as findings."""
    for notice in notices:
        file, line, _ = _place(notice.where)
        if file is None and os.path.isfile(notice.where):
            file = notice.where
        message = notice.message if file else f"{notice.where}: {notice.message}"
        yield Finding(notice.level, notice.level, message, file, line, None, notice.hint)


def _place(text: str) -> tuple[str | None, int | None, str]:
    """Return file, line and the rest of a text that begins with `FILE:LINE`, where that is a file."""
    match = _PLACE.fullmatch(text)
    if match is None or not os.path.isfile(match["file"]):
        return None, None, text
    return match["file"], int(match["line"]), match["rest"] or ""


_RULES = {
    "fault": "The manifest, an input or the request is at fault.",
    "mismatch": "What was found is not what was pinned, locked or expected.",
    "warning": "It may not be what was meant, or should not ship.",
    "note": "A value that is not in the manifest, or something to know.",
}


def sarif_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings as a SARIF log (OASIS SARIF 2.1.0): one run, a result each."""
    from sevbuild import __version__

    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "sevbuild", "semanticVersion": __version__, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(finding) for finding in findings]}],
    }


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": list(_RULES).index(finding.rule),
        "level": finding.level,
        "message": {"text": "\n".join(finding.lines())},
    }
    if finding.file is not None:
        place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
        if finding.line is not None:
            place["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(file: str) -> str:
    """Return the URI of a file: relative below the working folder, which is where uploads take it from."""
    from urllib.parse import quote

    path = os.path.relpath(file)
    absolute = path.startswith("../") or path == ".."
    return ("file://" if absolute else "") + quote(os.path.abspath(file) if absolute else path)

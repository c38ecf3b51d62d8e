"""How verdicts on attestation reports are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sevbuild.cli.report import print_data, print_line, print_text
from sevbuild.text import counted, visible

if TYPE_CHECKING:
    from sevbuild.appraise.verify import Unjudged
    from sevbuild.attest.result import Verdict
    from sevbuild.attest.verdict import Check

__all__ = ["print_verdicts"]

_COMPARE = "which input differs: `sevbuild explain GUEST REPORT`, `sevbuild diff OLD NEW` of two releases"


def print_verdicts(
    verdicts: Sequence[Verdict], fmt: str, unjudged: Sequence[Unjudged] = (), *, explained: bool = False
) -> None:
    """Print verdicts as `json` or as a `table` each; the last line says what was not checked.

    `explained` tells that the cause of another measurement is said elsewhere.
    """
    if fmt == "json":
        from sevbuild.attest.result import verdict_document
        from sevbuild.documents.json_text import json_text

        print_data(json_text(verdict_document(verdicts, {one.source: str(one.error) for one in unjudged})))
        return
    for verdict in verdicts:
        _print_verdict(verdict, explained=explained)
    count = len(verdicts) + len(unjudged)
    if count > 1:
        held = sum(verdict.holds for verdict in verdicts)
        unchecked = dict.fromkeys(check.name for verdict in verdicts for check in verdict.unchecked)
        head = f"{counted(count, 'report')}: {held} verified, {len(verdicts) - held} refused"
        head += f", {len(unjudged)} at fault" if unjudged else ""
        print_line(f"{head}{_not_checked(list(unchecked))}")


def _print_verdict(verdict: Verdict, *, explained: bool) -> None:
    from sevbuild.attest.evidence import FORMS
    from sevbuild.cli.tables import text_table
    from sevbuild.text import time_text

    print_line(f"{verdict.source}: {FORMS[verdict.form]}")
    rows = [(check.name, _word(check, verdict), _reason(check)) for check in verdict.checks]
    print_text(text_table(("check", "result", "what was found"), rows, indent=2))
    whose = "as given" if verdict.at_given else "this machine's time"
    print_line(f"  trust anchor: {verdict.trust_anchor or 'none'}")
    print_line(f"  valid at: {time_text(verdict.at)} ({whose})")
    for note in verdict.notes:
        print_line(f"  {note}")
    if not explained and any(check.name == "measurement" for check in verdict.failed):
        print_line(f"  {_COMPARE}")
    if verdict.target is not None:
        print_line(f"  target: {verdict.target.name}")
    print_line(_result(verdict))


def _word(check: Check, verdict: Verdict) -> str:
    required = check.status == "not checked" and check.name in verdict.required
    return f"{check.status}, required" if required else check.status


def _reason(check: Check) -> str:
    """Return what a table says of a check: of a failure both values, of any other the reason alone."""
    if check.status != "fail":
        return check.reason
    values = [f"found {check.found}"] if check.found and check.found not in check.reason else []
    values += [f"wanted {check.wanted}"] if check.wanted and check.wanted not in check.reason else []
    return f"{check.reason}: {', '.join(values)}" if values else check.reason


def _result(verdict: Verdict) -> str:
    """Return the last line of a verdict, which says what was not checked."""
    if verdict.holds:
        passed = sum(check.status == "pass" for check in verdict.checks)
        head = f"verified ({counted(passed, 'check')})"
    else:
        why = [f"{name}" for name in _names(verdict.failed)]
        head = f"refused: {', '.join(why)}" if why else "refused"
        if verdict.missing:
            head += f"{';' if why else ':'} not checked though required: {', '.join(_names(verdict.missing))}"
    rest = [check for check in verdict.unchecked if check not in verdict.missing]
    return f"{visible(verdict.source)}: {head}{_not_checked(_names(rest))}"


def _names(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks]


def _not_checked(names: Sequence[str]) -> str:
    return f"; not checked: {', '.join(names)}" if names else ""

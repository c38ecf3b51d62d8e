"""How a comparison of reference values is printed."""

from __future__ import annotations

from collections.abc import Mapping

from sevbuild.cli.report import print_data, print_text
from sevbuild.documents.json_text import json_text
from sevbuild.errors import Notice
from sevbuild.reference.changes import NOTE, Change, Comparison, said
from sevbuild.text import counted, visible

__all__ = ["comparison_lines", "comparison_notices", "print_comparison"]

_SHOWN = 50
_ARROW = "{what}: {old} -> {new}"


def print_comparison(
    comparison: Comparison, *, words: Mapping[str, str], fmt: str, notes: bool = True
) -> None:
    """Print a comparison as `json` or as text, whose lines are those of `comparison_lines`."""
    if fmt == "json":
        print_data(json_text(comparison.document()))
    else:
        lines = comparison_lines(comparison, words, notes=notes)
        print_text("".join(f"{visible(line)}\n" for line in lines))


def comparison_lines(
    comparison: Comparison,
    words: Mapping[str, str],
    *,
    notes: bool,
    form: str = _ARROW,
    most: int | None = None,
) -> list[str]:
    """Return a line a target, below it one for each value that differs, and last how many there are of each.

    `words` says what to call each status, `form` how to write a change. Targets that are equal are counted,
    and those that changed alike are said once. Without `notes` only what is launched differently is told;
    with `most` no more than so many targets of a kind, and so many kinds.
    """
    told = _told(comparison.guest, notes=notes)
    lines = [_line(change, form) for change in told[:most]]
    if len(lines) < len(told):
        lines.append(f"and {len(told) - len(lines)} more differences in guest and inputs")
    alike: dict[tuple[str, tuple[Change, ...]], list[str]] = {}
    counts: dict[str, int] = {}
    for target in comparison.targets:
        status = "equal" if target.status == "alike" and not notes else target.status
        counts[status] = counts.get(status, 0) + 1
        if status != "equal":
            alike.setdefault((status, _told(target.changes, notes=notes)), []).append(target.label)
    groups = list(alike.items())
    left = sum(len(labels) for _, labels in groups[most:]) if most is not None else 0
    for (status, changes), labels in groups[:most]:
        shown = labels[: most or _SHOWN]
        lines += [f"{words.get(status, status)}  {label}" for label in shown]
        if len(shown) < len(labels):
            lines.append(f"{words.get(status, status)}  and {len(labels) - len(shown)} more like these")
        lines += [f"    {_line(change, form)}" for change in changes]
    if left:
        lines.append(f"and {left} more targets")
    total = [f"{count} {words.get(status, status)}" for status, count in sorted(counts.items())]
    every = len(comparison.targets)
    lines.append(f"{counted(every, 'target')}: {', '.join(total)}")
    return lines


def comparison_notices(comparison: Comparison, where: str) -> list[Notice]:
    """Return a note for each value that is written otherwise and launches the same."""
    found = [_line(change, _ARROW) for change in comparison.guest if change.level == NOTE]
    counts: dict[Change, int] = {}
    for target in comparison.targets:
        for change in target.changes:
            if change.level == NOTE:
                counts[change] = counts.get(change, 0) + 1
    found += [f"{_line(change, _ARROW)} ({counted(count, 'target')})" for change, count in counts.items()]
    return [Notice("note", where, f"enters no launch value: {text}") for text in found]


def _told(changes: tuple[Change, ...], *, notes: bool) -> tuple[Change, ...]:
    return tuple(change for change in changes if notes or change.level != NOTE)


def _line(change: Change, form: str) -> str:
    if change.old is None and change.new is None:
        return change.what
    return form.format(what=change.what, old=said(change.old), new=said(change.new))

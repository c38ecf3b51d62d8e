"""How a comparison of reference values is printed."""

from __future__ import annotations

from sevbuild.cli.report import print_data, print_text
from sevbuild.json_text import json_text
from sevbuild.reference.compare import Change, Comparison
from sevbuild.text import visible

__all__ = ["print_comparison"]

_SHOWN = 50


def print_comparison(comparison: Comparison, *, words: dict[str, str], fmt: str) -> None:
    """Print a comparison as `json` or as text; `words` says what to call each status."""
    if fmt == "json":
        print_data(json_text(comparison.document()))
    else:
        print_text(_text(comparison, words))


def _text(comparison: Comparison, words: dict[str, str]) -> str:
    """Return one line a target, and below it a line for each value that differs.

    Targets that are equal are counted, and those that changed alike are said once.
    """
    lines = [f"{_line(change)}" for change in comparison.guest]
    alike: dict[tuple[str, tuple[Change, ...]], list[str]] = {}
    counts: dict[str, int] = {}
    for target in comparison.targets:
        counts[target.status] = counts.get(target.status, 0) + 1
        if target.status != "equal":
            alike.setdefault((target.status, target.changes), []).append(target.label)
    for (status, changes), labels in alike.items():
        shown = labels[:_SHOWN]
        lines += [f"{words.get(status, status)}  {label}" for label in shown]
        if len(shown) < len(labels):
            lines.append(f"{words.get(status, status)}  and {len(labels) - len(shown)} more like these")
        lines += [f"    {_line(change)}" for change in changes]
    total = [f"{count} {words.get(status, status)}" for status, count in sorted(counts.items())]
    lines.append(f"{len(comparison.targets)} targets: {', '.join(total)}")
    return "".join(f"{visible(line)}\n" for line in lines)


def _line(change: Change) -> str:
    if change.old is None and change.new is None:
        return change.what
    return f"{change.what}: {change.old or 'none'} -> {change.new or 'none'}"

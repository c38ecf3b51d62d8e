"""How a comparison of reference values is printed."""

from __future__ import annotations

from sevbuild.reference.compare import Change, Comparison

__all__ = ["comparison_text"]

_SHOWN = 50


def comparison_text(comparison: Comparison, *, words: dict[str, str], everything: bool) -> str:
    """Return one line a target, and below it a line for each value that differs.

    `words` says what to call each status; targets that are equal are counted, or listed with
    `everything`. Targets that changed alike are said once.
    """
    lines = [f"{_line(change)}" for change in comparison.guest]
    alike: dict[tuple[str, tuple[Change, ...]], list[str]] = {}
    counts: dict[str, int] = {}
    for target in comparison.targets:
        counts[target.status] = counts.get(target.status, 0) + 1
        if everything or target.status != "equal":
            alike.setdefault((target.status, target.changes), []).append(target.label)
    for (status, changes), labels in alike.items():
        shown = labels if everything else labels[:_SHOWN]
        lines += [f"{words.get(status, status)}  {label}" for label in shown]
        if len(shown) < len(labels):
            lines.append(f"{words.get(status, status)}  and {len(labels) - len(shown)} more like these")
        lines += [f"    {_line(change)}" for change in changes]
    total = [f"{count} {words.get(status, status)}" for status, count in sorted(counts.items())]
    lines.append(f"{len(comparison.targets)} targets: {', '.join(total)}")
    return "\n".join(lines) + "\n"


def _line(change: Change) -> str:
    if change.old is None and change.new is None:
        return change.what
    return f"{change.what}: {change.old or 'none'} -> {change.new or 'none'}"

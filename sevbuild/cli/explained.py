"""How an answer of `explain` is printed for a person."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer, Explanation, Line, Parting, Row

__all__ = ["answer_text", "edit_text", "tried_lines"]

_NARROWEST = 40
_SHOWN = 16
"""The digits of a running digest that are shown: enough to tell two of them apart."""


def answer_text(answer: Answer, *, stats: bool = False, printed: bool = False) -> str:
    """Return the lines of an answer: one sentence, what to edit, the evidence, what else fits or is known.

    `printed` lines are folded to the width of a terminal, where standard output is one.
    """
    lines = map(visible, _lines(answer, stats=stats))
    folded = _folded(lines) if printed and sys.stdout.isatty() else lines
    return "".join(f"{line}\n" for line in folded)


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines broken between words, what follows a break four columns further in."""
    from shutil import get_terminal_size
    from textwrap import wrap

    width = max(get_terminal_size().columns, _NARROWEST)
    for line in lines:
        margin = " " * (len(line) - len(line.lstrip()) + 4)
        yield from wrap(
            line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
        ) or [line]


def _lines(answer: Answer, *, stats: bool) -> Iterator[str]:
    yield answer.sentence
    if answer.dump is not None:
        from sevbuild.diagnose.vmsa_dump import dump_lines

        yield from (f"  {line}" for line in dump_lines(answer.dump))
    told = answer.told
    if told:
        yield from _details(told[0])
        if len(told) > 1:
            yield "other explanations that fit as well:"
            for explanation in told[1:]:
                yield f"  {explanation.sentence}"
                yield from (f"    {line}" for line in _edits(explanation.edits))
    for title, lines in (
        ("excluded:", answer.excluded),
        ("not covered:", answer.not_covered),
        ("what to get next:", answer.next),
    ):
        if lines:
            yield title
            yield from (f"  {line}" for line in lines)
    yield from (f"note: {note}" for note in answer.notes)
    yield from tried_lines(answer, stats=stats)


def tried_lines(answer: Answer, *, stats: bool) -> Iterator[str]:
    """Yield what was tried where nothing was found, and with `stats` all of it; runs differ in that."""
    if answer.result == "not-found" and answer.statistics:
        yield _tried(answer)
    if stats:
        yield from _statistics(answer)


def _details(explanation: Explanation) -> Iterator[str]:
    yield from (f"  {line}" for line in _edits(explanation.edits))
    if explanation.measured_by:
        yield f"  measure it with `{shlex.join(explanation.measured_by)}`"
    for cause in explanation.causes:
        yield f"  {cause.setting}: {cause.source}"
    for remark in explanation.remarks:
        yield f"  this is {remark.says} ({remark.source})"
    if explanation.parting is not None:
        yield from _evidence(explanation.parting)


def _edits(lines: Sequence[Line]) -> Iterator[str]:
    """Yield what to edit, where several keys stand on one line in one line."""
    places: dict[tuple[str, int | None], list[str]] = {}
    for line in lines:
        places.setdefault((line.file, line.line), []).append(edit_text(line))
    for texts in places.values():
        first, *more = texts
        start = first.partition("  ")[0]
        yield ", ".join([first, *(text.removeprefix(start).lstrip() for text in more)])


def edit_text(line: Line) -> str:
    """Return what to do with a line of a manifest, or with a `--set` flag."""
    if line.file == "--set":
        return f"set --set {shlex.quote(f'{line.key}={line.new}')}"
    where = line.file if line.line is None else f"{line.file}:{line.line}"
    if line.new is None:
        return f"edit {where}  remove {line.key} = {line.old}"
    if line.old is None:
        return f"edit {where}  add {line.key} = {line.new}"
    return f"edit {where}  {line.key} = {line.old} -> {line.new}"


def _evidence(parting: Parting) -> Iterator[str]:
    yield f"  the launches part at step {parting.step} ({parting.origin}):"
    if parting.step and parting.guest:
        before = next((row for row in parting.guest if row.step == parting.step - 1), None)
        if before is not None:
            yield f"    both      {_row(before)}"
    for name, rows in (("guest", parting.guest), ("expected", parting.expected)):
        last = rows[-1] if rows and rows[-1].step == parting.step else None
        yield f"    {name:8}  {'ends before it' if last is None else _row(last)}"
    yield from (f"    {line}" for line in parting.differs)


def _row(row: Row) -> str:
    return f"{row.step}  {row.origin}  {row.launch_digest.hex()[:_SHOWN]}..."


def _tried(answer: Answer) -> str:
    statistics = answer.statistics
    done = [stage["name"] for stage in statistics["stages"] if stage["completed"]]
    what = f"completed: {'; '.join(done)}" if done else "no stage was completed"
    return f"{statistics['launches']:,} launches tried in {statistics['seconds']:.1f} s; {what}"


def _statistics(answer: Answer) -> Iterator[str]:
    statistics = answer.statistics
    if not statistics:
        yield "nothing was searched"
        return
    names = ("launches", "starts", "alike", "changes", "without_effect", "refused")
    yield ", ".join(f"{name.replace('_', ' ')} {statistics[name]:,}" for name in names)
    for stage in statistics["stages"]:
        end = "completed" if stage["completed"] else f"not completed: {stage['left']}"
        yield f"  {stage['name']}: {stage['launches']:,} launches, {stage['seconds']:.2f} s, {end}"

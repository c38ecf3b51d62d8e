"""How an answer of `explain` is printed for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer, Explanation, Line, Parting, Row

__all__ = ["answer_text", "edit_text", "tried_lines"]

_SHOWN = 16
"""The digits of a running digest that are shown: enough to tell two of them apart."""


def answer_text(answer: Answer, *, stats: bool = False) -> str:
    """Return the lines of an answer: one sentence, what to edit, the evidence, what else fits or is known."""
    return "".join(f"{visible(line)}\n" for line in _lines(answer, stats=stats))


def _lines(answer: Answer, *, stats: bool) -> Iterator[str]:
    yield answer.sentence
    if answer.dump is not None:
        from sevbuild.diagnose.vmsa_dump import dump_lines

        yield from (f"  {line}" for line in dump_lines(answer.dump))
    told = sorted((*answer.explanations, *answer.also), key=lambda item: item.sentence != answer.sentence)
    if told:
        yield from _details(told[0])
        if len(told) > 1:
            yield "other explanations that fit as well:"
            for explanation in told[1:]:
                yield f"  {explanation.sentence}"
                yield from (f"    {edit_text(line)}" for line in explanation.edits)
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
    for line in explanation.edits:
        yield f"  {edit_text(line)}"
    for cause in explanation.causes:
        yield f"  {cause.setting}: {cause.source}"
    for remark in explanation.remarks:
        yield f"  this is {remark.says} ({remark.source})"
    if explanation.parting is not None:
        yield from _evidence(explanation.parting)


def edit_text(line: Line) -> str:
    """Return what to do with a line of a manifest, or with a `--set` flag."""
    if line.file == "--set":
        return f"set --set {line.key}={line.new}"
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
    what = f"completed: {', '.join(done)}" if done else "no stage was completed"
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

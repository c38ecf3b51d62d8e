"""What pictures of answers and differences show: the text, and two launches side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sevbuild.diagnose.differences.model import SAID_OF
from sevbuild.diagnose.differences.side_by_side import Trace, side_by_side
from sevbuild.picture.comparison_page import ComparisonPicture, Part
from sevbuild.picture.launches import Update
from sevbuild.picture.two_launches import Pair, Side, TwoLaunches
from sevbuild.reference.changes import said
from sevbuild.text import counted

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer, Explanation, Line, Run
    from sevbuild.diagnose.differences.model import Cause, Detail, Difference, Launches, StepSide

__all__ = ["answer_picture", "difference_picture"]

_NAMED = 8
"""So many targets that differ alike are named; the others are counted."""


def answer_picture(answer: Answer, tried: Iterable[str] = ()) -> ComparisonPicture:
    """Return what there is to show of an answer of `explain`; `tried` are lines on the search, if any."""
    told = answer.told
    parts = []
    if answer.dump is not None:
        from sevbuild.diagnose.vmsa_dump import dump_lines

        parts.append(Part("The VMSAs in the kernel log", tuple(dump_lines(answer.dump))))
    parts += [part for found in told[:1] for part in _parts_of(found)]
    if told[1:]:
        parts.append(Part("Other explanations that fit as well", tuple(found.sentence for found in told[1:])))
    for title, lines in (
        ("Excluded", answer.excluded),
        ("Not covered", answer.not_covered),
        ("What to get next", answer.next),
        ("Notes", answer.notes),
        ("What was tried", tuple(tried)),
    ):
        parts += [Part(title, lines)] if lines else []
    expected = answer.expected
    return ComparisonPicture(
        title=f"The launch digest of {answer.guest}",
        lead=answer.sentence,
        facts=(("Guest", answer.guest), ("Expected", expected.digest.hex()), ("Read from", expected.source)),
        parts=tuple(parts),
        launches=tuple(
            _runs(found.target, found.guest, found.expected)
            for found in told
            if found.guest and found.expected
        ),
    )


def difference_picture(difference: Difference, lead: str) -> ComparisonPicture:
    """Return what there is to show of a comparison of two files; `lead` is its result in a line."""
    parts = [_cause(cause) for cause in difference.causes]
    for title, labels in zip(("Only in the old one", "Only in the new one"), difference.alone, strict=True):
        parts += [Part(title, labels)] if labels else []
    parts += [Part("Not compared", difference.not_compared)] if difference.not_compared else []
    for launches in difference.launches:
        if launches.alike:
            title = f"For the same causes as {_labels(launches.labels)}"
            parts.append(Part(title, tuple(_named(list(map(_labels, launches.alike)), "more pair"))))
    old, new = difference.old, difference.new
    return ComparisonPicture(
        title=f"{old.name} and {new.name}",
        lead=lead,
        facts=((f"Old {old.kind}", old.name), (f"New {new.kind}", new.name)),
        parts=tuple(parts),
        launches=tuple(map(_old_and_new, difference.launches)),
    )


def _parts_of(found: Explanation) -> list[Part]:
    parts = []
    if found.edits:
        rows = tuple(map(_edit, found.edits))
        parts.append(Part("What to edit", (), ("Where", "Key", "Now", "Instead"), rows))
    if found.settings:
        causes = tuple(f"{cause.says} ({cause.source})" for cause in found.causes)
        settings = tuple((name, *sides) for name, sides in found.settings.items())
        parts.append(Part("What differs", causes, ("Setting", "Guest", "Expected"), settings))
    return parts


def _edit(line: Line) -> tuple[str, ...]:
    where = line.file if line.line is None else f"{line.file}:{line.line}"
    return where, line.key, "not there" if line.old is None else line.old, line.new or "remove it"


def _runs(target: str, guest: Run, expected: Run) -> TwoLaunches:
    """Return two launches that were planned and replayed, step by step."""
    names = (target, "the launch that was expected")
    return _pairs_of(side_by_side(names, Trace(*guest), Trace(*expected)), names)


def _cause(cause: Cause) -> Part:
    lines = [_change(cause.old, cause.new)] if (cause.old, cause.new) != (None, None) else []
    lines += [", ".join(dict.fromkeys(filter(None, cause.where)))] if any(cause.where) else []
    lines += [SAID_OF[cause.level]] if cause.level in SAID_OF else []
    lines += [f"of {', '.join(_named(cause.targets, 'more target'))}"] if cause.targets else []
    rows = tuple((detail.what, *_values(detail), detail.note) for detail in cause.details)
    return Part(cause.title, tuple(lines), ("What", "Old", "New", "Note"), rows)


def _named(labels: Sequence[str], noun: str) -> list[str]:
    """Return the first labels, and how many more there are."""
    more = len(labels) - _NAMED
    return [*labels[:_NAMED], *[f"and {counted(more, noun)}"] * (more > 0)]


def _values(detail: Detail) -> tuple[str, str]:
    """Return both values of a detail, empty where its note alone says something."""
    if detail.old is None and detail.new is None:
        return "", ""
    return said(detail.old), said(detail.new)


def _change(old: str | None, new: str | None) -> str:
    return f"{said(old)} → {said(new)}"


def _line(detail: Detail) -> str:
    if detail.old is None and detail.new is None:
        return f"{detail.what}: {detail.note}" if detail.note else detail.what
    return f"{detail.what}: {_change(detail.old, detail.new)}"


def _labels(labels: tuple[str, str]) -> str:
    old, new = labels
    return old if old == new else f"{old} beside {new}"


def _old_and_new(launches: Launches) -> TwoLaunches:
    old, new = launches.labels
    return _pairs_of(launches, (f"old {old}", f"new {new}"))


def _pairs_of(launches: Launches, names: tuple[str, str]) -> TwoLaunches:
    pairs = tuple(
        Pair(
            _side(step.old),
            _side(step.new),
            step.differs,
            tuple(map(_line, step.details)),
        )
        for step in launches.steps
    )
    old, new = launches.digests
    return TwoLaunches(names, (old.hex(), new.hex()), pairs, launches.parts_at)


def _side(side: StepSide | None) -> Side | None:
    if side is None:
        return None
    contents = "" if side.contents is None else side.contents.hex()
    update = Update(side.origin, side.page_type, side.gpa, side.length, contents, side.launch_digest.hex())
    return Side(side.number, update)

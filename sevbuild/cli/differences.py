"""How a comparison of two files is printed: whether the digests are the same, the causes, what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from sevbuild.cli.tables import text_table
from sevbuild.diagnose.differences.model import (
    DIGEST,
    LAUNCH,
    NOTE,
    SAID_OF,
    Cause,
    Detail,
    Difference,
    Launches,
    StepSide,
)
from sevbuild.errors import SevbuildError
from sevbuild.launch.label import fold_labels
from sevbuild.reference.changes import said
from sevbuild.text import counted, visible

__all__ = ["difference_text", "first_line"]

_SHORT = 72
_MOST_CAUSES = 60
_MOST_DETAILS = 40
_MOST_LABELS = 8
_MOST_LAUNCHES = 8


def difference_text(difference: Difference) -> str:
    """Return a comparison as text."""
    lines = [first_line(difference)]
    for level in (DIGEST, LAUNCH, NOTE):
        causes = [cause for cause in difference.causes if cause.level == level]
        if not causes:
            continue
        heading = f"{SAID_OF[level]}:" if level in SAID_OF else ""
        if level == DIGEST and difference.digest == "different":
            heading = "because of"
        lines += [heading] if heading else []
        lines += [f"  {line}" for cause in causes[:_MOST_CAUSES] for line in _cause_lines(cause)]
        if len(causes) > _MOST_CAUSES:
            lines.append(f"  and {len(causes) - _MOST_CAUSES} more, which JSON has")
    for side, labels in zip(("first", "second"), difference.alone, strict=True):
        if labels:
            lines.append(f"{counted(len(labels), 'target')} in the {side} alone: {_listed(labels)}")
    text = "".join(f"{visible(line)}\n" for line in lines)
    for launches in difference.launches[:_MOST_LAUNCHES]:
        text += f"\n{_launches_text(launches)}"
    if len(difference.launches) > _MOST_LAUNCHES:
        text += f"and {len(difference.launches) - _MOST_LAUNCHES} more sets of targets, which JSON has\n"
    if difference.not_compared:
        text += f"{visible('not compared, for one side lacks it: ' + ', '.join(difference.not_compared))}\n"
    return text


def first_line(difference: Difference) -> str:
    """Return in a line whether the digests are the same."""
    if difference.digest == "none":
        return f"no digest: {difference.subject}, and they {'are the same' if difference.same else 'differ'}"
    different = sum(1 + len(launches.alike) for launches in difference.launches)
    if not different:
        return f"same digest: {difference.subject}"
    every = different + difference.same_targets
    if every == 1:
        old, new = difference.launches[0].labels
        return f"different digest: {old}" + (f" and {new}" if old != new else "")
    return f"different digest: {different} of {every} targets"


def _cause_lines(cause: Cause) -> Iterator[str]:
    places = [place for place in dict.fromkeys(cause.where) if place]
    where = f"  ({', '.join(places)})" if places else ""
    old, new = cause.old, cause.new
    if old is None and new is None:
        yield f"{cause.title}{where}"
    elif len(said(old)) + len(said(new)) <= _SHORT and cause.kind != "cmdline":
        yield f"{cause.title}: {said(old)} -> {said(new)}{where}"
    else:
        yield cause.title
        for word, text, place in (("old", old, cause.where[0]), ("new", new, cause.where[1])):
            yield f"  {word}  {said(text)}" + (f"  ({place})" if place else "")
    for detail in cause.details[:_MOST_DETAILS]:
        yield from (f"  {line}" for line in _detail_lines(detail))
    if len(cause.details) > _MOST_DETAILS:
        yield f"  and {len(cause.details) - _MOST_DETAILS} more, which JSON has"
    if cause.targets:
        yield f"  of {_listed(cause.targets)}"


def _detail_lines(detail: Detail) -> Iterator[str]:
    """Yield a detail, and below it what its note says where that is long: the source of a profile's value."""
    text = detail.what
    both = detail.old is not None or detail.new is not None
    if both:
        text += f": {said(detail.old)} -> {said(detail.new)}"
    if len(detail.note) > _SHORT:
        yield text
        yield f"    {detail.note}"
    else:
        note = f"  ({detail.note})" if both else f": {detail.note}"
        yield text + (note if detail.note else "")


def _listed(labels: Sequence[str]) -> str:
    with suppress(SevbuildError):
        # A document may call its targets by anything.
        labels = fold_labels(labels)
    more = len(labels) - _MOST_LABELS
    return ", ".join(labels[:_MOST_LABELS]) + (f" and {more} more" if more > 0 else "")


def _launches_text(launches: Launches) -> str:
    """Return where two launches part, and both digests."""
    old, new = launches.labels
    title = old if old == new else f"{old} and {new}"
    alike = f" (and {counted(len(launches.alike), 'target')} like it)" if launches.alike else ""
    parts = ""
    rows: list[tuple[str, ...]] = []
    details: tuple[Detail, ...] = ()
    if launches.parts_at is not None:
        step = launches.steps[launches.parts_at]
        side = step.old or step.new
        place = "" if side is None else f", {side.origin}"
        parts = f": the launches part at step {launches.parts_at}{place}"
        rows = [_row(word, found) for word, found in (("old", step.old), ("new", step.new))]
        # Which pages of a region differ stands with its cause; the registers of a VMSA are told here.
        if side is not None and side.page_type == "vmsa":
            details = step.details
    text = f"{visible(title + alike + parts)}\n"
    if rows:
        text += text_table(("", "#", "type", "gpa", "length", "launch digest after it"), rows, indent=2)
    for detail in details[:_MOST_DETAILS]:
        text += "".join(f"    {visible(line)}\n" for line in _detail_lines(detail))
    for word, digest in zip(("old", "new"), launches.digests, strict=True):
        text += f"  {word}  {digest.hex()}\n"
    return text


def _row(word: str, side: StepSide | None) -> tuple[str, ...]:
    if side is None:
        return (word, "-", "none like it", "-", "-", "-")
    return (
        word,
        str(side.number),
        side.page_type,
        f"{side.gpa:#x}",
        f"{side.length:#x}",
        side.launch_digest.hex()[:32],
    )

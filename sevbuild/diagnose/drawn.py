"""What pictures of answers and differences show: the text, and two launches side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sevbuild.guest.trace import shown_type
from sevbuild.launch.compare import compare_plans
from sevbuild.picture.comparison_page import ComparisonPicture, Part
from sevbuild.picture.launches import Update
from sevbuild.picture.two_launches import Pair, Side, TwoLaunches

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer, Explanation, Line, Run
    from sevbuild.diagnose.differences.model import Cause, Difference, Launches, StepSide
    from sevbuild.launch.mode import Mode
    from sevbuild.launch.update import LaunchUpdate

__all__ = ["answer_picture", "difference_picture"]


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


def difference_picture(difference: Difference) -> ComparisonPicture:
    """Return what there is to show of a comparison of two files."""
    lead = {
        "same": "The launch digest is the same.",
        "different": "The launch digest is another.",
        "none": "What is compared has no launch digest.",
    }
    parts = [_cause(cause) for cause in difference.causes]
    for title, labels in zip(("Only in the old one", "Only in the new one"), difference.alone, strict=True):
        parts += [Part(title, labels)] if labels else []
    parts += [Part("Not compared", difference.not_compared)] if difference.not_compared else []
    old, new = difference.old, difference.new
    return ComparisonPicture(
        title=f"{old.name} and {new.name}",
        lead=f"{lead[difference.digest]} {difference.subject}",
        facts=((f"Old {old.kind}", old.name), (f"New {new.kind}", new.name)),
        parts=tuple(parts),
        launches=tuple(map(_pair_of_launches, difference.launches)),
    )


def _parts_of(found: Explanation) -> list[Part]:
    parts = []
    if found.edits:
        rows = tuple(map(_edit, found.edits))
        parts.append(Part("What to edit", (), ("Where", "Key", "Now", "Instead"), rows))
    if found.settings:
        causes = tuple(f"{cause.says} ({cause.source})" for cause in found.causes)
        settings = tuple((name, *sides) for name, sides in found.settings.items())
        parts.append(Part("What is another", causes, ("Setting", "Guest", "Expected"), settings))
    return parts


def _edit(line: Line) -> tuple[str, ...]:
    where = line.file if line.line is None else f"{line.file}:{line.line}"
    return where, line.key, "not there" if line.old is None else line.old, line.new or "remove it"


def _runs(target: str, guest: Run, expected: Run) -> TwoLaunches:
    """Return two launches that were planned and replayed, step by step."""
    pairs = []
    first = _sides(guest)
    second = _sides(expected)
    for step in compare_plans(guest.plan, expected.plan):
        details = tuple(
            (change.name, _number(change.first), _number(change.second)) for change in step.registers
        )
        one = None if step.first is None else next(first)
        other = None if step.second is None else next(second)
        pairs.append(Pair(one, other, step.differs, details))
    digests = (guest.digests[-1].hex(), expected.digests[-1].hex())
    return TwoLaunches((target, "the launch that was expected"), digests, tuple(pairs), _parting(pairs))


def _sides(run: Run) -> Iterator[Side]:
    for number, (update, digest) in enumerate(zip(run.plan.updates, run.digests, strict=True)):
        yield Side(number, _drawn(run.plan.mode, update, digest))


def _drawn(mode: Mode, update: LaunchUpdate, digest: bytes) -> Update:
    """Return an update without the digest of its contents, of which only a difference is shown."""
    return Update(update.origin, shown_type(mode, update), update.gpa, update.length, "", digest.hex())


def _parting(pairs: Sequence[Pair]) -> int | None:
    """Return the index of the first pair after which the digests differ."""
    for index, (first, second, *_) in enumerate(pairs):
        if first is None or second is None or first.update.digest != second.update.digest:
            return index
    return None


def _number(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value:#x}"


def _cause(cause: Cause) -> Part:
    lines = [f"{_or_none(cause.old)} → {_or_none(cause.new)}"] if cause.old or cause.new else []
    lines += [", ".join(dict.fromkeys(filter(None, cause.where)))] if any(cause.where) else []
    lines += [f"of {', '.join(cause.targets)}"] if cause.targets else []
    rows = tuple(
        (found.what, _or_none(found.old), _or_none(found.new), found.note) for found in cause.details
    )
    return Part(cause.title, tuple(lines), ("What", "Old", "New", "Note"), rows)


def _or_none(text: str | None) -> str:
    return "none" if text is None else text


def _pair_of_launches(launches: Launches) -> TwoLaunches:
    pairs = tuple(
        Pair(
            _side(step.old),
            _side(step.new),
            step.differs,
            tuple((found.what, _or_none(found.old), _or_none(found.new)) for found in step.details),
        )
        for step in launches.steps
    )
    old, new = launches.digests
    names = (f"old {launches.labels[0]}", f"new {launches.labels[1]}")
    return TwoLaunches(names, (old.hex(), new.hex()), pairs, launches.parts_at)


def _side(side: StepSide | None) -> Side | None:
    if side is None:
        return None
    contents = "" if side.contents is None else side.contents.hex()
    update = Update(side.origin, side.page_type, side.gpa, side.length, contents, side.launch_digest.hex())
    return Side(side.number, update)

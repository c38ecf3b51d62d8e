"""What `explain` answers: why a launch digest is another, as plain values and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sevbuild.launch.plan import LaunchPlan

if TYPE_CHECKING:
    from sevbuild.diagnose.rules.peers import Remark
    from sevbuild.diagnose.vmsa_dump import DumpComparison

__all__ = [
    "ANSWER_SCHEMA",
    "Answer",
    "Cause",
    "Expectation",
    "Explanation",
    "Line",
    "Parting",
    "Row",
    "Run",
    "answer_document",
]

ANSWER_SCHEMA = 1
"""The version of the shape of `explain --format json`."""

Result = Literal["equal", "found", "not-found"]


class Expectation(NamedTuple):
    """The digest that was expected (48 or 32 bytes), where it was read, and in what: a word of the JSON."""

    digest: bytes
    source: str
    kind: str


class Cause(NamedTuple):
    """One setting that is another: `says` ends "the launch that was measured has ..."; `source` is why."""

    setting: str
    says: str
    source: str


class Line(NamedTuple):
    """What to write in a manifest: `file` and `line` of a dotted key, values as TOML.

    `line` is None for a key that a `--set` flag has, `old` for one that is not there, `new` where it goes.
    """

    file: str
    line: int | None
    key: str
    old: str | None
    new: str | None


class Run(NamedTuple):
    """A launch plan, and the launch digest as it stands after each of its updates."""

    plan: LaunchPlan
    digests: tuple[bytes, ...]


class Row(NamedTuple):
    """One step of a launch: its number, what was launched, the launch digest after it."""

    step: int
    origin: str
    launch_digest: bytes


class Parting(NamedTuple):
    """Where two launches part: the first step after which their digests differ.

    `origin` is of that step, in the expected launch where it has one. `differs` says in what the step is
    another, a line each. The rows of either launch end with that step; a launch without it has none for it.
    """

    step: int
    origin: str
    differs: tuple[str, ...]
    guest: tuple[Row, ...]
    expected: tuple[Row, ...]


class Explanation(NamedTuple):
    """One launch that gives the expected digest, from the target that is nearest to it.

    `settings` are what is another, normalised: by name the guest's and the expected one. What is no launch of
    its own, a digest with its bytes reversed say, has no settings; `expected` is None then. `guest` is None
    where even the guest's launch is not known. `measured_by` are the words of a command that measures the
    expected launch of an IGVM file, where no manifest could be edited. `remarks` say what else is known by
    such a launch.
    """

    target: str
    sentence: str
    settings: Mapping[str, tuple[str, str]] = {}
    causes: tuple[Cause, ...] = ()
    edits: tuple[Line, ...] = ()
    parting: Parting | None = None
    guest: Run | None = None
    expected: Run | None = None
    remarks: tuple[Remark, ...] = ()
    measured_by: tuple[str, ...] = ()


class Answer(NamedTuple):
    """Why a digest is another: the explanations, the likeliest first, or what can be said without one.

    `also` are findings that need no search. `notes` are what else is to be known: what was not compared, what
    of a report enters no digest. `excluded`, `not_covered` and `next` are for a search that found nothing.
    `statistics` is empty where nothing was searched, `dump` None where no kernel log was given.
    """

    result: Result
    guest: str
    expected: Expectation
    sentence: str
    explanations: tuple[Explanation, ...] = ()
    also: tuple[Explanation, ...] = ()
    notes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    statistics: Mapping[str, Any] = {}
    dump: DumpComparison | None = None

    @property
    def told(self) -> list[Explanation]:
        """Return every explanation, that of the sentence first."""
        return sorted(
            (*self.explanations, *self.also), key=lambda explanation: explanation.sentence != self.sentence
        )


def answer_document(answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON-able document."""
    expected = answer.expected
    document = {
        "schema": ANSWER_SCHEMA,
        "result": answer.result,
        "guest": answer.guest,
        "expected": {"digest": expected.digest.hex(), "source": expected.source, "kind": expected.kind},
        "sentence": answer.sentence,
        "explanations": [_entry(found) for found in answer.explanations],
        "also": [_entry(found) for found in answer.also],
        "notes": list(answer.notes),
        "excluded": list(answer.excluded),
        "not_covered": list(answer.not_covered),
        "next": list(answer.next),
        "statistics": dict(answer.statistics),
    }
    if answer.dump is not None:
        from sevbuild.diagnose.vmsa_dump import dump_document

        document["vmsa_dump"] = dump_document(answer.dump)
    return document


def _entry(found: Explanation) -> dict[str, Any]:
    parting = found.parting
    return {
        "target": found.target,
        "sentence": found.sentence,
        "settings": {
            name: {"guest": guest, "expected": expected} for name, (guest, expected) in found.settings.items()
        },
        "changes": [cause._asdict() for cause in found.causes],
        "remarks": [remark._asdict() for remark in found.remarks],
        "edits": [line._asdict() for line in found.edits],
        "measured_by": list(found.measured_by),
        "evidence": None
        if parting is None
        else {
            "parts_at": parting.step,
            "origin": parting.origin,
            "differs": list(parting.differs),
            "guest": [_row(row) for row in parting.guest],
            "expected": [_row(row) for row in parting.expected],
        },
    }


def _row(row: Row) -> dict[str, Any]:
    return {"index": row.step, "origin": row.origin, "launch_digest": row.launch_digest.hex()}

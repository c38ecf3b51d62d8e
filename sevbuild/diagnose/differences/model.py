"""What a comparison of two files finds, as plain values: what differs and where, and where launches part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

__all__ = [
    "DIGEST",
    "LAUNCH",
    "LAUNCHED",
    "NOTE",
    "SAID_OF",
    "Cause",
    "Compared",
    "Detail",
    "Difference",
    "Launches",
    "Level",
    "Outcome",
    "Step",
    "StepSide",
    "difference_document",
]

LAUNCHED = ("manifest", "bundle", "release", "reference-values", "igvm", "plan")
"""The kinds of things that have launch digests."""

Level = Literal["digest", "launch", "note"]

DIGEST: Level = "digest"
"""It enters the launch digest, or would where what holds it is launched."""

LAUNCH: Level = "launch"
"""It enters no launch digest, and what is launched is another all the same: a policy, host data."""

NOTE: Level = "note"
"""The same is launched, and is called or written otherwise."""

SAID_OF = {LAUNCH: "enters no launch digest", NOTE: "only called or written otherwise"}
"""How a person is told of what enters no launch digest."""

Outcome = Literal["same", "different", "none"]
"""What became of the launch digests; `none` where the files compared have none."""


class Detail(NamedTuple):
    """One value that differs within a cause; `old` or `new` is None where there is none.

    `note` says more of both: where a profile has the value from, what writes a field of a kernel.
    """

    what: str
    old: str | None
    new: str | None
    note: str = ""


class Cause(NamedTuple):
    """One thing that differs, and no consequence of another.

    `kind` is an input's role, `cmdline`, `setting`, `profile`, `registers`, `launch-update`, `lock`, `name`.
    `where` is where each side says it (`guest.toml:12`, a document's key), empty where it does not. `targets`
    are the labels that it is of, empty for all that are compared, or where there are none.
    """

    kind: str
    title: str
    level: Level
    old: str | None
    new: str | None
    where: tuple[str, str] = ("", "")
    details: tuple[Detail, ...] = ()
    targets: tuple[str, ...] = ()


class StepSide(NamedTuple):
    """One launch update as one of two launches has it, and the launch digest after it.

    `number` counts from 0. `contents` is the digest of its contents (SHA-384 for SNP, else SHA-256), None
    where they are not measured, and in a step that both launches have alike.
    """

    number: int
    origin: str
    page_type: str
    gpa: int
    length: int
    contents: bytes | None
    launch_digest: bytes


class Step(NamedTuple):
    """One step of two launches: an update of each, or of one alone where the other has none like it.

    `differs` names what differs of the two, in the words of LaunchUpdate's fields. `details` are the
    registers of two VMSAs that differ, or the pages of two regions.
    """

    old: StepSide | None
    new: StepSide | None
    differs: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Tell whether both launches have this update alike."""
        return self.old is not None and self.new is not None and not self.differs


class Launches(NamedTuple):
    """Two launches side by side: that of a target, or of two targets that were paired.

    `parts_at` is the index into `steps` after which the running digests are no longer the same, None where
    they never part. `alike` are further pairs of labels that differ for the same causes. `steps` is empty
    where a side has no launch plan.
    """

    labels: tuple[str, str]
    digests: tuple[bytes, bytes]
    steps: tuple[Step, ...] = ()
    parts_at: int | None = None
    alike: tuple[tuple[str, str], ...] = ()


class Compared(NamedTuple):
    """One of the two things compared: its path as given, and what it is (`manifest`, `firmware`, ...)."""

    name: str
    kind: str


class Difference(NamedTuple):
    """What tells two files apart.

    `subject` says what is compared, such as `2 targets`, or why there is no digest. `causes` come in the
    order in which they should be read. `launches` are pairs whose digests differ, one for each set of
    causes; `same_targets` counts those whose digests are the same. `alone` are the labels that one side has
    alone. `not_compared` says what one side lacks.
    """

    old: Compared
    new: Compared
    subject: str
    digest: Outcome
    causes: tuple[Cause, ...] = ()
    launches: tuple[Launches, ...] = ()
    same_targets: int = 0
    alone: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    not_compared: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Tell whether the same is launched: what is only called otherwise does not count."""
        differs = any(cause.level != NOTE for cause in self.causes)
        return not differs and self.digest != "different" and not any(self.alone)


def difference_document(difference: Difference) -> dict[str, Any]:
    """Return the comparison as JSON has it."""
    return {
        "schema": 1,
        "old": difference.old._asdict(),
        "new": difference.new._asdict(),
        "subject": difference.subject,
        "same": difference.same,
        "digest": difference.digest,
        "causes": [_cause(cause) for cause in difference.causes],
        "launches": [_launches(pair) for pair in difference.launches],
        "same_targets": difference.same_targets,
        "alone": {"old": list(difference.alone[0]), "new": list(difference.alone[1])},
        "not_compared": list(difference.not_compared),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        **cause._asdict(),
        "where": {"old": cause.where[0] or None, "new": cause.where[1] or None},
        "details": _details(cause.details),
        "targets": list(cause.targets),
    }


def _details(details: Iterable[Detail]) -> list[dict[str, Any]]:
    return [detail._asdict() for detail in details]


def _launches(pair: Launches) -> dict[str, Any]:
    old, new = ({"label": pair.labels[side], "digest": pair.digests[side].hex()} for side in (0, 1))
    return {
        "old": old,
        "new": new,
        "parts_at": pair.parts_at,
        "steps": [
            {
                "old": _step_side(step.old),
                "new": _step_side(step.new),
                "differs": list(step.differs),
                "details": _details(step.details),
            }
            for step in pair.steps
        ],
        "alike": [{"old": old_label, "new": new_label} for old_label, new_label in pair.alike],
    }


def _step_side(side: StepSide | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "index": side.number,
        "origin": side.origin,
        "page_type": side.page_type,
        "gpa": hex(side.gpa),
        "length": hex(side.length),
        "contents_digest": None if side.contents is None else side.contents.hex(),
        "launch_digest": side.launch_digest.hex(),
    }

"""Why a digest is another where a kernel log has the VMSAs of the launch: compared, and not searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sevbuild.diagnose.answer import Answer, Cause, Explanation
from sevbuild.diagnose.change import Start
from sevbuild.diagnose.dumped import Dumped, of_bodies
from sevbuild.diagnose.explain import Explaining, Question, joined, nearest_first
from sevbuild.diagnose.not_found import Searched, excluded, next_steps, not_covered
from sevbuild.diagnose.parting import parting
from sevbuild.diagnose.search import search
from sevbuild.diagnose.settings import changed_settings
from sevbuild.diagnose.setup import Setup
from sevbuild.diagnose.statistics import statistics_document
from sevbuild.diagnose.vmsa_dump import DumpComparison, compare_dump, read_dump
from sevbuild.errors import SevbuildError
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from sevbuild.text import counted
from sevbuild.vcpu.save_area import VMSA_SIZE

__all__ = ["explain_dump"]

_SOURCE = "the VMSAs that KVM printed when it launched them"
_WHOLE = 1648
"""The bytes of a VMSA that today's kernels print; what follows is zero."""


class _Log(NamedTuple):
    """What a log has: its comparison with the plan of a start, and the launch with its VMSAs."""

    start: Start
    comparison: DumpComparison
    dumped: Dumped


def explain_dump(question: Question, text: str, source: str) -> Answer:
    """Return the answer where the log in `text` has the VMSAs of the launch that was measured.

    What the host started is known then: registers are compared, and only what comes before them is searched.
    Raises SevbuildError for what is no such log, and where several digests are expected.
    """
    digest = question.wanted.digest
    if digest is None:
        message = f"--vmsa-dump is of one launch, and {question.wanted.source} has a digest for each target"
        raise SevbuildError(message, hint="give the one digest that this launch should have had")
    starts = nearest_first(question.subject.starts, question.wanted)
    question = question._replace(subject=question.subject._replace(starts=starts))
    explaining = Explaining(question, digest)
    log = _read(explaining, text, source)
    if any(start.digest == digest for start in starts):
        answer = explaining.answer()
    elif explaining.launches.digest(log.dumped) == digest:
        answer = _of_registers(explaining, log)
    else:
        answer = _of_body(explaining, question, log)
    return answer._replace(dump=log.comparison)


def _read(explaining: Explaining, text: str, source: str) -> _Log:
    starts = explaining.subject.starts
    start = next((start for start in starts if start.setup.mode != "sev"), starts[0])
    plan = start.setup.plan(explaining.launches.planner)
    comparison = compare_dump(text, plan, source)
    own = _pages(plan)
    pages = []
    for vcpu, dump in enumerate(read_dump(text, source)):
        # Of what an older kernel does not print, the plan's is the only word.
        rest = bytes(VMSA_SIZE) if len(dump.data) >= _WHOLE else own[min(vcpu, len(own) - 1)]
        pages.append(dump.data + rest[len(dump.data) :])
    return _Log(start, comparison, Dumped(start.setup, tuple(pages)))


def _pages(plan: LaunchPlan) -> list[bytes]:
    return [b"".join(chunks(update.data or b"")) for update in plan.vmsas]


def _of_registers(explaining: Explaining, log: _Log) -> Answer:
    """Return the answer where the log's VMSAs account for all: a search says which settings these are of."""
    answer = explaining.answer()
    if answer.explanations:
        return answer
    own = _explanation(explaining, log, log.dumped, (), {})
    return answer._replace(
        result="found",
        sentence=own.sentence,
        explanations=(own,),
        excluded=(),
        not_covered=(),
        next=(),
    )


def _of_body(explaining: Explaining, question: Question, log: _Log) -> Answer:
    """Return the answer where what was launched before the VMSAs is another as well."""
    changes = of_bodies(explaining.changes_of(log.start))
    start, digest = log.start._replace(setup=log.dumped), explaining.expected.digest
    outcome = search([start], lambda _: changes, digest, question.limits)
    answer = Answer(
        "not-found",
        explaining.subject.title,
        explaining.expected,
        f"not found: no launch with the VMSAs of {log.comparison.source} has this digest",
        notes=explaining.notes,
        statistics=statistics_document(outcome.statistics),
    )
    for found in outcome.found[:1]:
        causes = [Cause(change.axis, change.says, change.source) for change in found.changes]
        launched = found.setup.setup if isinstance(found.setup, Dumped) else found.setup
        settings = changed_settings(log.start, launched, question.profiles)
        own = _explanation(explaining, log, found.setup, causes, settings)
        return answer._replace(result="found", sentence=own.sentence, explanations=(own,))
    suspects = question.candidates.has_firmware
    searched = Searched([log.start], changes, suspects, outcome.statistics, question.words, dumped=True)
    return answer._replace(
        excluded=excluded(searched, "with the VMSAs of the log"),
        not_covered=not_covered(searched),
        next=next_steps(searched),
    )


def _explanation(
    explaining: Explaining,
    log: _Log,
    launched: Setup,
    causes: Sequence[Cause],
    settings: dict[str, tuple[str, str]],
) -> Explanation:
    """Return what a launch with the VMSAs of the log comes to; `causes` are what else is another."""
    guest, expected = (explaining.launches.run(setup) for setup in (log.start.setup, launched))
    every = (*causes, *_of_log(log.comparison))
    label = log.start.label
    return Explanation(
        target=label,
        sentence=f"{label}: the launch that was measured has {joined(every)}",
        settings=settings,
        causes=every,
        parting=parting(guest, expected),
        guest=guest,
        expected=expected,
    )


def _of_log(comparison: DumpComparison) -> Iterator[Cause]:
    """Yield what the host did otherwise with the VMSAs, as far as the log has it."""
    if comparison.dumps != comparison.vcpus:
        says = f"{counted(comparison.dumps, 'vCPU')} instead of {comparison.vcpus}"
        yield Cause("vcpus", says, _SOURCE)
    changes = (change for difference in comparison.differences for change in difference.changes)
    names = list(dict.fromkeys(change.name for change in changes))
    if names:
        yield Cause("registers", f"other registers ({', '.join(names)})", _SOURCE)

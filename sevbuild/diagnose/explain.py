"""Why a guest's launch digest is not the expected one: free comparisons, then a search, then an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.answer import Answer, Cause, Expectation, Explanation
from sevbuild.diagnose.candidates import Candidates
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.free import Finding, equal_starts, findings
from sevbuild.diagnose.launches import Launches
from sevbuild.diagnose.manifest_lines import manifest_lines
from sevbuild.diagnose.not_found import Searched, excluded, next_steps, not_covered
from sevbuild.diagnose.parting import parting
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.peers import remarks_on
from sevbuild.diagnose.search import QUICK, Found, Limits, Outcome, search
from sevbuild.diagnose.settings import changed_settings, settings_of
from sevbuild.diagnose.statistics import statistics_document
from sevbuild.errors import SevbuildError
from sevbuild.text import counted
from sevbuild.vcpu.models import signature_text

if TYPE_CHECKING:
    from sevbuild.diagnose.change import Change, Start
    from sevbuild.diagnose.starts import Subject
    from sevbuild.diagnose.wanted import Wanted
    from sevbuild.launch.profile import LaunchProfile

__all__ = ["Explaining", "Question", "explain", "joined", "nearest_first"]

_SNP_SIZE = 48
_MOST_SHOWN = 10
"""The explanations of one digest that are worked out: the first is the likeliest."""
_OF_PROFILES = ("profile", "registers", "entry", "measured-vcpus", "vmsa-gpa", "page-types", "sections")
"""What a profile says, as a whole or value by value."""
_OPTIONS = {"loader", "mode", "cpu"}
"""What `measure` has options for, of an IGVM file; the number of vCPUs is one as well."""
_SHARE = 0.25
"""The part of the time for the combinations of what somebody named, before anything else is tried."""
_SOURCE_OF_COUNTS = "every measured vCPU has a VMSA of its own"


class Question(NamedTuple):
    """What is asked: why this guest has not the digest that was expected.

    `profiles` are those that the guest may have been launched by. `words` are those of a command line that
    name the guest and what was expected, and the options that say which launch of the guest is meant.
    """

    subject: Subject
    wanted: Wanted
    profiles: Sequence[LaunchProfile]
    candidates: Candidates = Candidates()
    limits: Limits = Limits()
    words: tuple[str, ...] = ("GUEST", "EXPECTED")


def explain(question: Question) -> Answer:
    """Return the answer; raises SevbuildError where there is nothing to compare."""
    subject, wanted = question.subject, question.wanted
    digest = wanted.digest
    if digest is None:
        return _explain_document(question)
    subject = subject._replace(starts=nearest_first(subject.starts, wanted))
    return Explaining(question._replace(subject=subject), digest).answer()


def nearest_first(starts: Sequence[Start], wanted: Wanted) -> tuple[Start, ...]:
    """Return launches with what a report says of the host, those first that are the likeliest near it."""
    digest, host = wanted.digest, wanted.host

    def distance(start: Start) -> tuple[bool, bool]:
        signature = getattr(getattr(start.setup, "shape", start.setup), "signature", None)
        return (
            digest is not None and len(digest) != len(start.digest),
            host.signature is not None and signature != host.signature,
        )

    return tuple(start._replace(host=host) for start in sorted(starts, key=distance))


def _explain_document(question: Question) -> Answer:
    """Return why the first target that differs does, and for how many others that is the cause as well."""
    subject, wanted = question.subject, question.wanted
    named = {start.label: start for start in subject.starts}
    pairs = [(named[label], digest) for label, digest in wanted.digests.items() if label in named]
    if not pairs:
        hint = f"its targets are called otherwise, such as {next(iter(wanted.digests), 'none at all')}"
        raise SevbuildError(f"{wanted.source}: no target of the guest is in it", hint=hint)
    notes = []
    if len(pairs) < len(named):
        missing = len(named) - len(pairs)
        notes.append(f"{counted(missing, 'target')} of the guest not compared: {wanted.source} lacks them")
    extra = len(wanted.digests.keys() - named.keys() - {start.label for start in subject.others})
    if extra:
        notes.append(
            f"{counted(extra, 'target')} of {wanted.source} not compared: the guest has none like it"
        )
    differing = [(start, digest) for start, digest in pairs if start.digest != digest]
    if not differing:
        expected = Expectation(pairs[0][1], wanted.source, wanted.kind)
        sentence = f"{counted(len(pairs), 'target')}: each has the expected launch digest"
        return Answer("equal", subject.title, expected, sentence, notes=(*subject.notes, *notes))
    (first, digest), *others = differing
    rest = (start for start in subject.starts if start is not first)
    alone = subject._replace(starts=nearest_first([first], wanted), others=(*rest, *subject.others))
    if first.setup.mode != "snp" and len(digest) != len(first.digest):
        message = f"{wanted.source}: {len(digest)} bytes are no launch digest of {first.label}"
        hint = "LAUNCH_MEASURE answers with 48 bytes: give them alone, with --tik FILE --api X.Y --build N"
        raise SevbuildError(message, hint=hint)
    explaining = Explaining(question._replace(subject=alone), digest)
    answer = explaining.answer()
    notes.append(f"{len(differing)} of {counted(len(pairs), 'target')} differ; explained is {first.label}")
    if others and explaining.found:
        alike = sum(explaining.is_cause_of(start, other) for start, other in others)
        notes.append(f"{alike} of the {counted(len(others), 'other')} differ by the same cause")
    return answer._replace(notes=(*answer.notes, *notes))


class Explaining:
    """One digest, and the launches that it is looked for from."""

    def __init__(self, question: Question, digest: bytes) -> None:
        self._question = question
        self.subject = question.subject
        self._digest = digest
        self.launches = Launches()
        self._changes: dict[tuple[str, str], Change] = {}
        self.found: tuple[Found, ...] = ()

    @property
    def expected(self) -> Expectation:
        """Return what was expected, as the answer has it."""
        return Expectation(self._digest, self._question.wanted.source, self._question.wanted.kind)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is to be known of the guest, of the candidates and of the report."""
        candidates = self._question.candidates.notes
        return (*self.subject.notes, *candidates, *self._enters_no_digest(self.subject.starts[0]))

    def answer(self) -> Answer:
        """Return the answer: equal, found without a search, or what the search comes to."""
        question, subject = self._question, self.subject
        expected = self.expected
        equal = equal_starts(subject, self._digest)
        if equal:
            labels = [start.label for start in equal]
            more = f" (and of {counted(len(labels) - 1, 'other target')})" if len(labels) > 1 else ""
            sentence = f"equal: it is the launch digest of {labels[0]}{more}"
            notes = (*self.notes, "only the digest was compared")
            return Answer("equal", subject.title, expected, sentence, notes=notes)
        found = findings(subject, self._digest, question.candidates.releases, self.launches)
        notes = self.notes
        limits = question.limits
        if found and not any(item.whole for item in found):
            # The cause is known; what makes it a launch as well, if anything, is near.
            limits = limits._replace(budget=min(limits.budget, QUICK.budget), after_match=QUICK.after_match)
        return self._searched(self._search(limits), found, expected, notes)

    def is_cause_of(self, start: Start, digest: bytes) -> bool:
        """Tell whether another launch has another digest by the changes that were found first."""
        first = self.found[0]
        try:
            setup = start.setup
            for change in first.changes:
                setup = change.apply(setup)
            if first.vcpus != first.start.setup.vcpus:
                setup = setup.with_vcpus(first.vcpus)
            return self.launches.digest(setup) == digest
        except SevbuildError:
            return False

    def _search(self, limits: Limits) -> Outcome:
        """Return what a search finds: among what somebody named alone, else among all that is known."""
        starts = self.subject.starts
        named = self._question.candidates.changes
        if named:
            few = limits._replace(budget=limits.budget * _SHARE)
            outcome = search(starts, lambda _: named, self._digest, few)
            if outcome.found:
                return outcome
            limits = limits._replace(budget=max(limits.budget - outcome.statistics.seconds, 0))
        return search(starts, self.changes_of, self._digest, limits)

    def _searched(
        self, outcome: Outcome, found: Sequence[Finding], expected: Expectation, notes: tuple[str, ...]
    ) -> Answer:
        title, statistics = self.subject.title, statistics_document(outcome.statistics)
        self.found = outcome.found
        explanations = tuple(self._explanations(outcome.found))
        # A launch says more than a step of another.
        told = [item for item in found if item.other is not None or not (item.step and explanations)]
        also = tuple(self._told(item) for item in told)
        if explanations or also:
            # Which target it is says more than what would have to be changed.
            first = also if found and found[0].other is not None else (*explanations, *also)
            sentence = first[0].sentence
            return Answer(
                "found", title, expected, sentence, explanations, also, notes, statistics=statistics
            )
        suspects, words = self._question.candidates.has_firmware, self._question.words
        searched = Searched(
            self.subject.starts, tuple(self._changes.values()), suspects, outcome.statistics, words
        )
        return Answer(
            "not-found",
            title,
            expected,
            f"not found: no launch near those of {title} has this digest",
            notes=notes,
            excluded=excluded(searched),
            not_covered=not_covered(searched),
            next=next_steps(searched),
            statistics=statistics,
        )

    def changes_of(self, start: Start) -> Sequence[Change]:
        """Return the single changes of a launch: the candidates, then those of the rules."""
        changes = [*self._question.candidates.changes, *changes_for(start, self._question.profiles)]
        for change in changes:
            # Of what many launches have, one is enough: the search holds those of a few launches alone.
            self._changes.setdefault((change.axis, change.value), change)
        return changes

    def _explanations(self, found: Sequence[Found]) -> Iterator[Explanation]:
        """Yield what each launch that was found comes to, those once that are the same launch."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        for item in found:
            key = tuple(sorted(settings_of(item.setup, self._question.profiles).items()))
            if key not in seen and len(seen) < _MOST_SHOWN:
                seen.add(key)
                yield self._explanation(item)

    def _nearest(self, found: Found) -> Found:
        """Return what was found from the target nearest in vCPUs, of those that differ in nothing else.

        The search starts from one of them.
        """
        alike = found.start.setup.with_vcpus(1)
        starts = [start for start in self.subject.starts if start.setup.with_vcpus(1) == alike]
        nearest = min(starts, key=lambda start: abs(start.setup.vcpus - found.vcpus), default=found.start)
        return found._replace(start=nearest)

    def _by_profile(self, found: Found) -> Found:
        """Return what was found said by the profile that launches so, where it was by single values of one.

        A manifest names profiles; which of two ways to the same launch is met first is a matter of order.
        """
        settings = changed_settings(found.start, found.setup, self._question.profiles)
        _, name = settings.get("profile", ("", ""))
        changes = [change for change in found.changes if change.axis not in _OF_PROFILES]
        profile = self._changes.get(("profile", name))
        if profile is None or profile.apply(found.start.setup) == found.start.setup:
            return found
        try:
            setup = found.start.setup
            for change in (profile, *changes):
                setup = change.apply(setup)
            setup = setup.with_vcpus(found.vcpus)
            same = self.launches.digest(setup) == self._digest
        except SevbuildError:
            return found
        return found._replace(changes=(profile, *changes), setup=setup) if same else found

    def _explanation(self, found: Found) -> Explanation:
        found = self._by_profile(self._nearest(found))
        start, counts = found.start, found.vcpus != found.start.setup.vcpus
        causes = [Cause(change.axis, change.says, change.source) for change in found.changes]
        if counts:
            says = f"{counted(found.vcpus, 'vCPU')} instead of {start.setup.vcpus}{_started_as(found)}"
            causes.append(Cause("vcpus", says, _SOURCE_OF_COUNTS))
        document = self.subject.documents.get(start.label)
        guest, expected = self.launches.run(start.setup), self.launches.run(found.setup)
        profiles = self._question.profiles
        settings = changed_settings(start, found.setup, profiles)
        return Explanation(
            target=start.label,
            sentence=f"{start.label}: the launch that was measured has {joined(causes)}",
            settings=settings,
            causes=tuple(causes),
            edits=()
            if document is None
            else manifest_lines(document, found.changes, found.vcpus if counts else None),
            parting=parting(guest, expected),
            guest=guest,
            expected=expected,
            measured_by=_measured_by(found) if document is None else (),
            remarks=tuple(remarks_on(settings, settings_of(found.setup, profiles))),
        )

    def _told(self, finding: Finding) -> Explanation:
        sentence = f"{finding.target}: {finding.sentence}"
        if finding.other is None:
            return Explanation(finding.target, sentence)
        start = self.subject.starts[0]
        guest, expected = (self.launches.run(setup) for setup in (start.setup, finding.other.setup))
        settings = changed_settings(start, finding.other.setup, self._question.profiles)
        return Explanation(start.label, sentence, settings, (), (), parting(guest, expected), guest, expected)

    def _enters_no_digest(self, start: Start) -> Iterator[str]:
        """Yield what a report says otherwise than the guest, of what no digest has."""
        wanted, host = self._question.wanted, self._question.wanted.host
        yield from wanted.notes
        if all(len(start.digest) != len(self._digest) for start in self.subject.starts):
            size, modes = len(self._digest), ", ".join(sorted(self.subject.modes))
            whose = "SNP" if size == _SNP_SIZE else "SEV or SEV-ES"
            yield f"{size} bytes are a launch digest of {whose}; the guest is {modes}"
        policy = self.subject.policies.get(start.label)
        if host.policy is not None and policy is not None and host.policy != policy:
            given = f"policy is {host.policy:#x}, the guest's {policy:#x}: it enters no digest"
            if wanted.kind == "id-block":
                yield f"the ID block's {given}, but SNP_LAUNCH_FINISH refuses the guest (POLICY_FAILURE)"
            else:
                yield f"the report's {given}; `sevbuild verify` holds it to what was published"
        if host.vmpl:
            yield f"the report was asked for at VMPL {host.vmpl}, which enters no digest"


def _measured_by(found: Found) -> tuple[str, ...]:
    """Return the words that measure a launch of an IGVM file, none where options cannot say what it has."""
    setup = found.setup
    if not isinstance(setup, FileLaunch) or {change.axis for change in found.changes} - _OPTIONS:
        return ()
    words = ("sevbuild", "measure", setup.file.path, "--loader", setup.loader, "--mode", setup.mode)
    if setup.vcpus == setup.described:
        return words
    cpu = () if setup.signature is None else ("--cpu", signature_text(setup.signature))
    return (*words, "--vcpus", str(setup.vcpus), *cpu)


def _started_as(found: Found) -> str:
    """Return as what vCPUs start that an IGVM file does not describe, empty where there are none."""
    setup = found.setup
    if not isinstance(setup, FileLaunch) or any(change.axis == "cpu" for change in found.changes):
        return ""
    if setup.signature is None or setup.vcpus <= setup.described:
        return ""
    return f" (those beyond {setup.described} with CPU signature {signature_text(setup.signature)})"


def joined(causes: Sequence[Cause]) -> str:
    """Return what causes say, as the end of a sentence."""
    words = [cause.says for cause in causes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

"""Why a digest does not match, in one line below a verb that was about something else.

Imported only where something differs; what it says goes to standard error, and changes no exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.cli.report import on_github, print_message
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer
    from sevbuild.diagnose.starts import Subject
    from sevbuild.diagnose.wanted import Wanted
    from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
    from sevbuild.guest.guest import Guest
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = [
    "Asking",
    "asking_of_file",
    "asking_of_guest",
    "asking_of_launch",
    "asking_of_values",
    "cause_hint",
    "print_cause",
]

_MOST_TARGETS = 4096
"""More of them take too long to be measured beside a search of less than a second."""


class Asking(NamedTuple):
    """The guest of a run as `explain` would be asked for it: the words that name it, and its launches.

    `subject` gives the launches of the targets that patterns pick.
    """

    words: tuple[str, ...]
    subject: Callable[[Sequence[str]], Subject]


def asking_of_guest(guest: Guest, path: str, settings: Sequence[str] = ()) -> Asking:
    """Return how to ask for a manifest's guest, which was measured with these `--set` flags."""
    from sevbuild.diagnose.starts import subject_of_guest

    words = [path, *(word for setting in settings for word in ("--set", setting))]
    # The digest may be that of a target which was not asked for.
    alone = len(guest.targets) > _MOST_TARGETS
    return Asking(tuple(words), lambda patterns: subject_of_guest(guest, patterns, alone=alone))


def asking_of_values(path: str, values: ReferenceValues) -> Asking:
    """Return how to ask for the guest of a document, a release or a bundle."""
    from sevbuild.diagnose.starts import subject_of_values

    return Asking((path,), lambda patterns: subject_of_values(path, values, patterns))


def asking_of_file(file: ForeignFile, launch: ForeignLaunch, words: Sequence[str] = ()) -> Asking:
    """Return how to ask for an IGVM file, launched with the options that `words` are."""
    from sevbuild.diagnose.change import Material
    from sevbuild.diagnose.starts import subject_of_file

    return Asking((file.path, *words), lambda patterns: subject_of_file(file, launch, patterns, Material()))


def asking_of_launch(file: ForeignFile, values: ReferenceValues, value: Value) -> Asking:
    """Return how to ask for an IGVM file that is launched as it was for a published value."""
    from sevbuild.reference.igvm_file import launch_of
    from sevbuild.vcpu.models import signature_text

    launch = launch_of(values, value)._replace(loaders=())
    words = ["--mode", value.mode]
    words += [] if launch.vcpus is None else ["--vcpus", str(launch.vcpus)]
    words += [] if launch.signature is None else ["--cpu", signature_text(launch.signature)]
    return asking_of_file(file, launch, words)


def cause_hint(asking: Asking, label: str, digest: bytes) -> str:
    """Return why a target has not this digest, where a quick search finds it; else how to ask for more."""
    from sevbuild.diagnose.wanted import Wanted

    wanted = Wanted("digest", "the digest expected", {"": digest})
    return _hint(asking, wanted, digest.hex(), [label]) or ""


def print_cause(asking: Asking, wanted: Wanted, word: str, patterns: Sequence[str]) -> None:
    """Print the same of a report, `word` of the command line, held to the targets that patterns pick."""
    hint = _hint(asking, wanted, word, patterns)
    if hint is not None:
        print_message(hint, level="hint")


def _hint(asking: Asking, wanted: Wanted, word: str, patterns: Sequence[str]) -> str | None:
    """Return the one line, None where the digest is the expected one."""
    words = [*asking.words, word, *(part for pattern in patterns for part in ("--target", pattern))]
    command = f"`{shlex.join(['sevbuild', 'explain', *words])}`"
    try:
        answer = _quick_answer(asking.subject(patterns), wanted)
    except SevbuildError:
        # What no launch can be laid out of, `explain` refuses with the reason.
        return f"{command} looks for the cause"
    if answer.result == "equal":
        return None
    if answer.result == "not-found":
        return f"{command} looks further for the cause"
    if on_github():
        from sevbuild.cli.github import report_cause

        report_cause(answer.sentence)
    return f"{answer.sentence}{_edit(answer)}; {command} shows more"


def _quick_answer(subject: Subject, wanted: Wanted) -> Answer:
    from sevbuild.diagnose.explain import Question, explain
    from sevbuild.diagnose.measurement import explain_measurement, is_measurement
    from sevbuild.diagnose.search import QUICK
    from sevbuild.diagnose.starts import known_profiles

    if is_measurement(subject, wanted):
        return explain_measurement(subject, wanted, None)
    return explain(Question(subject, wanted, known_profiles(subject), limits=QUICK))


def _edit(answer: Answer) -> str:
    from sevbuild.cli.explained import edit_text

    lines = answer.explanations[0].edits if answer.explanations else ()
    # The gap after the place is for lines below one another; further ones are of a value.
    texts = [
        edit_text(line) if line.file == "--set" else edit_text(line).replace("  ", " ", 1) for line in lines
    ]
    return f" ({', '.join(texts)})" if texts else ""

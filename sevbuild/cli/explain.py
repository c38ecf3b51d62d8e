"""`sevbuild explain`: why a launch digest is not the expected one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.cli.output import FORCE, protect
from sevbuild.cli.pictures import OUTPUT, PICTURES, Output, named_files
from sevbuild.cli.report import print_notices, shown_progress
from sevbuild.errors import MismatchError, Notice, SevbuildError

if TYPE_CHECKING:
    from sevbuild.diagnose.answer import Answer
    from sevbuild.diagnose.measurement import Platform
    from sevbuild.diagnose.starts import Subject
    from sevbuild.diagnose.wanted import Wanted
    from sevbuild.guest.guest import Guest

__all__ = ["explain"]

FORMATS = ("text", "json", *PICTURES)
_MOST_SECONDS = 86400.0
_NO_EDIT = "a bundle is not edited: edit the manifest that it was built from, and build it anew"

GUEST: Any = typer.Argument(
    ...,
    metavar="GUEST",
    help="The manifest, a bundle, a release, reference values, others' ingredients, or an IGVM file.",
    show_default=False,
)
EXPECTED: Any = typer.Argument(
    ...,
    metavar="EXPECTED",
    help="What it should have been: a launch digest in hexadecimal or base64, an attestation report, an ID "
    "block (- is standard input for these), or reference values.",
    show_default=False,
)

_candidate = partial(options.value_option, default=[], panel="What may have been launched instead")
_owner = partial(options.value_option, panel="For the 48 bytes that LAUNCH_MEASURE answers")


class SuspectOptions(NamedTuple):
    """Files and releases that somebody suspects."""

    firmware: list[str] = _candidate(
        "--firmware", metavar="PATH", text="A firmware image, or a folder of them; may be repeated."
    )
    kernel: list[str] = _candidate("--kernel", metavar="FILE", text="A kernel; may be repeated.")
    initrd: list[str] = _candidate("--initrd", metavar="FILE", text="An initrd; may be repeated.")
    cmdline: list[str] = _candidate(
        "--cmdline", metavar="FILE", text="A file with a command line; may be repeated."
    )
    dtb: str = _candidate(
        "--dtb", metavar="FILE", text="The device tree given to QEMU with the kernel.", default=""
    )
    releases: list[str] = _candidate(
        "--releases",
        metavar="PATH",
        text="An earlier release, bundle or reference values, or a folder of these; may be repeated.",
    )


class OwnerOptions(NamedTuple):
    """What a measurement of an SEV or SEV-ES guest is compared with."""

    tik: str = _owner("--tik", metavar="FILE", text="The TIK of the session.")
    api: str = _owner("--api", metavar="X.Y", text="API major and minor of the host's firmware.")
    build: str = _owner("--build", metavar="N", text="The build of the host's firmware.")

    def platform(self) -> Platform | None:
        """Return what they say, None where none is given; raises SevbuildError for a part of them."""
        from sevbuild.appraise.sev_session import read_transport_keys
        from sevbuild.cli.session_options import read_number
        from sevbuild.diagnose.measurement import Platform

        if not any(self):
            return None
        if not all(self):
            raise SevbuildError("--tik, --api and --build belong together")
        major, dot, minor = self.api.partition(".")
        if not (major and dot and minor):
            raise SevbuildError(f"--api {self.api}: not a major and a minor version", hint="such as 1.55")
        return Platform(
            read_transport_keys("", self.tik, "", "").tik,
            read_number("--api", major, 0xFF),
            read_number("--api", minor, 0xFF),
            read_number("--build", self.build, 0xFF),
        )


def explain(
    guest: str = GUEST,
    expected: str = EXPECTED,
    *,
    target: list[str] = options.TARGETS,
    budget: float = typer.Option(5.0, "--budget", metavar="SECONDS", help="How long to search."),
    suspects: SuspectOptions,
    vmsa_dump: str = options.value_option(
        "--vmsa-dump", metavar="FILE", text="A kernel log with the VMSAs that KVM launched: exact, no search."
    ),
    stats: bool = typer.Option(False, "--stats", help="Print what was tried, stage by stage."),
    owner: OwnerOptions,
    fmt: str = options.format_option(*FORMATS),
    output: str = OUTPUT,
    force: bool = FORCE,
    settings: list[str] = options.SETTINGS,
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Tell why a guest's launch digest is not the expected one, and what to edit.

    The launches near the guest are searched for the one with that digest: other vCPU counts, CPUs, features,
    hypervisors and hosts, orders, command lines, and files that are named as candidates. What is found was
    planned and measured again. Exit 0 where the cause is found or the digest is equal, 1 where not. html is a
    page with both launches side by side, svg their memory maps alone.
    """
    from sevbuild.bundle.published import bundle_at
    from sevbuild.diagnose.wanted import read_wanted

    options.check_format(fmt, FORMATS)
    if not 0 < budget <= _MOST_SECONDS:
        raise SevbuildError(f"--budget {budget:g}: not between 0 and {_MOST_SECONDS:g} seconds")
    if stats and fmt == "svg":
        raise SevbuildError("--stats: a map shows no statistics", hint="--format text or html; json has them")
    if stats and fmt == "json":
        raise SevbuildError("--stats has no effect: the JSON has them in any case", hint="leave it out")
    sink = Output(output, force=force, quiet=quiet)
    if guest == expected == "-":
        raise SevbuildError("- stands for GUEST and EXPECTED", hint="standard input can be read once")
    platform = owner.platform()
    wanted = read_wanted(expected)
    subject, notices, own = _subject(guest, target, suspects, settings, igvm, lock)
    print_notices(notices, quiet=quiet)
    directory = "." if own is None else own.manifest.directory
    answer = _measured(subject, wanted, platform, {**suspects._asdict(), "vmsa-dump": vmsa_dump})
    if answer is None:
        words = (guest, expected, *_meant(target, settings), *igvm.words())
        answer = _searched(subject, wanted, directory, suspects, budget=budget, words=words, dump=vmsa_dump)
    if any(found.edits for found in answer.explanations) and bundle_at(guest) is not None:
        # Its checksums hold the manifest that is in it.
        answer = answer._replace(notes=(*answer.notes, _NO_EDIT))
    suspected = (suspects.firmware, suspects.kernel, suspects.initrd, suspects.cmdline, suspects.releases)
    named = (guest, expected, vmsa_dump, suspects.dtb, owner.tik, *chain.from_iterable(suspected))
    protected = protect(documents=named_files(filter(None, named)), given=settings)
    if own is not None:
        protected.add_guest(guest, own)
        protected.add_lock(guest, lock.lock_file)
    sink.put(_rendered(answer, fmt, stats=stats, printed=output in ("", "-")), protected, data=fmt != "text")
    if answer.result == "not-found":
        raise typer.Exit(1)


def _meant(patterns: Sequence[str], settings: Sequence[str]) -> Iterator[str]:
    """Yield the options that say which launch of a declared guest is meant."""
    for flag, values in (("--set", settings), ("--target", patterns)):
        for value in values:
            yield from (flag, value)


def _rendered(answer: Answer, fmt: str, *, stats: bool, printed: bool) -> str:
    if fmt == "json":
        from sevbuild.diagnose.answer import answer_document
        from sevbuild.documents.json_text import json_text

        return json_text(answer_document(answer))
    from sevbuild.cli.explained import answer_text, tried_lines

    if fmt == "text":
        return answer_text(answer, stats=stats, printed=printed)
    from sevbuild.cli.pictures import comparison_text
    from sevbuild.diagnose.drawn import answer_picture

    picture = answer_picture(answer, tried_lines(answer, stats=stats))
    if fmt == "svg" and answer.result == "not-found":
        raise MismatchError(answer.sentence, hint="--format html says what is excluded, and what to get next")
    return comparison_text(picture, fmt)


def _subject(
    path: str,
    patterns: Sequence[str],
    suspects: SuspectOptions,
    settings: list[str],
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
) -> tuple[Subject, Sequence[Notice], Guest | None]:
    """Return the guest at a path, what is to be known of it, and what it is declared as, if it is."""
    from sevbuild.bundle.published import bundle_at, is_document
    from sevbuild.diagnose import starts

    manifest_only = {"--set": settings, "--dtb": suspects.dtb}
    if igvm.are_for(path, lock, {**manifest_only, "--firmware": suspects.firmware}):
        return *_of_file(path, patterns, igvm), None
    if bundle_at(path) is not None:
        from sevbuild.bundle.verify import bundled_guest

        _refuse(manifest_only, "a bundle")
        lock.refuse()
        guest = bundled_guest(path, progress=shown_progress())
        return starts.subject_of_guest(guest, patterns), guest.notices, guest
    if is_document(path):
        _refuse(manifest_only, "a document")
        lock.refuse()
        return starts.subject_of_document(path, patterns), (), None
    guest, held = lock.load(path, settings)
    subject = starts.subject_of_guest(guest, patterns, _device_tree(suspects.dtb))
    held(guest, guest.targets)
    if suspects.dtb and not any(start.material.kernel for start in subject.starts):
        raise SevbuildError("--dtb: no kernel of this guest is at hand, to which it would be appended")
    return subject, guest.notices, guest


def _refuse(given: dict[str, Any], what: str) -> None:
    for flag, value in given.items():
        if value:
            raise SevbuildError(f"{flag} is for a manifest, not for {what}")


def _device_tree(path: str) -> bytes | None:
    from sevbuild.fs import read_file

    return read_file(path, _LARGEST_TREE) if path else None


_LARGEST_TREE = 16 << 20


def _of_file(
    path: str, patterns: Sequence[str], igvm: options.IgvmOptions
) -> tuple[Subject, Sequence[Notice]]:
    from sevbuild.diagnose.change import Material
    from sevbuild.diagnose.file_contents import FileContents
    from sevbuild.diagnose.starts import subject_of_file
    from sevbuild.guest.foreign import ForeignFile

    file = ForeignFile(path, shown_progress())
    launch, kernel = igvm.launch()
    material = Material()
    if kernel is not None and igvm.with_kernel is not None:
        initrds = [name for name in (igvm.with_initrd,) if name is not None]
        material = Material(
            cmdline=kernel.cmdline,
            kernel=partial(FileContents, [igvm.with_kernel]),
            initrd=tuple(partial(FileContents, [name]) for name in initrds),
        )
    return subject_of_file(file, launch, patterns, material), file.notices


def _measured(
    subject: Subject, wanted: Wanted, platform: Platform | None, others: dict[str, Any]
) -> Answer | None:
    """Return the answer on the 48 bytes of LAUNCH_MEASURE, None where it is a digest that was given.

    `others` are the options of a search, by their names. Raises SevbuildError for options of the one with
    the other.
    """
    from sevbuild.diagnose.measurement import explain_measurement, is_measurement

    if is_measurement(subject, wanted):
        for flag, value in others.items():
            if value:
                raise SevbuildError(f"--{flag} is for a search, and a measurement is compared, not searched")
        return explain_measurement(subject, wanted, platform)
    if platform is not None:
        raise SevbuildError(
            "--tik, --api and --build are for the 48 bytes that LAUNCH_MEASURE answers in mode sev or sev-es"
        )
    return None


def _searched(
    subject: Subject,
    wanted: Wanted,
    directory: str,
    suspects: SuspectOptions,
    *,
    budget: float,
    words: tuple[str, ...],
    dump: str,
) -> Answer:
    from sevbuild.diagnose.candidates import Asked, Release, find_candidates
    from sevbuild.diagnose.explain import Question
    from sevbuild.diagnose.explain import explain as explained
    from sevbuild.diagnose.search import Limits
    from sevbuild.diagnose.starts import known_profiles

    asked = Asked(suspects.firmware, suspects.kernel, suspects.initrd, suspects.cmdline, suspects.releases)
    published = None if wanted.values is None else Release(wanted.source, wanted.values)
    candidates = find_candidates(asked, subject.starts, directory, published)
    question = Question(subject, wanted, known_profiles(subject), candidates, Limits(budget=budget), words)
    if not dump:
        return explained(question)
    from sevbuild.diagnose.explain_dump import explain_dump
    from sevbuild.diagnose.log_text import read_log

    return explain_dump(question, read_log(dump), dump)

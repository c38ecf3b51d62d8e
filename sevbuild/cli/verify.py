"""`sevbuild verify`: whether a guest, a bundle, or what was published, is right."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report_options import ReportOptions
from sevbuild.cli.verify_values import Asked, verify_bundle, verify_values
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sevbuild.attest.appraisal import Published
    from sevbuild.attest.named_target import NamedTarget
    from sevbuild.attest.result import Verdict
    from sevbuild.cli.cause import Asking
    from sevbuild.guest.guest import Guest
    from sevbuild.reference.model import ReferenceValues

__all__ = ["verify"]

_COSE_SIGN1 = (b"\xd2", b"\x84")
"""How a signed CoRIM begins, which is binary and no report."""

FILES: Any = typer.Argument(
    ...,
    metavar="FILE...",
    help="Attestation reports (- is standard input), or a bundle, reference-values.json, the folder of a release.",
    show_default=False,
)


def verify(
    files: list[str] = FILES,
    *,
    asked: Asked,
    lock: options.LockOptions,
    reports: ReportOptions,
    key: str = options.value_option(
        "--key",
        metavar="PUB",
        text="Exit 1 unless what was published is signed by this public key (PEM): the release or envelope "
        "that is verified, or for reports what --against names.",
    ),
    fmt: str = typer.Option(
        "table", "--format", "-f", metavar="table|json", help="The output format of verdicts and comparisons."
    ),
    quiet: bool = options.QUIET,
) -> None:
    """Hold attestation reports to what was published, measure a bundle again, or check reference values.

    A report is verified where AMD's processor signed it and its guest is a target of --against: every check
    is listed, and the last line says what was not checked. A bundle that agrees with itself is consistent;
    whether it is the right one, only --against or --expect can tell. Reference values without --against are
    held to their own ingredients; with it, each target is equal or different, and the input that differs is
    named. Exit 1 where anything is not right.
    """
    from sevbuild.bundle.published import bundle_at

    as_json = options.wants_json(fmt, "table")
    if any(_is_report(path, asked=reports.given != "") for path in files):
        _verify_reports(files, asked, lock, reports, key=key, fmt=fmt, quiet=quiet)
        return
    file, *more = files
    if more:
        hint = f"`sevbuild verify {file} --against {more[0]}` compares the two, `sevbuild diff` shows what changed"
        raise SevbuildError(f"unexpected argument: {more[0]!r}", hint=hint)
    reports.refuse(file)
    if _signed(file, key, asked, lock, as_json=as_json):
        return
    if bundle_at(file) is None:
        verify_values(file, asked, lock, fmt=fmt, quiet=quiet)
        return
    if asked.settings or as_json:
        raise SevbuildError("--set and --format are for reports and reference values, not for a bundle")
    lock.refuse()
    if (asked.target or asked.release) and not (asked.other or asked.expect):
        message = "--target and --release require something to compare a bundle with"
        raise SevbuildError(message, hint="--against PATH, --expect PATH")
    verify_bundle(file, asked, quiet=quiet)


def _is_report(path: str, *, asked: bool) -> bool:
    """Tell whether a path is to be taken for evidence, as a binary file of no known kind is.

    Of a pipe, which can be read once, it is what was `asked` for: whether options say how to verify a report.
    """
    from sevbuild.appraise.evidence import holds_evidence
    from sevbuild.fs import is_regular, read_range
    from sevbuild.kind import HEAD_SIZE, kind_of

    if path == "-" or holds_evidence(path):
        return True
    if not is_regular(path):
        return asked and os.path.exists(path) and not os.path.isdir(path)
    head = read_range(path, 0, HEAD_SIZE)
    return b"\0" in head and kind_of(head) is None and head[:1] not in _COSE_SIGN1


def _verify_reports(
    files: list[str],
    asked: Asked,
    lock: options.LockOptions,
    reports: ReportOptions,
    *,
    key: str,
    fmt: str,
    quiet: bool,
) -> None:
    """Print the verdicts on reports; raises typer.Exit(1) where one does not hold.

    Raises SevbuildError for what is no report once the others have their verdicts.
    """
    from sevbuild.appraise.verify import verify_reports
    from sevbuild.cli.report import print_error
    from sevbuild.cli.verdicts import print_verdicts

    policy = reports.policy(asked.expect)
    askings: list[Callable[[], Asking]] = []
    targets = _targets(asked, lock, policy.published, askings, key=key, told=fmt != "json", quiet=quiet)
    verdicts, unjudged = verify_reports(files, policy, targets, reports.trust(), reports.certs)
    if verdicts:
        print_verdicts(verdicts, fmt, unjudged, explained=bool(askings))
        _print_cause(verdicts, askings, asked.target)
    if unjudged:
        for one in unjudged[:-1]:
            print_error(one.error)
        raise unjudged[-1].error
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)


def _print_cause(
    verdicts: Sequence[Verdict], askings: Sequence[Callable[[], Asking]], patterns: Sequence[str]
) -> None:
    """Print why the first report with another measurement has it, held to what was named first."""
    for verdict in verdicts:
        if askings and any(check.name == "measurement" for check in verdict.failed):
            from sevbuild.cli.cause import print_cause
            from sevbuild.diagnose.wanted import wanted_of_report

            wanted = wanted_of_report(verdict.report.raw, verdict.source)
            print_cause(askings[0](), wanted, verdict.source, patterns)
            return


def _signed(file: str, key: str, asked: Asked, lock: options.LockOptions, *, as_json: bool) -> bool:
    """Print what the owner of a key signed, and return whether that is all there is to verify.

    It is of a file that holds its own signature, and where the checksums of a release are named.
    """
    from sevbuild.bundle.signatures import holds_signature, published_by
    from sevbuild.cli.report import print_line
    from sevbuild.reference.release import CHECKSUMS

    alone = holds_signature(file) or os.path.basename(file) == CHECKSUMS
    if not key:
        if alone:
            raise SevbuildError(f"{file}: signed, and by whom only a key tells", hint="--key PUB")
        return False
    if alone:
        lock.refuse()
        for flag, value in zip(asked._fields, asked, strict=True):
            if value:
                raise SevbuildError(
                    f"--{flag} is for reference values; of {file} only the signature is verified"
                )
    for line in published_by(file, key).lines:
        if alone or not as_json:
            print_line(line)
    return alone


def _targets(
    asked: Asked,
    lock: options.LockOptions,
    accepted: Published,
    askings: list[Callable[[], Asking]],
    *,
    key: str,
    told: bool,
    quiet: bool,
) -> list[NamedTarget]:
    """Return the targets that `--against` names, measured now where that is a manifest.

    With a key only what its owner signed is taken, and with `told` it is said what that is. To `askings` is
    added of whom the cause of a difference can be asked.
    """
    from sevbuild.appraise.references import foreign_targets, named_targets
    from sevbuild.cli.report import print_notices
    from sevbuild.cli.source import load_values
    from sevbuild.reference.releases import at_release

    if not asked.against:
        lock.refuse()
        for flag, value in (
            ("--target", asked.target),
            ("--release", asked.release),
            ("--set", asked.settings),
            ("--key", key),
        ):
            if value:
                raise SevbuildError(f"{flag} says which part of --against is meant", hint="--against PATH")
    found = []
    for path in asked.against:
        if key:
            lock.refuse()
            values = _signed_values(path, key, asked, told=told)
            askings.append(partial(_asking, path, values, None, asked))
            found += named_targets(values, accepted)
            continue
        others = foreign_targets(path, accepted, asked.target)
        if others is not None:
            lock.refuse()
            for flag, value in (("--release", asked.release), ("--set", asked.settings)):
                if value:
                    raise SevbuildError(f"{flag}: {path} has ingredients alone, and names no release")
            found += others
            continue
        source = load_values(path, settings=asked.settings, targets=asked.target, lock=lock)
        print_notices(source.notices, quiet=quiet)
        values = at_release(source.values, asked.release) if asked.release else source.values
        askings.append(partial(_asking, path, values, source.guest, asked))
        found += named_targets(values, accepted)
    return found


def _asking(path: str, values: ReferenceValues, guest: Guest | None, asked: Asked) -> Asking:
    """Return how `explain` would be asked for what `--against` names."""
    from sevbuild.cli.cause import asking_of_guest, asking_of_values

    if guest is None:
        return asking_of_values(path, values)
    return asking_of_guest(guest, path, asked.settings)


def _signed_values(path: str, key: str, asked: Asked, *, told: bool) -> ReferenceValues:
    """Return the reference values that the owner of a key signed; raises SevbuildError."""
    from sevbuild.bundle.signatures import published_by
    from sevbuild.cli.report import print_line
    from sevbuild.manifest.selection import select_labels
    from sevbuild.reference.releases import at_release

    if asked.settings:
        raise SevbuildError("--set overrides a manifest, not what was signed")
    lines, values = published_by(path, key)
    if values is None:
        raise SevbuildError(
            f"{path}: signed, but no reference values", hint="name the release, or its envelope"
        )
    for line in lines if told else ():
        print_line(line)
    chosen = set(select_labels(asked.target, [value.label for value in values.values]))
    values = values._replace(values=tuple(value for value in values.values if value.label in chosen))
    return at_release(values, asked.release) if asked.release else values

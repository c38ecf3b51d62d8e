"""`sevbuild verify`: whether a guest, a bundle, or what was published, is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report_options import ReportOptions
from sevbuild.cli.verify_values import Asked, verify_bundle, verify_values
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import Published
    from sevbuild.attest.named_target import NamedTarget

__all__ = ["verify"]

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
    if _is_report(files[0]):
        _verify_reports(files, asked, lock, reports, fmt=fmt, quiet=quiet)
        return
    file, *more = files
    if more:
        hint = f"`sevbuild verify {file} --against {more[0]}` compares the two, `sevbuild diff` shows what changed"
        raise SevbuildError(f"unexpected argument: {more[0]!r}", hint=hint)
    reports.refuse()
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


def _is_report(path: str) -> bool:
    """Tell whether a path is to be taken for evidence, as a binary file of no known kind is."""
    from sevbuild.appraise.evidence import holds_evidence
    from sevbuild.fs import is_regular, read_range
    from sevbuild.kind import HEAD_SIZE, kind_of

    if path == "-" or holds_evidence(path):
        return True
    head = read_range(path, 0, HEAD_SIZE) if is_regular(path) else b""
    return b"\0" in head and kind_of(head) is None


def _verify_reports(
    files: list[str],
    asked: Asked,
    lock: options.LockOptions,
    reports: ReportOptions,
    *,
    fmt: str,
    quiet: bool,
) -> None:
    """Print the verdicts on reports; raises typer.Exit(1) where one does not hold."""
    from sevbuild.appraise.verify import verify_reports
    from sevbuild.cli.verdicts import print_verdicts

    policy = reports.policy(asked.expect)
    targets = _targets(asked, lock, policy.published, quiet=quiet)
    verdicts = verify_reports(files, policy, targets, reports.trust(), reports.certs)
    print_verdicts(verdicts, fmt)
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)


def _targets(
    asked: Asked, lock: options.LockOptions, accepted: Published, *, quiet: bool
) -> list[NamedTarget]:
    """Return the targets that `--against` names, measured now where that is a manifest."""
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
        ):
            if value:
                raise SevbuildError(f"{flag} says which part of --against is meant", hint="--against PATH")
    found = []
    for path in asked.against:
        others = foreign_targets(path)
        if others is not None:
            lock.refuse()
            found += others
            continue
        source = load_values(path, settings=asked.settings, targets=asked.target, lock=lock)
        print_notices(source.notices, quiet=quiet)
        values = at_release(source.values, asked.release) if asked.release else source.values
        found += named_targets(values, accepted)
    return found

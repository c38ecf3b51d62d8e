"""`sevbuild verify`: whether a bundle, or what was published, is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sevbuild.cli.options import (
    FOREIGN_MAGIC,
    QUIET,
    SETTINGS,
    TARGETS,
    LockOptions,
    check_format,
)
from sevbuild.cli.report import print_line, print_notices, shown_progress
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import file_starts_with

if TYPE_CHECKING:
    from sevbuild.reference.changes import Comparison
    from sevbuild.reference.expected import Run
    from sevbuild.reference.model import ReferenceValues
from sevbuild.text import counted

__all__ = ["verify"]


def verify(
    file: str = typer.Argument(
        ...,
        metavar="BUNDLE|FILE",
        help="A bundle, or reference-values.json, or the folder of a release.",
        show_default=False,
    ),
    *,
    against: str = typer.Option(
        "",
        "--against",
        metavar="PATH",
        help="What was published, or another bundle. For values, also the manifest to measure, or their IGVM file.",
        show_default=False,
    ),
    expect: str = typer.Option(
        "",
        "--expect",
        metavar="HEX|PATH",
        help="Exit 1 unless what is verified, or what --against measures, matches this.",
        show_default=False,
    ),
    target: list[str] = TARGETS,
    release: str = typer.Option(
        "",
        "--release",
        metavar="VERSION",
        help="The release to use, in a document of several. Default: the guest's version.",
        show_default=False,
    ),
    settings: list[str] = SETTINGS,
    lock: LockOptions,
    fmt: str = typer.Option(
        "table", "--format", "-f", metavar="table|json", help="The output format of compared values."
    ),
    quiet: bool = QUIET,
) -> None:
    """Measure a bundle again from its files, or hold reference values to what they say.

    A bundle that agrees with itself is consistent; whether it is the right one, only --against or
    --expect can tell. Reference values without --against are held to their own ingredients; with it,
    each target is equal or different, and the input that differs is named. Exit 1 where anything is
    launched differently, or stands on one side alone.
    """
    from sevbuild.bundle.published import bundle_at

    check_format(fmt, ("table", "json"))
    bundle = bundle_at(file)
    if bundle is None:
        _verify_values(file, against, expect, target, release, settings, lock, fmt=fmt, quiet=quiet)
        return
    if settings or fmt != "table":
        raise SevbuildError("--set and --format are for reference values, not for a bundle")
    lock.refuse()
    if (target or release) and not (against or expect):
        message = "--target and --release require something to compare a bundle with"
        raise SevbuildError(message, hint="--against PATH, --expect PATH")
    _verify_bundle(file, against, expect, target, release, quiet=quiet)


def _verify_bundle(
    bundle: str, against: str, expect: str, patterns: list[str], release: str, *, quiet: bool
) -> None:
    from sevbuild.bundle.verify import verify_bundle

    verified = verify_bundle(bundle, progress=shown_progress())
    print_notices(
        [
            Notice("note", bundle, f"{entry.file} ({entry.role} {entry.name}) is absent")
            for entry in verified.absent
        ],
        quiet=quiet,
    )
    targets = len(verified.values.values)
    counts = [(targets, "target"), (len(verified.document.files), "file")]
    counts += [(len(verified.absent), "absent input")] if verified.absent else []
    text = ", ".join(counted(count, noun) for count, noun in counts)
    print_line(f"{bundle}: consistent ({text})")
    _hold(bundle, verified.values, (against, expect), patterns, release, fmt="table", quiet=quiet)


def _hold(
    name: str,
    values: ReferenceValues,
    others: tuple[str, str],
    patterns: list[str],
    release: str,
    *,
    fmt: str,
    quiet: bool,
) -> None:
    """Hold values to what `--against` and `--expect` name, and say that they are the same."""
    from sevbuild.cli.expectation import hold_to_expected, values_run

    for flag, other in zip(("--against", "--expect"), others, strict=True):
        if other:
            run = values_run(values, patterns)
            hold_to_expected(other, run, release=release, quiet=quiet, flag=flag)
            taken, every = len(run.digests), len(values.values)
            if fmt != "json":
                part = f" ({taken} of {every} targets)" if taken < every else ""
                print_line(f"{name}: matches {other}{part}")


def _verify_values(
    file: str,
    against: str,
    expect: str,
    patterns: list[str],
    release: str,
    settings: list[str],
    lock: LockOptions,
    *,
    fmt: str,
    quiet: bool,
) -> None:
    """Print how the values of a document compare; raises typer.Exit(1) where any is not right."""
    from sevbuild.bundle.published import is_document, read_values
    from sevbuild.reference.releases import at_release

    source, values = read_values(file)
    if not against or is_document(against):
        if settings:
            raise SevbuildError("--set is for the manifest of --against")
        lock.refuse()
        if values.releases and release:
            values, release = at_release(values, release), ""
        elif release and not (against or expect):
            at_release(values, release)
        alone = not (against or expect)
        _verify_alone(source, values, patterns, alone=alone, fmt=fmt, quiet=quiet)
        _hold(source, values, (against, expect), patterns, release, fmt=fmt, quiet=quiet)
        return
    from sevbuild.cli.comparison import comparison_notices, print_comparison
    from sevbuild.cli.expectation import WORDS, hold_to_expected

    comparison, run, notices = _compared(source, values, against, patterns, release, settings, lock)
    print_notices([*notices, *comparison_notices(comparison, source)], quiet=quiet)
    print_comparison(comparison, words=WORDS, fmt=fmt, notes=False)
    if expect:
        hold_to_expected(expect, run, quiet=quiet)
    if not comparison.same_launch:
        raise typer.Exit(1)


def _compared(
    source: str,
    values: ReferenceValues,
    against: str,
    patterns: list[str],
    release: str,
    settings: list[str],
    lock: LockOptions,
) -> tuple[Comparison, Run, list[Notice]]:
    """Return how values compare with a manifest, or with the IGVM file that they are of, and the notices."""
    from sevbuild.cli.expectation import guest_run, target_selection
    from sevbuild.reference.verify import verify_against, verify_against_file

    if file_starts_with(against, FOREIGN_MAGIC):
        from sevbuild.guest.foreign import ForeignFile

        if settings:
            raise SevbuildError("--set is for manifests")
        lock.refuse()
        file = ForeignFile(against)
        selection = target_selection(patterns)
        return *verify_against_file(source, values, file, selection, release), file.notices
    guest, held = lock.load(against, settings)
    targets = guest.select(patterns)
    measured = guest.measure(targets)
    held(guest, targets)
    run = guest_run(guest, measured, patterns)
    return verify_against(source, values, run, release), run, guest.notices


def _verify_alone(
    source: str, values: ReferenceValues, patterns: list[str], *, alone: bool, fmt: str, quiet: bool
) -> None:
    """Print how the values of a document compare with the rest of it; raises typer.Exit(1) if any is wrong.

    `alone` tells that nothing else is compared: then no digest computed again is a SevbuildError. Otherwise
    what is compared next is the answer, and a document that agrees with itself is told of in one line.
    """
    from sevbuild.cli.comparison import comparison_lines, print_comparison
    from sevbuild.cli.expectation import WORDS, target_selection
    from sevbuild.manifest.selection import select_labels
    from sevbuild.reference.consistency import UNCHECKED, profile_notices, verify_alone
    from sevbuild.reference.narrow import narrow_values

    select_labels(patterns, [value.label for value in values.values])
    comparison = verify_alone(narrow_values(values, target_selection(patterns)))
    words = {**WORDS, UNCHECKED: "not checked"}
    print_notices(profile_notices(source, values), quiet=quiet)
    found = {target.status for target in comparison.targets}
    if alone or fmt == "json" or "changed" in found:
        print_comparison(comparison, words=words, fmt=fmt)
    else:
        total = comparison_lines(comparison, words, notes=True)[-1]
        print_line(f"{source}: consistent ({total})")
    if "changed" in found:
        raise typer.Exit(1)
    if alone and "equal" not in found:
        against = "FILE.igvm" if values.of_file else "guest.toml"
        raise SevbuildError(f"none of these digests can be checked without the inputs: --against {against}")

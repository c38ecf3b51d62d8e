"""`sevbuild verify` of a bundle or of reference values: they agree with themselves, and with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_line, print_message, print_notices, shown_progress
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import file_starts_with
from sevbuild.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sevbuild.cli.cause import Asking
    from sevbuild.reference.changes import Comparison
    from sevbuild.reference.expected import Run
    from sevbuild.reference.model import ReferenceValues

__all__ = ["Asked", "verify_bundle", "verify_values"]


class Asked(NamedTuple):
    """What is to be held to what: the other side, which part of both, and what is set for measuring it."""

    against: list[str] = typer.Option(
        [],
        "--against",
        metavar="PATH",
        help="What was published, a bundle, or the manifest to measure; for reports it may be repeated. For values, "
        "also their IGVM file.",
        show_default=False,
    )
    expect: str = options.value_option(
        "--expect",
        metavar="HEX|PATH",
        text="Exit 1 unless what is verified, or what --against measures, matches this.",
    )
    target: list[str] = options.TARGETS
    release: str = options.value_option(
        "--release",
        metavar="VERSION",
        text="The release to use, in a document of several. Default: the guest's version; for reports, each.",
    )
    settings: list[str] = options.SETTINGS

    @property
    def other(self) -> str:
        """Return the one path of `--against`, empty without it; raises SevbuildError for several."""
        if len(self.against) > 1:
            raise SevbuildError("--against was given several times, which is for attestation reports")
        return self.against[0] if self.against else ""

    def hold(self, name: str, values: ReferenceValues, *, quiet: bool, told: bool = True) -> None:
        """Hold values to what `--against` and `--expect` name, and say that they are the same if `told`."""
        from sevbuild.cli.expectation import hold_to_expected, values_run

        for flag, other in (("--against", self.other), ("--expect", self.expect)):
            if other:
                run = values_run(values, self.target)
                hold_to_expected(
                    other,
                    run,
                    release=self.release,
                    quiet=quiet,
                    flag=flag,
                    asking=lambda: _asking_of_values(name, values),
                )
                taken, every = len(run.digests), len(values.values)
                if told:
                    part = f" ({taken} of {every} targets)" if taken < every else ""
                    print_line(f"{name}: matches {other}{part}")


def _asking_of_values(path: str, values: ReferenceValues) -> Asking:
    from sevbuild.cli.cause import asking_of_values

    return asking_of_values(path, values)


def verify_bundle(bundle: str, asked: Asked, *, quiet: bool) -> None:
    """Print whether a bundle is consistent, and the same as what it is held to; raises SevbuildError."""
    from sevbuild.bundle import verify

    verified = verify.verify_bundle(bundle, progress=shown_progress())
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
    asked.hold(bundle, verified.values, quiet=quiet)


def verify_values(file: str, asked: Asked, lock: options.LockOptions, *, fmt: str, quiet: bool) -> None:
    """Print how the values of a document compare; raises typer.Exit(1) where any is not right."""
    from sevbuild.bundle.published import is_document, read_values
    from sevbuild.reference.releases import at_release

    source, values = read_values(file)
    if not asked.other or is_document(asked.other):
        if asked.settings:
            raise SevbuildError("--set is for the manifest of --against")
        lock.refuse()
        alone = not (asked.other or asked.expect)
        if values.releases and asked.release:
            values, asked = at_release(values, asked.release), asked._replace(release="")
        elif asked.release and alone:
            at_release(values, asked.release)
        _verify_alone(source, values, asked.target, alone=alone, fmt=fmt, quiet=quiet)
        asked.hold(source, values, quiet=quiet, told=fmt != "json")
        return
    from sevbuild.cli.comparison import comparison_notices, print_comparison
    from sevbuild.cli.expectation import WORDS, cause_of_first, hold_to_expected

    comparison, run, notices, asking = _compared(source, values, asked, lock)
    print_notices([*notices, *comparison_notices(comparison, source)], quiet=quiet)
    print_comparison(comparison, words=WORDS, fmt=fmt, notes=False)
    if asked.expect:
        hold_to_expected(asked.expect, run, quiet=quiet, asking=asking)
    if not comparison.same_launch:
        hint = cause_of_first(comparison, asking)
        if hint is not None:
            print_message(hint, level="hint")
        raise typer.Exit(1)


def _compared(
    source: str, values: ReferenceValues, asked: Asked, lock: options.LockOptions
) -> tuple[Comparison, Run, list[Notice], Callable[[], Asking]]:
    """Return how values compare with a manifest, or with the IGVM file that they are of.

    With it come the notices, and of whom the cause of a difference can be asked.
    """
    from sevbuild.cli.expectation import guest_run, target_selection
    from sevbuild.reference.verify import verify_against, verify_against_file

    if file_starts_with(asked.other, options.FOREIGN_MAGIC):
        from sevbuild.guest.foreign import ForeignFile

        if asked.settings:
            raise SevbuildError("--set is for manifests")
        lock.refuse()
        file = ForeignFile(asked.other)
        selection = target_selection(asked.target)
        comparison, run = verify_against_file(source, values, file, selection, asked.release)

        def asking_of_it() -> Asking:
            from sevbuild.cli.cause import asking_of_launch

            changed = {target.label for target in comparison.targets if target.status == "changed"}
            alike = (item for item in values.values if item.label in changed)
            return asking_of_launch(file, values, next(alike, values.values[0]))

        return comparison, run, file.notices, asking_of_it
    guest, held = lock.load(asked.other, asked.settings)
    targets = guest.select(asked.target)
    measured = guest.measure(targets)
    held(guest, targets)
    run = guest_run(guest, measured, asked.target)

    def asking() -> Asking:
        from sevbuild.cli.cause import asking_of_guest

        return asking_of_guest(guest, asked.other, asked.settings)

    return verify_against(source, values, run, asked.release), run, guest.notices, asking


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

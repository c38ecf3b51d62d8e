"""`sevbuild verify`: whether a bundle, or what was published, is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sevbuild.cli.options import FOREIGN_MAGIC, QUIET, SETTINGS, check_format, read_settings
from sevbuild.cli.report import print_line, print_notices
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import file_starts_with, read_file

if TYPE_CHECKING:
    from sevbuild.reference.compare import Comparison
    from sevbuild.reference.model import ReferenceValues

__all__ = ["register", "verify_reference_values"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def verify(
        file: str = typer.Argument(
            ..., metavar="BUNDLE|FILE", help="A bundle, or reference-values.json.", show_default=False
        ),
        against: str = typer.Option(
            "",
            "--against",
            metavar="FILE",
            help="For a bundle: published values or another bundle. For values: the manifest to measure, or the IGVM file they are of.",
            show_default=False,
        ),
        expect: str = typer.Option(
            "",
            "--expect",
            metavar="HEX|FILE",
            help="Exit 1 unless a bundle's digests are these.",
            show_default=False,
        ),
        settings: list[str] = SETTINGS,
        fmt: str = typer.Option(
            "table", "--format", "-f", metavar="table|json", help="How to print compared values."
        ),
        quiet: bool = QUIET,
    ) -> None:
        """Measure a bundle again from its files, or hold reference values to what they say.

        A bundle that agrees with itself is consistent; whether it is the right one, only --against or
        --expect can tell. Reference values without --against are held to their own ingredients; with it,
        each target is equal or different, and the input that differs is named. Exit 1 where anything does.
        """
        from sevbuild.bundle.describe import looks_like_bundle
        from sevbuild.output.exchange import interrupted

        check_format(fmt, ("table", "json"))
        if looks_like_bundle(file) or interrupted(file):
            if settings or fmt != "table":
                raise SevbuildError("--set and --format are for reference values, not for a bundle")
            _verify_bundle(file, against, expect, quiet=quiet)
        elif expect:
            raise SevbuildError("--expect is for a bundle", hint="--against takes a manifest")
        else:
            verify_reference_values(file, against, settings, fmt=fmt, quiet=quiet)


def _verify_bundle(bundle: str, against: str, expect: str, *, quiet: bool) -> None:
    from sevbuild.bundle.compare import compare_with
    from sevbuild.bundle.verify import verify_bundle
    from sevbuild.guest.expect import expect_digests

    verified = verify_bundle(bundle)
    print_notices(
        [
            Notice("note", bundle, f"{entry.file} ({entry.role} {entry.name}) is absent")
            for entry in verified.absent
        ],
        quiet=quiet,
    )
    counts = [(len(verified.measured), "target"), (len(verified.document.files), "file")]
    counts += [(len(verified.absent), "absent input")] if verified.absent else []
    text = ", ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts)
    print_line(f"{bundle}: consistent ({text})")
    if against:
        compare_with(verified, against)
        print_line(f"{bundle}: matches {against}")
    if expect:
        expect_digests(expect, verified.measured)
        print_line(f"{bundle}: matches {expect}")


def verify_reference_values(file: str, against: str, settings: list[str], *, fmt: str, quiet: bool) -> None:
    """Print how the values of a document compare; raises typer.Exit(1) where any is not right."""
    from sevbuild.cli.comparison import print_comparison
    from sevbuild.reference.json_input import DOCUMENT_LIMIT
    from sevbuild.reference.read import read_reference_values
    from sevbuild.reference.verify import UNCHECKED, verify_alone

    values = read_reference_values(file, read_file(file, DOCUMENT_LIMIT))
    if against:
        comparison, notices = _compared(values, against, settings)
        print_notices(notices, quiet=quiet)
    else:
        comparison = verify_alone(values)
    words = {
        "changed": "different",
        "added": "not published",
        "removed": "not measured" if against else "removed",
        UNCHECKED: "not checked",
    }
    print_comparison(comparison, words=words, fmt=fmt)
    if comparison.guest or any(target.status not in ("equal", UNCHECKED) for target in comparison.targets):
        raise typer.Exit(1)


def _compared(values: ReferenceValues, against: str, settings: list[str]) -> tuple[Comparison, list[Notice]]:
    """Return how values compare with a manifest, or with the IGVM file that they are of, and the notices."""
    from sevbuild.reference.verify import verify_against, verify_against_file

    if file_starts_with(against, FOREIGN_MAGIC):
        from sevbuild.guest.foreign import ForeignFile

        if settings:
            raise SevbuildError("--set is for manifests")
        file = ForeignFile(against)
        return verify_against_file(values, file), file.notices
    from sevbuild.guest.guest import load_guest

    guest = load_guest(against, settings=read_settings(settings))
    return verify_against(values, guest), guest.notices

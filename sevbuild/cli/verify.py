"""`sevbuild verify`: a bundle, measured again from its own files."""

from __future__ import annotations

import sys

import typer

from sevbuild.cli.options import QUIET

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def verify(
        bundle: str = typer.Argument(
            ..., metavar="BUNDLE", help="The folder that `build` wrote.", show_default=False
        ),
        against: str = typer.Option(
            "",
            "--against",
            metavar="FILE|BUNDLE",
            help="Exit 1 unless its values are those published there.",
            show_default=False,
        ),
        expect: str = typer.Option(
            "",
            "--expect",
            metavar="HEX|FILE",
            help="Exit 1 unless its digests are these.",
            show_default=False,
        ),
        quiet: bool = QUIET,
    ) -> None:
        """Measure a bundle again from its files, and check every hash.

        A bundle that agrees with itself is consistent; whether it is the right one, only --against or
        --expect can tell.
        """
        from sevbuild.bundle.compare import compare_with
        from sevbuild.bundle.verify import verify_bundle
        from sevbuild.cli.report import print_notices
        from sevbuild.errors import Notice
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
        sys.stdout.write(f"{bundle}: consistent ({text})\n")
        if against:
            compare_with(verified, against)
            sys.stdout.write(f"{bundle}: matches {against}\n")
        if expect:
            expect_digests(expect, verified.measured)
            sys.stdout.write(f"{bundle}: matches {expect}\n")

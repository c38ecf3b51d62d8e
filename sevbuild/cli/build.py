"""`sevbuild build`: the bundle of a guest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from sevbuild.cli import options
from sevbuild.cli.output import patience, print_wrote_folder
from sevbuild.cli.passphrase import PassphraseOptions
from sevbuild.cli.report import on_github, print_digests, print_notices
from sevbuild.guest.measured import Measured
from sevbuild.manifest.targets import Target

if TYPE_CHECKING:
    from sevbuild.cli.cause import Asking

__all__ = ["build"]


def build(
    manifest: str = options.MANIFEST,
    *,
    output: str = options.value_option(
        "--output", "-o", metavar="DIR", text="The folder to write.", default=...
    ),
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    link: bool = typer.Option(False, "--link", help="Reflink or hard-link inputs where that works."),
    expected: options.ExpectOptions,
    passphrases: PassphraseOptions,
    lock: options.LockOptions,
    fmt: str = options.RESULT_FORMAT,
    no_copy: bool = typer.Option(False, "--no-copy", help="Copy no inputs; record their digests only."),
    quiet: bool = options.QUIET,
) -> None:
    """Write the bundle of a guest: what is launched, what was measured, and how to check it.

    Prints the launch digests as `measure` does. The folder is written whole or not at all; a bundle
    that is there is exchanged for the new one, anything else is left alone.
    """
    from sevbuild.bundle.write import build_bundle
    from sevbuild.cli.expectation import guest_run
    from sevbuild.errors import SevbuildError
    from sevbuild.guest.lint import lint_guest

    as_json = options.wants_json(fmt)
    if link and no_copy:
        raise SevbuildError("--link cannot be combined with --no-copy")
    inputs = "link" if link else "none" if no_copy else "copy"
    expected.check()
    guest, held = lock.load(manifest, settings)
    passphrases.open_keys(guest)
    targets = guest.select(target)

    built: list[Measured[Target]] = []

    def asking() -> Asking:
        from sevbuild.cli.cause import asking_of_guest

        return asking_of_guest(guest, manifest, settings)

    def check(measured: Sequence[Measured[Target]]) -> None:
        built.extend(measured)
        held(guest, targets)
        expected.hold(lambda: guest_run(guest, measured, target), asking, quiet=quiet)

    bundle = build_bundle(guest, output, targets=targets, inputs=inputs, check=check, patience=patience())
    # What is shipped is looked into: it costs a fifth of a second, once a release.
    guest.notices.extend(lint_guest(guest))
    print_notices(guest.notices, quiet=quiet)
    print_wrote_folder(output, quiet=quiet)
    if as_json:
        from sevbuild.cli.results import print_built

        print_built(bundle, output, guest.notices)
    else:
        print_digests([(item.label, item.digest) for item in built])
    if on_github():
        from sevbuild.cli.github import report_values

        digests = [(item.label, item.digest) for item in built]
        report_values(f"{guest.manifest.name} {guest.manifest.version}", digests, {"bundle": output})

"""`sevbuild check`: manifest and inputs, without a digest."""

from __future__ import annotations

import typer

from sevbuild.cli.options import (
    FROZEN,
    LOCK_FILE,
    LOCKED,
    MANIFEST,
    OFFLINE,
    QUIET,
    SETTINGS,
    LockOptions,
    read_settings,
)
from sevbuild.cli.report import print_notices, print_text
from sevbuild.guest.guest import load_guest
from sevbuild.text import visible

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def check(
        manifest: str = MANIFEST,
        settings: list[str] = SETTINGS,
        locked: bool = LOCKED,
        frozen: bool = FROZEN,
        lock_file: str = LOCK_FILE,
        offline: bool = OFFLINE,
        quiet: bool = QUIET,
    ) -> None:
        """Check a manifest and its inputs: that they are there, and what they are taken for."""
        from sevbuild.guest.lint import check_guest

        lock = LockOptions(locked, frozen, lock_file, offline)
        held = lock.check(manifest, settings)
        guest = load_guest(manifest, settings=read_settings(settings), network=lock.network())
        check_guest(guest, lambda: held(guest, guest.targets, everything=True))
        print_notices(guest.notices, quiet=quiet)
        warnings = sum(notice.level == "warning" for notice in guest.notices)
        count = len(guest.targets)
        text = f"{visible(manifest)}: {count} target{'s' * (count != 1)}, {warnings} warning{'s' * (warnings != 1)}\n"
        print_text(text)

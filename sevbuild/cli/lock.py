"""`sevbuild lock`: write down what a manifest's names lead to."""

from __future__ import annotations

import typer

from sevbuild.cli.options import MANIFEST, OFFLINE, SETTINGS, network, read_settings
from sevbuild.cli.report import print_data, print_message

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def lock(
        manifest: str = MANIFEST,
        output: str = typer.Option(
            "",
            "--output",
            "-o",
            metavar="FILE",
            help="Write it there, not beside the manifest; - prints it.",
            show_default=False,
        ),
        check: bool = typer.Option(False, "--check", help="Write nothing; exit 1 if the lock is stale."),
        settings: list[str] = SETTINGS,
        offline: bool = OFFLINE,
    ) -> None:
        """Write size and SHA-256 of every input, command lines, CPU signatures and profiles to guest.lock.

        `measure`, `plan`, `check` and `build` are held to it by --locked.
        """
        from sevbuild.guest.guest import load_guest
        from sevbuild.guest.locking import LockCheck, lock_path, lock_text
        from sevbuild.output.file import write_file

        held = LockCheck(manifest, path=output, settings=settings) if check else None
        path = output or lock_path(manifest)
        guest = load_guest(manifest, settings=read_settings(settings), network=network(offline))
        guest.check_inputs()
        if held is not None:
            held(guest, guest.targets, everything=True)
        elif path == "-":
            print_data(lock_text(guest))
        else:
            write_file(path, lock_text(guest).encode())
            print_message(f"wrote {path}")

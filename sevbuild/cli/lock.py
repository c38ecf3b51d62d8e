"""`sevbuild lock`: write down what manifests' names lead to."""

from __future__ import annotations

import typer

from sevbuild.cli.options import DEFAULT_MANIFEST, MANIFESTS, OFFLINE, SETTINGS, network, read_settings
from sevbuild.cli.output import FORCE, protect, refuse_force, write_outputs
from sevbuild.cli.report import print_data, print_error, print_notices
from sevbuild.errors import SevbuildError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def lock(
        manifest: list[str] | None = MANIFESTS,
        output: str = typer.Option(
            "",
            "--output",
            "-o",
            metavar="FILE",
            help="Write it there, not beside the manifest; - prints it.",
            show_default=False,
        ),
        check: bool = typer.Option(False, "--check", help="Write nothing; exit 1 if a lock is stale."),
        force: bool = FORCE,
        settings: list[str] = SETTINGS,
        offline: bool = OFFLINE,
    ) -> None:
        """Write size and SHA-256 of every input, command lines, CPU signatures and profiles to guest.lock.

        Whatever measures a manifest is held to it by --locked. Each manifest has a lock of its
        own, and each is tried; the highest exit code counts.
        """
        from sevbuild.guest.locking import lock_path

        if force:
            refuse_force("-" if check else output or DEFAULT_MANIFEST)
        manifests = manifest or [DEFAULT_MANIFEST]
        if len(manifests) == 1:
            _lock(manifests[0], output, settings, check=check, force=force, offline=offline)
            return
        if output:
            raise SevbuildError("--output names the lock of one manifest", hint="each has its own beside it")
        paths: dict[str, str] = {}
        for name in manifests:
            path = lock_path(name)
            if path in paths:
                raise SevbuildError(f"{paths[path]} and {name} have one lock, {path}")
            paths[path] = name
        status = 0
        for name in manifests:
            try:
                _lock(name, "", settings, check=check, force=force, offline=offline)
            except SevbuildError as error:
                print_error(error)
                status = max(status, error.exit_code)
        if status:
            raise typer.Exit(status)


def _lock(
    manifest: str, output: str, settings: list[str], *, check: bool, force: bool, offline: bool
) -> None:
    from sevbuild.guest.guest import load_guest
    from sevbuild.guest.locking import LockCheck, lock_path, lock_text

    held = LockCheck(manifest, path=output, settings=settings) if check else None
    path = output or lock_path(manifest)
    guest = load_guest(manifest, settings=read_settings(settings), network=network(offline))
    guest.check_inputs()
    if held is not None:
        held(guest, guest.targets, everything=True)
        print_notices(held.unheld(guest.targets), quiet=False)
    elif path == "-":
        print_data(lock_text(guest))
    else:
        protected = protect(given=settings)
        protected.add_guest(manifest, guest)
        write_outputs({path: lock_text(guest).encode()}, protected, force=force)

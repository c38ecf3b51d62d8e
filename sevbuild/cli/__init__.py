"""The command line: one module a verb, and only the verb that is called is imported."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import typer

__all__ = ["VERBS", "build_app", "main"]

VERBS = {
    "init": "init",
    "import": "import_guest",
    "check": "check",
    "lock": "lock",
    "schema": "schema",
    "measure": "measure",
    "plan": "plan",
    "build": "build",
    "publish": "publish",
    "export": "export",
    "verify": "verify",
    "inspect": "inspect",
    "qemu-args": "qemu_args",
    "recompute": "recompute",
    "merge": "merge",
    "diff": "diff",
    "profiles": "profiles",
    "cpus": "cpus",
    "cache": "cache",
}
"""Every verb and the module of this package that holds it, in the order of the help."""

INTERRUPTED = 130


def build_app(verbs: list[str]) -> typer.Typer:
    """Return the application with these verbs alone: each costs an import."""
    from importlib import import_module

    import typer

    app = typer.Typer(
        name="sevbuild",
        add_completion=len(verbs) > 1,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            from sevbuild import __version__

            typer.echo(f"sevbuild {__version__}")
            raise typer.Exit

    version_flag = typer.Option(
        False, "--version", callback=print_version, is_eager=True, help="Print the version and exit."
    )

    @app.callback()
    def sevbuild(*, version: bool = version_flag) -> None:
        """Declare a confidential guest, lay it out and measure it.

        Exit codes: 0 done, 1 a mismatch was found, 2 the request, manifest or input is at fault.
        """
        # Nothing is left to do: the flag acts when it is read.
        del version

    for verb in verbs:
        import_module(f"sevbuild.cli.{VERBS[verb]}").register(app)
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command line and exit: 0 done, 1 mismatch, 2 at fault, 130 interrupted."""
    # Nothing here lives long enough for a collection to pay; imports alone would trigger several.
    gc.disable()
    arguments = sys.argv[1:] if arguments is None else arguments
    # The same bytes in every locale.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted; later writes at interpreter exit must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else ""
    completing = "_SEVBUILD_COMPLETE" in os.environ
    app = build_app([verb] if verb in VERBS and not completing else list(VERBS))
    import typer

    from sevbuild.cli.report import print_error, print_usage
    from sevbuild.errors import SevbuildError

    # The base of usage errors is public in neither click's vendored nor its separate form.
    usage_error = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    command = typer.main.get_command(app)
    try:
        status = command.main(args=arguments, prog_name="sevbuild", standalone_mode=False)
    except SevbuildError as error:
        print_error(error)
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error, usage_error):
            raise
        usage: Any = error
        print_usage(usage)
        return int(usage.exit_code)
    return status if isinstance(status, int) else 0

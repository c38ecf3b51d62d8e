"""The application that parses a command line, made of the verbs it needs."""

from __future__ import annotations

import os

import typer

from sevbuild.cli import INTERRUPTED, VERBS
from sevbuild.cli.parser import Application

__all__ = ["build_app", "run_app"]


def build_app(verbs: list[str]) -> typer.Typer:
    """Return the application with these verbs alone: each costs an import."""
    from importlib import import_module

    app = Application(
        name="sevbuild",
        add_completion=len(verbs) > 1,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            from sevbuild import __version__

            typer.echo(f"sevbuild {__version__}")
            raise typer.Exit

    version_flag = typer.Option(
        False, "--version", "-V", callback=print_version, is_eager=True, help="Print the version and exit."
    )

    @app.callback()
    def sevbuild(*, version: bool = version_flag) -> None:
        """Declare a confidential guest, lay it out and measure it.

        Exit codes: 0 done, 1 a mismatch was found, 2 the request, manifest or input is at fault, 70 an
        internal error, 130 interrupted.
        """
        # Nothing is left to do: the flag acts when it is read.
        del version

    for verb in verbs:
        import_module(f"sevbuild.cli.{VERBS[verb]}").register(app)
    return app


def run_app(arguments: list[str]) -> int:
    """Run one command line and return its exit code; raises what the verb raises."""
    verb = arguments[0] if arguments else ""
    completing = "_SEVBUILD_COMPLETE" in os.environ
    app = build_app([verb] if verb in VERBS and not completing else list(VERBS))
    # The base of usage errors is public in neither click's vendored nor its separate form.
    complaint = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    command = typer.main.get_command(app)
    if completing:
        command.main(args=arguments, prog_name="sevbuild", standalone_mode=False)
        return 0
    try:
        # Not `main`, which takes internal errors for other things: EOFError for an interruption, EPIPE for 1.
        with command.make_context("sevbuild", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error, complaint):
            raise
        from sevbuild.cli.usage import usage_error

        raise usage_error(error, arguments) from None
    return 0

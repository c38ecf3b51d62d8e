"""The program: its verbs, each imported when it is called, and how a command line of theirs is run."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperOption

from sevbuild.cli import INTERRUPTED, VERBS
from sevbuild.cli.parser import Application, Verbs

__all__ = ["Program", "build_program", "run_program"]

_HELP = """Declare a confidential guest, lay it out and measure it.

Exit codes: 0 done, 1 a mismatch was found, 2 the request, manifest or input is at fault, 70 an internal error,
130 interrupted.
"""


class Program(Verbs):
    """All verbs; one is imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base has it
        """Return the names of the verbs, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb, None where none is called so."""
        if cmd_name in VERBS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base has it
        """Write the verbs in groups, without importing any."""
        from sevbuild.cli.help import write_verbs

        write_verbs(formatter)


def build_program(kind: type[Program] = Program) -> Program:
    """Return the program, without any verb imported."""
    return kind(
        name="sevbuild",
        help=_HELP,
        params=[
            TyperOption(
                param_decls=["--version", "-V"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Print the version and exit.",
            ),
            _completion(
                "--show-completion", "Print what makes this shell complete verbs, options and values."
            ),
            _completion("--install-completion", "Add that to the start-up files of this shell."),
        ],
        subcommand_metavar="VERB [ARGS]...",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )


def run_program(arguments: list[str]) -> int:
    """Run one command line and return its exit code; raises what the verb raises."""
    if "_SEVBUILD_COMPLETE" in os.environ:
        from sevbuild.cli.complete import complete

        return complete()
    if arguments[:1] == ["help"]:
        arguments = [*(word for word in arguments if word != "help"), "--help"]
    program = build_program()
    # The base of usage errors is public in neither click's vendored nor its separate form.
    complaint = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    try:
        # Not `main`, which takes internal errors for other things: EOFError for an interruption, EPIPE for 1.
        with program.make_context("sevbuild", list(arguments)) as context:
            program.invoke(context)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error, complaint):
            raise
        from sevbuild.cli.usage import usage_error

        raise usage_error(error, arguments) from None
    finally:
        # Threads may still read what is no longer wanted; their progress is over.
        if (progress := sys.modules.get("sevbuild.cli.progress")) is not None:
            progress.clear_lines(forget=True)
    return 0


def _load(name: str) -> Any:
    from importlib import import_module

    # A module has the verb under its own name: a function, or an application of several.
    module = VERBS[name]
    verb = getattr(import_module(f"sevbuild.cli.{module}"), module)
    if isinstance(verb, Application):
        # A verb of several stays one while it has but one: get_command would drop that one's name.
        return typer.main.get_group(verb)
    alone = Application()
    alone.command(name)(verb)
    return typer.main.get_command(alone)


def _completion(name: str, text: str) -> TyperOption:
    def act(context: Any, _: object, shell: str | None) -> None:
        if shell is not None and not context.resilient_parsing:
            from sevbuild.cli.complete import install_completion, print_completion

            (print_completion if name == "--show-completion" else install_completion)(name, shell)
            raise typer.Exit

    return TyperOption(
        param_decls=[name], metavar="SHELL", is_eager=True, expose_value=False, callback=act, help=text
    )


def _print_version(context: Any, _: object, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from sevbuild import __version__
        from sevbuild.cli.report import print_line

        print_line(f"sevbuild {__version__}")
        raise typer.Exit

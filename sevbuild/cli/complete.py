"""Completion in a shell: of verbs and options by the parser, of values by what they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sevbuild.cli.app import Program, build_program
from sevbuild.cli.help import GROUPS
from sevbuild.errors import SevbuildError

__all__ = ["complete", "install_completion", "print_completion"]

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

_VARIABLE = "_SEVBUILD_COMPLETE"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-")
"""What a completed value is made of: shells evaluate what they are given, and a document may be anybody's."""


class _Completing(Program):
    """The verbs, with what completes the values of their options."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb whose parameters know their values."""
        command = super().get_command(ctx, cmd_name)
        for verbs in GROUPS.values():
            if cmd_name in verbs:
                command.short_help = verbs[cmd_name]
        for below in (command, *getattr(command, "commands", {}).values()):
            for parameter in getattr(below, "params", ()):
                _teach(cmd_name, parameter)
        return command


def complete() -> int:
    """Print what completes the words that the shell has put into the environment; return an exit code."""
    from typer._completion_classes import completion_init

    completion_init()
    program = build_program(_Completing)
    for parameter in program.params:
        _teach("", parameter)
    try:
        program.main(args=[], prog_name="sevbuild", complete_var=_VARIABLE, standalone_mode=False)
    except SevbuildError:
        # Nobody wants to be told of it in the middle of a line.
        return 2
    return 0


def print_completion(flag: str, shell: str) -> None:
    """Print the script that makes a shell complete this program's words."""
    from typer._completion_shared import get_completion_script

    from sevbuild.cli.report import print_data

    script = get_completion_script(
        prog_name="sevbuild", complete_var=_VARIABLE, shell=_known_shell(flag, shell)
    )
    print_data(f"{script}\n")


def install_completion(flag: str, shell: str) -> None:
    """Have a shell read that script when it starts."""
    from typer._completion_shared import install

    from sevbuild.cli.report import print_message

    _, path = install(shell=_known_shell(flag, shell), prog_name="sevbuild", complete_var=_VARIABLE)
    print_message(f"wrote {path}; restart {shell} to use it")


def _known_shell(flag: str, shell: str) -> str:
    if shell not in SHELLS:
        raise SevbuildError(f"{flag} {shell}: unknown shell", hint=f"one of {', '.join(SHELLS)}")
    return shell


def _teach(verb: str, parameter: Any) -> None:
    """Give a parameter what completes its values, where something does; else the shell completes files."""
    name = max(parameter.opts, key=len)
    values = _VALUES.get(f"{verb} {name}") or _VALUES.get(name)
    choices = (parameter.metavar or "").split("|")
    if values is None and len(choices) > 1 and all(word.islower() for word in choices):
        values = lambda _: choices  # noqa: E731
    if values is None:
        return

    def completed(context: Any, _: object, incomplete: str) -> list[str]:
        # Of a list with commas, the last member is being typed.
        before, comma, last = (
            incomplete.rpartition(",") if "," in (parameter.metavar or "") else ("", "", incomplete)
        )
        try:
            fitting = [value for value in values(context) if value.startswith(last)]
        except SevbuildError:
            return []
        return [f"{before}{comma}{value}" for value in fitting if set(value) <= _PLAIN]

    parameter._custom_shell_complete = completed  # noqa: SLF001 - typer's own way takes time at every start


def _words_of(home: str) -> Callable[[Any], Iterable[str]]:
    """Return what completes by the words of a table, which is imported when it is asked for."""

    def words(_: Any) -> Iterable[str]:
        from importlib import import_module

        module, _, name = home.rpartition(".")
        found: Iterable[str] = getattr(import_module(f"sevbuild.{module}"), name)
        return found

    return words


def _profiles(_: Any) -> Iterable[str]:
    from sevbuild.manifest.profiles import profile_names

    return profile_names()


def _extra(context: Any) -> Iterable[str]:
    """Return the keys of `--extra`: of the format asked for, or of each."""
    from sevbuild.manifest.formats import FORMATS

    chosen = context.params.get("fmt")
    if chosen in FORMATS:
        return [f"{key.name}=" for key in FORMATS[chosen]]
    return [f"{name}.{key.name}=" for name, keys in FORMATS.items() for key in keys]


def _labels(context: Any) -> Iterable[str]:
    """Return the labels of the targets of the manifest or document that stands on the command line."""
    from sevbuild.bundle.published import is_document, read_values
    from sevbuild.cli.options import DEFAULT_MANIFEST, read_settings

    named = (context.params.get(name) for name in ("manifest", "file", "guest"))
    path = next(filter(None, named), DEFAULT_MANIFEST)
    if path == "-":
        return []
    if is_document(path):
        return [value.label for value in read_values(path)[1].values]
    from sevbuild.guest.guest import load_guest

    settings = read_settings(list(context.params.get("settings") or ()))
    return [target.label for target in load_guest(path, settings=settings).targets]


_VALUES: dict[str, Callable[[Any], Iterable[str]]] = {
    "--cpu": _words_of("vcpu.models.CPU_MODELS"),
    "--extra": _extra,
    "--formats": _words_of("manifest.formats.FORMATS"),
    "--install-completion": lambda _: SHELLS,
    "--loader": lambda context: ["all", *_words_of("igvm.loaders.LOADERS")(context)],
    "--profile": _profiles,
    "--show-completion": lambda _: SHELLS,
    "--target": _labels,
    "--template": _words_of("guest.starter.TEMPLATES"),
    "export --format": _words_of("manifest.formats.FORMATS"),
    "profiles name": _profiles,
}
"""What completes the value of an option, or of an argument by its name, in every verb or in one."""

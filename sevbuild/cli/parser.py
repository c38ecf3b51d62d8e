"""What every verb does alike with its words: none of them is empty, and what is wrong is said in one form."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from sevbuild.cli.report import COLOR, print_help, set_color
from sevbuild.errors import SevbuildError

__all__ = ["COMMON", "EMPTY_VALUES", "OLD_SPELLINGS", "Application", "Verbs"]

COMMON = "Common options"
"""The group of options that every verb has, at the end of its help."""

EMPTY_VALUES = ("--cmdline", "--with-cmdline")
"""Options of which an empty value is one, the command line of no words, where they take the text itself."""

OLD_SPELLINGS = {"--model": "--cpu"}
"""Options that had another name, which is still taken, and shown nowhere."""


class _Strict:
    """A parser that refuses empty words before it reads any; to be mixed into a command."""

    params: list[Any]

    def __init__(self, **settings: Any) -> None:
        color = TyperOption(
            param_decls=["--color"],
            metavar="|".join(COLOR),
            is_eager=True,
            expose_value=False,
            callback=_set_color,
            help="When to colour errors, warnings and hints.",
            rich_help_panel=COMMON,
        )
        settings["params"] = [*(settings.get("params") or ()), color]
        super().__init__(**settings)

    def make_parser(self, ctx: Any) -> Any:
        """Return a parser that refuses empty words, and takes old spellings."""
        parser = super().make_parser(ctx)  # type: ignore[misc]
        for old, new in OLD_SPELLINGS.items():
            for parameter in self.params:
                if new in parameter.opts:
                    twin = copy(parameter)
                    twin.opts = [old]
                    twin.add_to_parser(parser, ctx)
        parse = parser.parse_args

        def parse_strictly(args: list[str]) -> Any:
            if ctx.resilient_parsing and args and args[-1].startswith("-"):
                # The value of this option is being typed; the arguments before it count.
                args = args[:-1]
            # Before any of them is read as a number or a choice, whose own complaint would hide this one.
            given, rest, order = parse(args)
            asked = self.get_help_option(ctx)  # type: ignore[attr-defined]
            if not ctx.resilient_parsing and not given.get(asked.name):
                for parameter in self.params:
                    _refuse_empty(parameter, given.get(parameter.name))
            return given, rest, order

        parser.parse_args = parse_strictly
        return parser

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line: what must be given stands bare, as in its list of arguments."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options to a help text, in groups."""
        from sevbuild.cli.help import write_options

        write_options(self, ctx, formatter)


class Verb(_Strict, TyperCommand):
    """One verb."""

    # What is too much is said by us.
    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the verb into the context; none may be left."""
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            from sevbuild.cli.usage import unexpected_arguments

            raise unexpected_arguments(ctx, rest)
        return rest


class Verbs(_Strict, TyperGroup):
    """Several verbs."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options to a help text, then the verbs."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words up to the verb; where there are none at all, show the help and end with 2."""
        if not args and not ctx.resilient_parsing:
            print_help(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb that the first word names, and the other words."""
        if (
            args
            and self.get_command(ctx, args[0]) is None
            and args[0][:1] != "-"
            and not ctx.resilient_parsing
        ):
            from sevbuild.cli.usage import unknown_verb

            raise unknown_verb(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class Application(typer.Typer):
    """A collection of verbs, as typer makes it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Verbs, rich_markup_mode=None, add_completion=False, **settings)

    def command(  # type: ignore[override]
        self, name: str | None = None, **settings: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return what makes a verb of a function; a group of options it takes stands for each of them."""
        add = super().command(name, cls=Verb, **settings)
        return lambda verb: add(_flattened(verb))


def _flattened(verb: Callable[..., None]) -> Callable[..., None]:
    """Return a verb as typer reads one: with a parameter for each option of its groups of options.

    A group is a class of named fields, each of which has its `typer.Option` for a default, and is called as
    the parameter of the verb would be.
    """
    groups: dict[str, Any] = {}
    parameters: list[Parameter] = []
    kinds = get_type_hints(verb)
    for parameter in signature(verb).parameters.values():
        kind = kinds[parameter.name]
        options = getattr(kind, "_field_defaults", None)
        if options is None:
            parameters.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        types = get_type_hints(kind)
        parameters += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=types[name])
            for name, option in options.items()
        ]

    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(*(given.pop(field) for field in group._fields))
        verb(**given)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    # All of it is resolved here, once: typer would do so twice.
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _set_color(_: object, __: object, when: str | None) -> None:
    if when is not None:
        set_color(when)


def _refuse_empty(parameter: Any, value: Any) -> None:
    """Raise SevbuildError where a value that was given is empty, or a member of one with commas is."""
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else _argument(parameter)
    metavar = parameter.metavar or ""
    if name in EMPTY_VALUES and metavar == "TEXT":
        return
    words = value if isinstance(value, list | tuple) else [value]
    if "COMMAND" in metavar:
        # The words of a command are its own, after the first.
        words = words[:1]
    for word in words:
        if isinstance(word, str) and not all(map(str.strip, word.split(",")) if "," in metavar else [word]):
            hint = "an unset shell variable expands to nothing"
            hint += "" if parameter.required else f"; leave {name} out if nothing is meant"
            raise SevbuildError(f"{name}: empty", hint=hint)


def _argument(parameter: Any) -> str:
    """Return the name of an argument as the help has it, without brackets and dots: `FILE`."""
    words = (parameter.metavar or parameter.name.upper()).strip("[]. ").split()
    return str(words[0]).strip("[].")

"""`sevbuild export`: reference values in one format."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli.options import (
    FROZEN,
    LOCK_FILE,
    LOCKED,
    OFFLINE,
    QUIET,
    SETTINGS,
    TARGETS,
    VALUES_SOURCE,
    LockOptions,
)
from sevbuild.cli.report import print_data, print_notices, print_text
from sevbuild.cli.signing import SIGN, read_signing_keys
from sevbuild.errors import Notice, SevbuildError

__all__ = ["register"]

EXTRA: Any = typer.Option(
    [], "--extra", metavar="KEY=VALUE", help="A value the guest does not determine; @FILE reads it."
)


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def export(
        file: str = VALUES_SOURCE,
        fmt: str = typer.Option("", "--format", "-f", metavar="NAME", help="The format.", show_default=False),
        listed: bool = typer.Option(False, "--list", help="List every format and what it needs."),
        output: str = typer.Option(
            "",
            "--output",
            "-o",
            metavar="PATH",
            help="Write there: into a folder that exists or ends in /, else this file.",
            show_default=False,
        ),
        one: str = typer.Option(
            "", "--file", metavar="NAME", help="Take this file of the format alone.", show_default=False
        ),
        extra: list[str] = EXTRA,
        sign: list[str] = SIGN,
        target: list[str] = TARGETS,
        settings: list[str] = SETTINGS,
        locked: bool = LOCKED,
        frozen: bool = FROZEN,
        lock_file: str = LOCK_FILE,
        offline: bool = OFFLINE,
        quiet: bool = QUIET,
    ) -> None:
        """Write reference values in a format that a verifier reads.

        The first file of a format goes to standard output; -o FOLDER/ writes all of them.
        """
        if listed:
            print_text(_list())
            return
        if not fmt:
            raise SevbuildError(
                "export needs --format NAME", hint="`sevbuild export --list` lists the formats"
            )
        from sevbuild.cli.extra import read_extra
        from sevbuild.cli.source import load_values
        from sevbuild.reference.export.interface import ExportOptions
        from sevbuild.reference.export.registry import exporter, render

        found = exporter(fmt)
        keys = read_signing_keys(sign)
        lock = LockOptions(locked, frozen, lock_file, offline)
        source = load_values(file, settings=settings, targets=target, lock=lock)
        values = {**source.values.get(fmt, {}), **read_extra(fmt, extra)}
        options = ExportOptions(values, keys.of(fmt))
        files = render(fmt, source.document, options)
        keys.refuse_unused({fmt}, {})
        print_notices([*source.notices, *found.notices(source.document, options)], quiet=quiet)
        if one and one not in files:
            raise SevbuildError(f"format {fmt} writes no {one}", hint=f"it writes {', '.join(files)}")
        _write(fmt, {one: files[one]} if one else files, output, quiet=quiet)


def _write(fmt: str, files: dict[str, bytes], output: str, *, quiet: bool) -> None:
    import os
    import sys

    first = next(iter(files))
    if not output:
        if len(files) > 1:
            others = ", ".join(list(files)[1:])
            text = f"prints {first}; it also has {others}: --file NAME prints one, -o FOLDER/ writes all"
            print_notices([Notice("note", fmt, text)], quiet=quiet)
        if _is_binary(files[first]) and sys.stdout.isatty():
            hint = "-o FILE writes it; a pipe takes it too"
            raise SevbuildError(f"{first} is binary, and standard output is a terminal", hint=hint)
        print_data(files[first])
        return
    from sevbuild.output.file import make_folder, write_file

    if output.endswith("/") or os.path.isdir(output):
        make_folder(output)
        for name, data in files.items():
            write_file(os.path.join(output, name), data)
    elif len(files) > 1:
        hint = f"-o {output}/ writes all, --file NAME one of them"
        raise SevbuildError(f"format {fmt} has {len(files)} files, {', '.join(files)}", hint=hint)
    else:
        write_file(output, files[first])


def _is_binary(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _list() -> str:
    from sevbuild.cli.tables import text_table
    from sevbuild.manifest.formats import FORMATS
    from sevbuild.reference.export.registry import exporter

    rows = []
    for name, keys in FORMATS.items():
        found = exporter(name)
        needs = ", ".join(key.name for key in keys if key.required)
        takes = ", ".join(key.name for key in keys if not key.required)
        rows.append((name, ", ".join(found.modes), found.summary, takes or "-", needs or "-"))
    return text_table(("format", "modes", "what it is", "takes", "needs"), rows)

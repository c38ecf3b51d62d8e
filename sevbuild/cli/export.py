"""`sevbuild export`: reference values in one format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.output import FORCE, protect, refuse_force, write_outputs
from sevbuild.cli.report import print_data, print_notices, print_text
from sevbuild.cli.signing import SIGN, key_paths, read_signing_keys
from sevbuild.errors import Notice, SevbuildError
from sevbuild.text import utf8_text

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.reference.export.interface import Exporter

__all__ = ["export"]

EXTRA: Any = options.value_option(
    "--extra", metavar="KEY=VALUE", text="A value the guest does not determine; @FILE reads it.", default=[]
)

APPRAISAL: Any = options.value_option(
    "--appraisal",
    metavar="FILE",
    text="The appraisal policy, for the formats of verifiers: what is accepted of reports.",
)


def export(
    file: str = options.VALUES_SOURCE,
    *,
    fmt: str = options.value_option("--format", "-f", metavar="NAME", text="The format."),
    listed: bool = typer.Option(False, "--list", help="List every format and what it needs."),
    output: str = options.value_option(
        "--output",
        "-o",
        metavar="PATH",
        text="Where to write: a folder that exists or ends in /, else a file.",
    ),
    one: str = options.value_option("--file", metavar="NAME", text="Only this file of the format."),
    force: bool = FORCE,
    extra: list[str] = EXTRA,
    sign: list[str] = SIGN,
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    appraisal: str = APPRAISAL,
    expected: options.ExpectOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Write reference values in a format that a verifier reads.

    The first file of a format goes to standard output; -o FOLDER/ writes all of them.
    """
    if listed:
        print_text(_list())
        return
    if not fmt:
        raise SevbuildError(
            "export requires --format NAME", hint="`sevbuild export --list` lists the formats"
        )
    if force:
        refuse_force(output)
    from sevbuild.cli.extra import read_extra
    from sevbuild.cli.source import load_values
    from sevbuild.reference.export.interface import ExportOptions
    from sevbuild.reference.export.registry import exporter, render

    found = exporter(fmt)
    keys = read_signing_keys(sign)
    expected.check()
    source = load_values(file, settings=settings, targets=target, lock=lock)
    expected.hold(lambda: source.run, quiet=quiet)
    given = {**source.extra.get(fmt, {}), **read_extra(fmt, extra)}
    export_options = ExportOptions(given, keys.of(fmt), appraisal=_policy(appraisal, found))
    files = render(fmt, source.values, export_options)
    keys.refuse_unused({fmt}, {})
    print_notices([*source.notices, *found.notices(source.values, export_options)], quiet=quiet)
    if one and one not in files:
        raise SevbuildError(f"format {fmt} does not write {one}", hint=f"it writes {', '.join(files)}")
    files = {one: files[one]} if one else files
    if not output:
        _print_first(fmt, files, quiet=quiet)
        return
    protected = protect(documents=[appraisal] if appraisal else (), given=[*extra, *settings])
    protected.add("a signing key", key_paths(sign))
    if source.guest is None:
        from sevbuild.bundle.published import document_path

        protected.add("an input of this command", [document_path(file)])
    else:
        protected.add_guest(file, source.guest)
        protected.add_lock(file, lock.lock_file)
    placed = _placed(fmt, files, output)
    write_outputs(placed, protected, force=force, folders=output not in placed, quiet=quiet)


def _policy(path: str, found: Exporter) -> AppraisalPolicy:
    """Return the appraisal policy at a path, that which says nothing without one; raises SevbuildError."""
    from sevbuild.appraise.policy import read_appraisal
    from sevbuild.attest.appraisal import AppraisalPolicy

    if not path:
        return AppraisalPolicy()
    if not found.appraises:
        from sevbuild.reference.export.registry import appraising_formats

        hint = f"for {', '.join(appraising_formats())}"
        raise SevbuildError(f"--appraisal: format {found.name} says nothing of reports", hint=hint)
    return read_appraisal(path)


def _print_first(fmt: str, files: dict[str, bytes], *, quiet: bool) -> None:
    """Print the first file of a format; a note names the others."""
    import sys

    first = next(iter(files))
    if len(files) > 1:
        others = ", ".join(list(files)[1:])
        text = f"prints {first}; it also has {others}: --file NAME prints one, -o FOLDER/ writes all"
        print_notices([Notice("note", fmt, text)], quiet=quiet)
    if utf8_text(files[first]) is None and sys.stdout.isatty():
        hint = "-o FILE writes it; a pipe works too"
        raise SevbuildError(f"{first} is binary, and standard output is a terminal", hint=hint)
    print_data(files[first])


def _placed(fmt: str, files: dict[str, bytes], output: str) -> dict[str, bytes]:
    """Return the files of a format by the paths that `--output` means."""
    import os

    if output.endswith("/") or os.path.isdir(output):
        return {os.path.join(output, name): data for name, data in files.items()}
    if len(files) > 1:
        hint = f"-o {output}/ writes all, --file NAME one of them"
        raise SevbuildError(f"format {fmt} has {len(files)} files, {', '.join(files)}", hint=hint)
    return dict.fromkeys([output], next(iter(files.values())))


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

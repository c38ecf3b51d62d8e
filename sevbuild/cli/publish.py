"""`sevbuild publish`: a release in one command."""

from __future__ import annotations

import os
from typing import Any

from sevbuild.cli import options
from sevbuild.cli.output import patience, print_wrote_folder
from sevbuild.cli.report import on_github, print_notices, print_text
from sevbuild.cli.signing import SIGN, read_signing_keys
from sevbuild.errors import SevbuildError
from sevbuild.text import visible

__all__ = ["publish"]

FORMATS: Any = options.value_option(
    "--formats",
    metavar="NAME,NAME...",
    text="The formats, or `all` that apply; may be repeated. Default: those of [publish], else all.",
    default=[],
)
EXTRA: Any = options.value_option(
    "--extra",
    metavar="FORMAT.KEY=VALUE",
    text="A value the guest does not determine; @FILE reads it.",
    default=[],
)


def publish(
    file: str = options.VALUES_SOURCE,
    *,
    output: str = options.value_option(
        "--output", "-o", metavar="DIR", text="The folder of the release.", default=...
    ),
    formats: list[str] = FORMATS,
    extra: list[str] = EXTRA,
    sign: list[str] = SIGN,
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    expected: options.ExpectOptions,
    lock: options.LockOptions,
    fmt: str = options.RESULT_FORMAT,
    quiet: bool = options.QUIET,
) -> None:
    """Write a release: reference values, every format that applies, release notes, SHA256SUMS.

    The folder is complete or absent. Formats that do not apply are noted on standard error with the
    reason; one asked for by name must be written.
    """
    from sevbuild.bundle.release import write_release
    from sevbuild.cli.extra import read_extras
    from sevbuild.cli.source import load_values
    from sevbuild.manifest.formats import FORMATS as KEYS
    from sevbuild.reference.export.registry import exporter
    from sevbuild.reference.release import make_release

    if fmt in KEYS:
        raise SevbuildError(f"--format {fmt}: unknown value", hint=f"formats of a release: --formats {fmt}")
    as_json = options.wants_json(fmt)
    named = tuple(dict.fromkeys(name.strip() for words in formats for name in words.split(",")))
    everything = "all" in named
    for name in named:
        if name != "all":
            exporter(name)
    given = read_extras(extra)
    keys = read_signing_keys(sign)
    expected.check()
    source = load_values(file, settings=settings, targets=target, lock=lock, publishing=True)
    expected.hold(lambda: source.run, quiet=quiet)
    wanted = None if everything else named or source.formats
    every = {
        name: {**source.extra.get(name, {}), **given.get(name, {})} for name in {**source.extra, **given}
    }
    made = make_release(source.values, wanted, every, keys)
    print_notices([*source.notices, *made.notices], quiet=quiet)
    write_release(output, made.files, patience=patience())
    print_wrote_folder(output, quiet=quiet)
    if as_json:
        from sevbuild.cli.results import print_result
        from sevbuild.reference.results import result_entry, written_files

        written = written_files({os.path.join(output, name): data for name, data in made.files.items()})
        print_result(result_entry(source.values, written=written, notices=[*source.notices, *made.notices]))
    else:
        print_text("".join(f"{visible(name)}\n" for name in sorted(made.files)))
    if on_github():
        from sevbuild.cli.github import report_values

        digests = [(value.label, value.digest) for value in source.values.values]
        outputs = {"reference-values": f"{output.rstrip('/')}/reference-values.json"}
        report_values(source.values.title(), digests, outputs)

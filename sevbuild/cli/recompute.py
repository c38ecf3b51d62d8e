"""`sevbuild recompute`: any target's launch digest from published ingredients."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_digests, print_notices, print_warning
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import read_file
from sevbuild.manifest.profiles import DEFAULT_PROFILE
from sevbuild.text import encode_text

__all__ = ["recompute"]

_VCPUS: Any = options.value_option(
    "--vcpus", metavar="N|RANGE", text="vCPU counts to use instead of its own; may be repeated.", default=[]
)
_CPUS: Any = options.value_option(
    "--cpu", metavar="MODEL", text="CPU models to use instead of its own; may be repeated.", default=[]
)
_SELECT: Any = options.value_option(
    "--select", metavar="KEY=VALUE", text="Only entries that have this; may be repeated.", default=[]
)
_CMDLINE: Any = options.value_option(
    "--cmdline", metavar="TEXT", text="The command line to use instead of its own.", default=None
)


def recompute(
    file: str = typer.Argument(
        ..., metavar="FILE", help="reference-values.json, or an ingredients document like dstack's."
    ),
    *,
    vcpus: list[str] = _VCPUS,
    cpu: list[str] = _CPUS,
    cmdline: str | None = _CMDLINE,
    cmdline_file: str = typer.Option("", "--cmdline-file", metavar="FILE", help="The same, from a file."),
    select: list[str] = _SELECT,
    profile: str | None = options.value_option(
        "--profile",
        metavar="NAME",
        text=f"The hypervisor, if the document names none. Default: {DEFAULT_PROFILE}.",
        default=None,
    ),
    expected: options.ExpectOptions,
    fmt: str = options.RESULT_FORMAT,
    quiet: bool = options.QUIET,
) -> None:
    """Compute launch digests from ingredients alone, without any file they stand for.

    Without flags the document's own vCPU counts, CPU models and command lines are taken. One target
    prints its bare digest; several print `DIGEST  LABEL` a line.
    """
    from sevbuild.bundle.published import read_document_bytes
    from sevbuild.manifest.inputs import CMDLINE
    from sevbuild.reference.recompute_request import read_request, recompute_document, recomputed_run

    as_json = options.wants_json(fmt)
    if cmdline is not None and cmdline_file:
        raise SevbuildError("--cmdline cannot be combined with --cmdline-file")
    line = None if cmdline is None else encode_text(cmdline)
    if cmdline_file:
        line = read_file(cmdline_file, CMDLINE.limit)
    request = read_request(",".join(vcpus), cpu, line)
    expected.check()
    result = recompute_document(*read_document_bytes(file), request, select, profile)
    notes = [Notice("note", file, note) for note in result.notes]
    warnings = [
        Notice("warning", item.label, f"the document itself says {item.published.hex()}")
        for item in result.recomputed
        if item.published is not None and item.published != item.digest
    ]
    print_notices(notes, quiet=quiet)
    for notice in warnings:
        print_warning(f"{notice.where}: {notice.message}")
    expected.hold(lambda: recomputed_run(result, request, select), quiet=quiet)
    if as_json:
        from sevbuild.cli.results import print_recomputed

        print_recomputed(result, [*notes, *warnings])
    else:
        print_digests([(item.label, item.digest) for item in result.recomputed])

"""`sevbuild recompute`: any target's launch digest from published ingredients."""

from __future__ import annotations

from typing import Any

import typer

from sevbuild.cli.options import (
    QUIET,
    RESULT_FORMAT,
    ExpectOptions,
    wants_json,
)
from sevbuild.cli.report import print_digests, print_notices, print_warning
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import read_file
from sevbuild.text import encode_text

__all__ = ["register"]

_VCPUS: Any = typer.Option(
    [], "--vcpus", metavar="N|RANGE", help="In place of its own vCPU counts; may be repeated."
)
_CPUS: Any = typer.Option(
    [], "--cpu", metavar="MODEL", help="In place of its own CPU models; may be repeated."
)
_SELECT: Any = typer.Option(
    [], "--select", metavar="KEY=VALUE", help="Take the entries that have this; may be repeated."
)
_CMDLINE: Any = typer.Option(None, "--cmdline", metavar="TEXT", help="In place of its own command line.")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def recompute(
        file: str = typer.Argument(
            ..., metavar="FILE", help="reference-values.json, or an ingredient document of dstack's kind."
        ),
        *,
        vcpus: list[str] = _VCPUS,
        cpu: list[str] = _CPUS,
        cmdline: str | None = _CMDLINE,
        cmdline_file: str = typer.Option("", "--cmdline-file", metavar="FILE", help="The same, from a file."),
        select: list[str] = _SELECT,
        profile: str | None = typer.Option(
            None,
            "--profile",
            metavar="NAME",
            help="The hypervisor, where the document names none; else qemu.",
            show_default=False,
        ),
        expected: ExpectOptions,
        fmt: str = RESULT_FORMAT,
        quiet: bool = QUIET,
    ) -> None:
        """Compute launch digests from ingredients alone, without any file they stand for.

        Without flags the document's own vCPU counts, CPU models and command lines are taken. One target
        prints its bare digest; several print `DIGEST  LABEL` a line.
        """
        from sevbuild.bundle.published import read_document_bytes
        from sevbuild.manifest.inputs import CMDLINE
        from sevbuild.reference.recompute_request import read_request, recompute_document, recomputed_run

        as_json = wants_json(fmt)
        if cmdline is not None and cmdline_file:
            raise SevbuildError("--cmdline goes not with --cmdline-file: say it in one way")
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

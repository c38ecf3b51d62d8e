"""`sevbuild check`: manifests and inputs, without a digest."""

from __future__ import annotations

from typing import Any, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.cli.report import print_data, print_error, print_notices, print_text
from sevbuild.errors import Notice, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.text import counted, visible

__all__ = ["check"]

FORMATS = ("text", "json", "sarif")


class _Checked(NamedTuple):
    """What became of one manifest; `targets` is None where they could not be told."""

    manifest: str
    targets: int | None
    notices: list[Notice]
    error: SevbuildError | None

    @property
    def warnings(self) -> int:
        return sum(notice.level == "warning" for notice in self.notices)


def check(
    manifest: list[str] | None = options.MANIFESTS,
    *,
    settings: list[str] = options.SETTINGS,
    lock: options.LockOptions,
    changed: bool = typer.Option(
        False,
        "--changed",
        help="Treat arguments as changed files: check the manifests among them, and those that name one.",
    ),
    strict: bool = typer.Option(False, "--strict", help="Treat warnings as errors (exit 2)."),
    fmt: str = options.format_option(*FORMATS),
    quiet: bool = options.QUIET,
) -> None:
    """Check manifests and their inputs: that they are there, and what they are taken for.

    Each is tried; the highest exit code counts. JSON and SARIF have errors, warnings and notes with
    their places.
    """
    options.check_format(fmt, FORMATS)
    manifests = manifest or [options.DEFAULT_MANIFEST]
    if lock.lock_file and (changed or len(manifests) > 1):
        raise SevbuildError(
            "--lock names the lock of a single manifest", hint="--locked uses the lock of each"
        )
    if changed:
        from sevbuild.cli.changed import concerned_manifests

        values = options.read_settings(settings)
        manifests = concerned_manifests(manifest or [], values, locked=lock.locked, quiet=quiet)
    checked = [_check(path, settings, lock) for path in manifests]
    status = 0
    for item in checked:
        print_notices(item.notices, quiet=quiet)
        if item.error is not None:
            print_error(item.error)
            status = max(status, item.error.exit_code)
        elif strict and item.warnings:
            print_error(SevbuildError(f"{item.manifest}: {counted(item.warnings, 'warning')} under --strict"))
            status = max(status, SevbuildError.exit_code)
    _print(fmt, checked)
    if status:
        raise typer.Exit(status)


def _check(manifest: str, settings: list[str], lock: options.LockOptions) -> _Checked:
    from sevbuild.guest.lint import check_guest

    guest: Guest | None = None
    fault: SevbuildError | None = None
    try:
        guest, held = lock.load(manifest, settings)
        found = guest
        check_guest(found, lambda: held(found, found.targets, everything=True))
    except SevbuildError as error:
        fault = error
    if guest is None:
        return _Checked(manifest, None, [], fault)
    return _Checked(manifest, len(guest.targets), guest.notices, fault)


def _print(fmt: str, checked: list[_Checked]) -> None:
    if fmt == "text":
        for item in checked:
            if item.error is None:
                counts = f"{counted(item.targets or 0, 'target')}, {counted(item.warnings, 'warning')}"
                print_text(f"{visible(item.manifest)}: {counts}\n")
        return
    from sevbuild.cli.findings import findings_of_error, findings_of_notices, sarif_document
    from sevbuild.documents.json_text import json_text

    found = [
        [*(findings_of_error(item.error) if item.error else ()), *findings_of_notices(item.notices)]
        for item in checked
    ]
    if fmt == "sarif":
        print_data(json_text(sarif_document([finding for findings in found for finding in findings])))
        return
    entries: list[dict[str, Any]] = [
        {
            "manifest": item.manifest,
            "targets": item.targets,
            "exit_code": item.error.exit_code if item.error else 0,
            "findings": [finding.document() for finding in findings],
        }
        for item, findings in zip(checked, found, strict=True)
    ]
    print_data(json_text({"schema": 1, "manifests": entries}))

"""`sevbuild measure`: the launch digests of a guest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.cli.report import (
    on_github,
    print_data,
    print_digests,
    print_notices,
    print_text,
    shown_progress,
)
from sevbuild.errors import Notice
from sevbuild.guest.measured import Measured

if TYPE_CHECKING:
    from sevbuild.cli.cause import Asking
    from sevbuild.guest.protected import Protected
    from sevbuild.reference.expected import Run
    from sevbuild.reference.model import ReferenceValues

__all__ = ["measure"]

FORMATS = ("hex", "base64", "json", "table", "markdown")


class _Found(NamedTuple):
    """What was measured, what there is to say of it, and what only some runs ask for.

    `values` makes the reference values, with or without ingredients; `run` is what `--expect` compares, and
    `asking` of whom the cause of a difference can be asked. `protected` knows the files that no output takes
    the place of. `title` names what GitHub is told of.
    """

    measured: Sequence[Measured[Any]]
    notices: Sequence[Notice]
    values: Callable[[bool], ReferenceValues]
    run: Callable[[], Run]
    asking: Callable[[], Asking]
    protected: Callable[[], Protected]
    title: str | None = None


def measure(
    manifest: str = options.MANIFEST_OR_IGVM,
    *,
    fmt: str = options.format_option(*FORMATS),
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    expected: options.ExpectOptions,
    dump_vmsa: str = options.value_option(
        "--dump-vmsa", metavar="DIR", text="Write vmsa0.bin and vmsa1.bin to this folder."
    ),
    lint: bool = typer.Option(False, "--lint", help="Check the firmware as `check` does."),
    igvm: options.IgvmOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Print the launch digest of each target of a guest.

    One target prints its bare digest; several print `DIGEST  LABEL` a line. Values that enter a
    digest and do not stand in the manifest are noted on standard error. An IGVM file in place of a
    manifest is measured as each loader would launch it.
    """
    options.check_format(fmt, FORMATS)
    expected.check()
    if igvm.are_for(manifest, lock, {"--set": settings, "--lint": lint}):
        found = _measure_file(manifest, igvm, target)
    else:
        found = _measure_guest(manifest, lock, settings, target, lint=lint)
    print_notices(found.notices, quiet=quiet)
    if dump_vmsa:
        from sevbuild.cli.output import write_outputs
        from sevbuild.guest.dump import vmsa_files

        files = vmsa_files(dump_vmsa, found.measured)
        hint = "--dump-vmsa takes another folder"
        write_outputs(files, found.protected(), hint=hint, folders=True, quiet=quiet)
    expected.hold(found.run, found.asking, quiet=quiet)
    if fmt in ("hex", "base64"):
        print_digests([(item.label, item.digest) for item in found.measured], fmt)
    else:
        _print_values(fmt, found)
    if found.title is not None and on_github():
        from sevbuild.cli.github import report_values

        report_values(found.title, [(item.label, item.digest) for item in found.measured])


def _measure_guest(
    manifest: str, lock: options.LockOptions, settings: list[str], patterns: Sequence[str], *, lint: bool
) -> _Found:
    guest, held = lock.load(manifest, settings)
    targets = guest.select(patterns)
    measured = guest.measure(targets)
    held(guest, targets)
    if lint:
        from sevbuild.guest.lint import lint_guest

        guest.notices.extend(lint_guest(guest))

    def values(ingredients: bool) -> ReferenceValues:
        from sevbuild.reference.collect import collect_values

        return collect_values(guest, measured, ingredients=ingredients)

    def run() -> Run:
        from sevbuild.cli.expectation import guest_run

        return guest_run(guest, measured, patterns)

    def asking() -> Asking:
        from sevbuild.cli.cause import asking_of_guest

        return asking_of_guest(guest, manifest, settings)

    def protected() -> Protected:
        from sevbuild.cli.output import protect

        known = protect(given=settings)
        known.add_guest(manifest, guest)
        known.add_lock(manifest, lock.lock_file)
        return known

    title = f"{guest.manifest.name} {guest.manifest.version}"
    return _Found(measured, guest.notices, values, run, asking, protected, title)


def _measure_file(path: str, igvm: options.IgvmOptions, patterns: Sequence[str]) -> _Found:
    from sevbuild.guest.foreign import ForeignFile

    file = ForeignFile(path, shown_progress())
    launch, kernel = igvm.launch()
    measured = file.launches(launch, patterns)

    def values(_ingredients: bool) -> ReferenceValues:
        from sevbuild.reference.igvm_file import file_values

        return file_values(file, measured, launch.signature, kernel)

    def run() -> Run:
        from sevbuild.cli.expectation import measured_run

        return measured_run(measured, lambda: values(True), igvm.selection(patterns))

    def asking() -> Asking:
        from sevbuild.cli.cause import asking_of_file

        return asking_of_file(file, launch, igvm.words())

    def protected() -> Protected:
        from sevbuild.cli.output import protect

        return protect(documents=filter(None, [path, igvm.with_kernel, igvm.with_initrd]))

    return _Found(measured, file.notices, values, run, asking, protected)


def _print_values(fmt: str, found: _Found) -> None:
    from sevbuild.reference.document import document_text

    values = found.values(fmt == "json")
    if fmt == "json":
        print_data(document_text(values))
        return
    from sevbuild.cli.tables import values_table

    print_text(values_table(fmt, values.values))

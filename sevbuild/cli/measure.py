"""`sevbuild measure`: the launch digests of a guest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli.options import (
    CPU,
    EXPECT,
    FROZEN,
    LOADERS,
    LOCK_FILE,
    LOCKED,
    LOCKS_ARE_FOR_MANIFESTS,
    MANIFEST_OR_IGVM,
    MODE,
    OFFLINE,
    QUIET,
    RELEASE,
    SETTINGS,
    TARGETS,
    VCPUS,
    WITH_CMDLINE,
    WITH_INITRD,
    WITH_KERNEL,
    LockOptions,
    check_format,
    check_release,
    igvm_options,
    read_settings,
)
from sevbuild.cli.report import on_github, print_data, print_digests, print_notices, print_text
from sevbuild.guest.guest import Guest, load_guest
from sevbuild.guest.measured import Measured
from sevbuild.manifest.targets import Target

if TYPE_CHECKING:
    from sevbuild.guest.protected import Protected
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.reference.expected import Run

__all__ = ["register"]

FORMATS = ("hex", "base64", "json", "table", "markdown")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def measure(
        manifest: str = MANIFEST_OR_IGVM,
        *,
        fmt: str = typer.Option(
            "hex", "--format", "-f", metavar="|".join(FORMATS), help="How to print them."
        ),
        target: list[str] = TARGETS,
        settings: list[str] = SETTINGS,
        expect: str = EXPECT,
        release: str = RELEASE,
        dump_vmsa: str = typer.Option(
            "", "--dump-vmsa", metavar="DIR", help="Write vmsa0.bin and vmsa1.bin there.", show_default=False
        ),
        lint: bool = typer.Option(False, "--lint", help="Examine the firmware as `check` does."),
        loader: list[str] = LOADERS,
        mode: str | None = MODE,
        vcpus: int | None = VCPUS,
        cpu: str | None = CPU,
        with_kernel: str | None = WITH_KERNEL,
        with_initrd: str | None = WITH_INITRD,
        with_cmdline: str | None = WITH_CMDLINE,
        locked: bool = LOCKED,
        frozen: bool = FROZEN,
        lock_file: str = LOCK_FILE,
        offline: bool = OFFLINE,
        quiet: bool = QUIET,
    ) -> None:
        """Print the launch digest of each target of a guest.

        One target prints its bare digest; several print `DIGEST  LABEL` a line. Values that enter a
        digest and do not stand in the manifest are noted on standard error. An IGVM file in place of a
        manifest is measured as each loader would launch it.
        """
        check_format(fmt, FORMATS)
        lock = LockOptions(locked, frozen, lock_file, offline)
        check_release(release, expect)
        refused = {
            LOCKS_ARE_FOR_MANIFESTS: any(lock),
            "--set is for manifests": settings,
            "--lint is for manifests": lint,
        }
        given = (loader, mode, vcpus, cpu, with_kernel, with_initrd, with_cmdline)
        options = igvm_options(manifest, given, refused)
        if options is not None:
            from sevbuild.cli.foreign import measure_foreign

            def act(measured: list[Measured[Loaded]], run: Run) -> None:
                if dump_vmsa:
                    from sevbuild.cli.output import protect

                    protected = protect(documents=filter(None, [manifest, with_kernel, with_initrd]))
                    _dump(dump_vmsa, measured, protected, quiet=quiet)
                if expect:
                    from sevbuild.cli.expectation import hold_to_expected

                    hold_to_expected(expect, run, release=release, quiet=quiet)

            measure_foreign(manifest, options, target, fmt, act, quiet=quiet)
            return
        held = lock.check(manifest, settings)
        guest = load_guest(manifest, settings=read_settings(settings), network=lock.network())
        targets = guest.select(target)
        measured = guest.measure(targets)
        held(guest, targets)
        if lint:
            from sevbuild.guest.lint import lint_guest

            guest.notices.extend(lint_guest(guest))
        print_notices(guest.notices, quiet=quiet)
        if dump_vmsa:
            from sevbuild.cli.output import protect

            protected = protect(given=settings)
            protected.add_guest(manifest, guest)
            protected.add_lock(manifest, lock_file)
            _dump(dump_vmsa, measured, protected, quiet=quiet)
        if expect:
            from sevbuild.cli.expectation import guest_run, hold_to_expected

            hold_to_expected(expect, guest_run(guest, measured, target), release=release, quiet=quiet)
        if fmt in ("hex", "base64"):
            print_digests([(item.label, item.digest) for item in measured], fmt)
        else:
            _render(fmt, guest, measured)
        _report(guest, measured)


def _report(guest: Guest, measured: list[Measured[Target]]) -> None:
    """Tell GitHub what was measured, where it runs this."""
    if on_github():
        from sevbuild.cli.github import report_values

        values = [(item.label, item.digest.hex()) for item in measured]
        report_values(f"{guest.manifest.name} {guest.manifest.version}", values)


def _dump(
    folder: str,
    measured: Sequence[Measured[Any]],
    protected: Protected,
    *,
    quiet: bool,
) -> None:
    from sevbuild.cli.output import write_outputs
    from sevbuild.guest.dump import vmsa_files

    hint = "--dump-vmsa takes another folder"
    write_outputs(vmsa_files(folder, measured), protected, hint=hint, folders=True, quiet=quiet)


def _render(fmt: str, guest: Guest, measured: list[Measured[Target]]) -> None:
    from sevbuild.reference.collect import collect_values
    from sevbuild.reference.document import document_text, value_entry

    collected = collect_values(guest, measured, ingredients=fmt == "json")
    if fmt == "json":
        print_data(document_text(collected))
        return
    from sevbuild.cli.tables import values_table

    print_text(values_table(fmt, map(value_entry, collected.values)))

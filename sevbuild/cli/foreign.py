"""What `measure` and `plan` do with an IGVM file in place of a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sevbuild.cli.options import given_mode
from sevbuild.cli.report import print_data, print_digests, print_notices, print_text, shown_progress
from sevbuild.errors import SevbuildError, within
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, GivenKernel, given_kernel
from sevbuild.guest.measured import Measured
from sevbuild.igvm.loaded import Loaded
from sevbuild.manifest.selection import select
from sevbuild.manifest.vcpu_keys import cpu_named
from sevbuild.reference.expected import Run
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.narrow import Selection

__all__ = ["ForeignOptions", "measure_foreign", "plan_foreign", "refuse_foreign_options"]


class ForeignOptions(NamedTuple):
    """The flags of an IGVM file, as they were given."""

    loader: list[str]
    mode: str | None
    vcpus: int | None
    cpu: str | None
    with_kernel: str | None
    with_initrd: str | None
    with_cmdline: str | None

    def given(self) -> list[str]:
        """Return the flags that were given."""
        return [
            f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value not in ([], None)
        ]


def refuse_foreign_options(options: ForeignOptions) -> None:
    """Raise SevbuildError where flags of an IGVM file come with a manifest."""
    if options.given():
        from sevbuild.cli.usage import setting_hint

        flag = options.given()[0]
        raise SevbuildError(f"{flag} is for IGVM files", hint=setting_hint(flag))


def measure_foreign(
    path: str,
    options: ForeignOptions,
    targets: Sequence[str],
    fmt: str,
    act: Callable[[list[Measured[Loaded]], Run], None],
    *,
    quiet: bool,
) -> None:
    """Print an IGVM file's launch digests; `act` is called before, with them and with what to compare."""
    file = ForeignFile(path, shown_progress())
    launch, kernel = _launch(options)
    measured = _measured(file, launch, options, targets, quiet=quiet)

    def values() -> ReferenceValues:
        from sevbuild.reference.igvm_file import file_values

        return file_values(file, measured, launch.signature, kernel)

    act(
        measured,
        Run([(item.label, item.digest.hex()) for item in measured], values, _selection(options, targets)),
    )
    if fmt in ("hex", "base64"):
        print_digests([(item.label, item.digest) for item in measured], fmt)
        return
    from sevbuild.reference.document import reference_document

    document = reference_document(values())
    if fmt == "json":
        from sevbuild.documents.json_text import json_text

        print_data(json_text(document))
    else:
        from sevbuild.cli.tables import values_table

        print_text(values_table(fmt, document["values"]))


def _selection(options: ForeignOptions, patterns: Sequence[str]) -> Selection:
    """Return what `--loader`, `--mode`, `--vcpus` and `--target` narrow a run to."""
    wanted: dict[str, list[str]] = {}
    flags = [f"--target {pattern}" for pattern in patterns]
    if options.loader and "all" not in options.loader:
        wanted["profile"] = options.loader
        flags += [f"--loader {name}" for name in options.loader]
    if options.mode is not None:
        wanted["mode"] = [options.mode]
        flags.append(f"--mode {options.mode}")
    if options.vcpus is not None:
        wanted["vcpus"] = [str(options.vcpus)]
        flags.append(f"--vcpus {options.vcpus}")
    return Selection(tuple(patterns), wanted, " ".join(flags))


def plan_foreign(
    path: str, options: ForeignOptions, targets: Sequence[str], *, quiet: bool
) -> list[dict[str, Any]]:
    """Return the launch plans of an IGVM file as documents."""
    from sevbuild.guest.trace import update_entries
    from sevbuild.reference.document import value_entry
    from sevbuild.reference.igvm_file import file_value

    file = ForeignFile(path, shown_progress())
    documents = []
    for item in _measured(file, _launch(options)[0], options, targets, quiet=quiet):
        value = value_entry(file_value(item))
        keys = ("label", "mode", "profile", "order", "policy", "guest_features", "algorithm")
        document: dict[str, Any] = {key: value[key] for key in keys}
        document["seed"] = None
        document["updates"] = update_entries(item.plan.mode, file.trace(item.plan))
        documents.append(document)
    return documents


def _launch(options: ForeignOptions) -> tuple[ForeignLaunch, GivenKernel | None]:
    kernel = None
    if options.with_kernel is not None:
        # The host hashes the empty line where it is given none.
        kernel = given_kernel(
            options.with_kernel, options.with_initrd, options.with_cmdline or "", shown_progress()
        )
    elif options.with_initrd is not None or options.with_cmdline is not None:
        raise SevbuildError("--with-initrd and --with-cmdline belong to a kernel", hint="--with-kernel FILE")
    hashes = None if kernel is None else kernel.hashes
    mode, signature = given_mode(options.mode), None
    if options.cpu is not None:
        with within("--cpu"):
            signature = cpu_named(options.cpu).signature
    return ForeignLaunch(options.loader, mode, options.vcpus, signature, hashes), kernel


def _measured(
    file: ForeignFile, launch: ForeignLaunch, options: ForeignOptions, targets: Sequence[str], *, quiet: bool
) -> list[Measured[Loaded]]:
    loaded, refused = file.load(launch)
    measured, stopped = file.measure(select(targets, loaded) if targets else loaded)
    if not measured:
        reasons = [f"{item.loader}: {item.reason}" for item in (*refused, *stopped)]
        raise SevbuildError(f"{file.path}: no loader takes this file:", details=reasons)
    if launch.signature is not None and not any(item.target.takes_signature for item in measured):
        hint = "leave it out; --vcpus N starts more vCPUs than the file describes, where a loader does"
        raise SevbuildError(f"--cpu {options.cpu}: no vCPU starts as it, the file describes them", hint=hint)
    file.note(measured, [*refused, *stopped])
    print_notices(file.notices, quiet=quiet)
    return measured

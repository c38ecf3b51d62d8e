"""What `measure` and `plan` do with an IGVM file in place of a manifest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sevbuild.cli.report import print_notices
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, ForeignMeasured, kernel_hashes_of
from sevbuild.manifest.selection import select_labels

__all__ = ["ForeignOptions", "measure_foreign", "plan_foreign", "refuse_foreign_options"]


class ForeignOptions(NamedTuple):
    """Hold the flags of an IGVM file, as they were given."""

    loader: list[str]
    vcpus: int | None
    model: str
    with_kernel: str
    with_initrd: str
    with_cmdline: str

    def given(self) -> list[str]:
        """Return the flags that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value]


def refuse_foreign_options(options: ForeignOptions) -> None:
    """Raise SevbuildError where flags of an IGVM file come with a manifest."""
    if options.given():
        hint = "a manifest says it: --set vcpu.count=N, vcpu.model, launch.profile, kernel.path"
        raise SevbuildError(f"{options.given()[0]} is for IGVM files", hint=hint)


def measure_foreign(
    path: str,
    options: ForeignOptions,
    targets: Sequence[str],
    fmt: str,
    act: Callable[[list[ForeignMeasured]], None],
    *,
    quiet: bool,
) -> None:
    """Print the launch digests of an IGVM file; `act` is called with them before."""
    file = ForeignFile(path)
    measured = _measured(file, options, targets, quiet=quiet)
    act(measured)
    if fmt in ("hex", "base64"):
        from base64 import b64encode

        digests = [
            item.digest.hex() if fmt == "hex" else b64encode(item.digest).decode() for item in measured
        ]
        if len(measured) > 1:
            digests = [f"{text}  {item.label}" for text, item in zip(digests, measured, strict=True)]
        sys.stdout.write("".join(f"{text}\n" for text in digests))
        return
    from sevbuild.cli.tables import markdown_table, text_table
    from sevbuild.json_text import json_text
    from sevbuild.reference.igvm_file import foreign_document

    document = foreign_document(file, measured)
    header = ("label", "policy", "guest features", "launch digest")
    rows = [
        (
            value["label"],
            f"{value['policy']} ({value['origins']['policy']})",
            "none"
            if value["guest_features"] is None
            else f"{value['guest_features']} ({value['origins']['guest_features']})",
            value["digest"],
        )
        for value in document["values"]
    ]
    if fmt == "json":
        sys.stdout.write(json_text(document))
    elif fmt == "table":
        sys.stdout.write(text_table(header, rows))
    else:
        sys.stdout.write(markdown_table(header, [(*row[:3], f"`{row[3]}`") for row in rows]))


def plan_foreign(
    path: str, options: ForeignOptions, targets: Sequence[str], *, quiet: bool
) -> list[dict[str, Any]]:
    """Return the launch plans of an IGVM file as documents."""
    from sevbuild.guest.trace import update_entries
    from sevbuild.reference.igvm_file import foreign_value

    file = ForeignFile(path)
    documents = []
    for item in _measured(file, options, targets, quiet=quiet):
        value = foreign_value(item)
        keys = ("label", "mode", "profile", "order", "policy", "guest_features", "algorithm")
        document: dict[str, Any] = {key: value[key] for key in keys}
        document["seed"] = None
        document["updates"] = update_entries(item.plan.mode, file.trace(item.loaded))
        documents.append(document)
    return documents


def _measured(
    file: ForeignFile, options: ForeignOptions, targets: Sequence[str], *, quiet: bool
) -> list[ForeignMeasured]:
    hashes = None
    if options.with_kernel:
        hashes = kernel_hashes_of(options.with_kernel, options.with_initrd, options.with_cmdline)
    elif options.with_initrd or options.with_cmdline:
        raise SevbuildError("--with-initrd and --with-cmdline belong to a kernel", hint="--with-kernel FILE")
    launch = ForeignLaunch(options.loader, options.vcpus, options.model, hashes)
    loaded, refused = file.load(launch)
    if targets:
        by_label = {item.label: item for item in loaded}
        loaded = [by_label[label] for label in select_labels(targets, by_label)]
    measured, stopped = file.measure(loaded)
    if not measured:
        reasons = "".join(f"\n  {item.loader}: {item.reason}" for item in (*refused, *stopped))
        raise SevbuildError(f"{file.path}: no loader takes this file:{reasons}")
    file.note(measured, [*refused, *stopped])
    print_notices(file.notices, quiet=quiet)
    return measured

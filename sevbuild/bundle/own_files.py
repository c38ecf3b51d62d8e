"""The files of a manifest as they stand, where nothing was built."""

from __future__ import annotations

from sevbuild.commands.launch import ROLES
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.manifest.inputs import IGVM
from sevbuild.manifest.targets import Target

__all__ = ["own_files", "single_target"]


def single_target(guest: Guest, label: str) -> Target:
    """Return the target of a label, or the only one; raises SevbuildError where there are several."""
    targets = guest.select([label] if label else [])
    if len(targets) > 1:
        hint = f"--target LABEL, such as {targets[0].label}"
        raise SevbuildError(f"the manifest has {len(targets)} targets: choose one", hint=hint)
    return targets[0]


def own_files(guest: Guest, target: Target) -> dict[str, str]:
    """Return role and path of what a target launches, as this process can open it.

    Raises SevbuildError where what is launched is no file of the manifest: an initrd of several files, the
    parts of a unified kernel image.
    """
    files = [
        declared
        for declared in target.variant.inputs
        if declared.launched and declared.sources and declared.role.launched_as in ROLES
    ]
    hint = "`sevbuild build` writes it, with the command that launches it"
    for declared in files:
        if declared.part:
            message = f"the parts of {declared.name} are not separate files"
        elif len(declared.sources) > 1:
            message = f"the initrd of {len(declared.sources)} files is not a single file"
        else:
            continue
        raise SevbuildError(f"{target.label}: {message}", hint=hint)
    if target.variant.declared(IGVM) is not None:
        # Its policy stands in the command.
        guest.igvm.check_pin(target.variant)
    return {declared.role.launched_as: guest.reader.fetched_path(declared.sources[0]) for declared in files}

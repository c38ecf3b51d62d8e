"""The files of a manifest as they stand, where nothing was built."""

from __future__ import annotations

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.manifest.targets import Target

__all__ = ["own_files", "single_target"]


def single_target(guest: Guest, label: str) -> Target:
    """Return the target of a label, or the only one; raises SevbuildError where there are several."""
    targets = guest.select([label] if label else [])
    if len(targets) > 1:
        hint = f"--target LABEL, such as {targets[0].label}"
        raise SevbuildError(f"the manifest has {len(targets)} targets: say which one", hint=hint)
    return targets[0]


def own_files(guest: Guest, target: Target) -> dict[str, str]:
    """Return role and path of what a target launches, as this process can open it.

    Raises SevbuildError where what is launched is no file of the manifest: an initrd of several files, the
    parts of a unified kernel image.
    """
    variant = target.variant
    kernel, initrd = variant.kernel, variant.initrd
    hint = "`sevbuild build` writes it, with the command that launches it"
    if kernel is not None and kernel.uki_as == "parts":
        raise SevbuildError(
            f"{target.label}: the parts of {kernel.path} are no files of their own", hint=hint
        )
    if initrd is not None and len(initrd.paths) > 1:
        raise SevbuildError(
            f"{target.label}: the initrd of {len(initrd.paths)} files is no file of its own", hint=hint
        )
    if variant.ready_igvm is not None:
        # Its policy stands in the command.
        guest.igvm.check_pin(variant)
    found = {
        "firmware": variant.firmware.path,
        "igvm": variant.ready_igvm,
        "kernel": None if kernel is None else kernel.path,
        "initrd": initrd.paths[0] if initrd is not None and initrd.paths else None,
    }
    return {role: guest.reader.resolve(path) for role, path in found.items() if path is not None}

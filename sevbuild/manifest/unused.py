"""Keys that have no effect on any target: whoever wrote one believes that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sevbuild.manifest.model import Manifest, Variant

if TYPE_CHECKING:
    from sevbuild.manifest.targets import Target

__all__ = ["note_unused", "takes_host_data", "takes_id_block", "takes_machine"]


def takes_machine(target: Target) -> bool:
    """Tell whether a launch command is written for a target: `[machine]` is for those alone."""
    return bool(target.profile.prose.command.starts)


def takes_host_data(target: Target) -> bool:
    """Tell whether the launch command of a target has host data to pass on, as SNP's has."""
    return target.mode == "snp" and takes_machine(target)


def takes_id_block(target: Target) -> bool:
    """Tell whether a target is launched with an ID block where the manifest declares one.

    A launch command has it, or the IGVM file that a loader replays.
    """
    return target.mode == "snp" and (takes_machine(target) or target.profile.rules.loader is not None)


_SNP_ALONE = {"launch.host-data": "host data", "id-block": "an ID block"}
"""What SNP_LAUNCH_FINISH takes, and no command of SEV and SEV-ES."""


def note_unused(manifest: Manifest, targets: Sequence[Target]) -> None:
    """Note as a fault each key of launch commands that no target has one for.

    A key of a table that several entries of the matrix inherit needs one target in any of them.
    """
    declaring = [
        variant
        for variant in manifest.variants
        if variant.machine.given or variant.host_data or variant.id_block
    ]
    if not declaring:
        return
    of: dict[Variant, list[Target]] = {}
    for target in targets:
        of.setdefault(target.variant, []).append(target)
    seen: dict[tuple[str, int | None, str], tuple[Variant, str, bool]] = {}
    for variant in declaring:
        own = of.get(variant, [])
        uses: list[tuple[str, Callable[[Target], bool]]] = [
            (f"machine.{key}", takes_machine) for key in variant.machine.given
        ]
        if variant.host_data is not None:
            uses.append(("launch.host-data", takes_host_data))
        if variant.id_block is not None:
            uses.append(("id-block", takes_id_block))
        for key, takes in uses:
            place = variant.document.place(key)
            used = any(takes(target) for target in own) or (place in seen and seen[place][2])
            seen[place] = (variant, key, used)
    for variant, key, used in seen.values():
        if used:
            continue
        if key in _SNP_ALONE and not any(target.mode == "snp" for target in targets):
            message = f"has no effect: no target is an SNP guest, and only those take {_SNP_ALONE[key]}"
        else:
            names = ", ".join(dict.fromkeys(target.profile.name for target in of.get(variant, [])))
            message = f"has no effect: there is no launch command for profile {names}"
        variant.document.fault(key, message, "leave it out")

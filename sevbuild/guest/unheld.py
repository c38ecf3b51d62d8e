"""What `--set` changes and no lock holds: policy, features, counts and all else the manifest itself says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sevbuild.errors import Notice
from sevbuild.manifest.inputs import ROLES
from sevbuild.manifest.settings import Step, path_steps

__all__ = ["unheld_settings"]

_HELD = (
    "launch.profile",
    *(f"{role.table}.{key}" for role in ROLES.values() for key in role.keys),
    "initrd",
    "variables",
    "vcpu.model",
    "vcpu.signature",
    "vcpu.family",
    "vcpu.model-number",
    "vcpu.stepping",
)
"""Keys whose values a lock has, or the digest of what they lead to."""

_IN_LABELS = ("launch.mode", "vcpu.count")
"""Keys whose values stand in the labels of command lines, of which a lock has those that are measured."""


def unheld_settings(settings: Iterable[str], lock: str, *, labels: bool) -> list[Notice]:
    """Return a warning for each `PATH=VALUE` that a run with the lock at `lock` passes whatever it is.

    `labels` tells whether the lock has the label of every target.
    """
    held = [key.split(".") for key in _HELD + (_IN_LABELS if labels else ())]
    found: dict[Notice, None] = {}
    for setting in settings:
        path = setting.partition("=")[0].strip()
        names = _names(path_steps(path))
        if not any(names[: len(key)] == key for key in held):
            message = f"{lock} does not cover it: a run with this lock passes whatever its value"
            found[Notice("warning", f"--set {path}", message, "--expect checks the result")] = None
    return list(found)


def _names(steps: Sequence[Step]) -> list[str]:
    """Return the keys on the way, within an entry of the matrix where they lead into one."""
    names = [step for step in steps if isinstance(step, str)]
    return names[1:] if names[0] == "matrix" else names

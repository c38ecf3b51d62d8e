"""An IGVM file as one side of a comparison, in the loaders that are asked for or that the other side has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sevbuild.diagnose.differences.document_sides import ValuesSide
from sevbuild.diagnose.differences.launch_sides import IgvmSide, LaunchSide
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, GivenKernel
from sevbuild.igvm.loaders import LOADERS
from sevbuild.launch.label import label_parts
from sevbuild.manifest.profiles import load_profile, profile_names

if TYPE_CHECKING:
    from sevbuild.progress import Progress

__all__ = ["igvm_side"]


def igvm_side(
    path: str,
    other: LaunchSide | None,
    launch: ForeignLaunch,
    kernel: GivenKernel | None = None,
    progress: Progress | None = None,
) -> IgvmSide:
    """Return a file in the loaders of `launch`, where it names none in those that the other side has.

    Two files are compared in every loader that takes them. Raises SevbuildError where nothing says which.
    """
    file = ForeignFile(path, progress)
    if launch.loaders or other is None or isinstance(other, IgvmSide):
        return IgvmSide(file, launch, kernel=kernel)
    if isinstance(other, ValuesSide) and other.of_file and not any(launch):
        return IgvmSide(file, launch, other.document)
    names = [name for name in map(partial(_loader, other), other.labels()) if name is not None]
    if not names:
        message = f"{path}: nothing in {other.compared.name} says which loader launches it"
        raise SevbuildError(message, hint=f"--loader takes one of {', '.join(LOADERS)}")
    return IgvmSide(file, launch._replace(loaders=tuple(dict.fromkeys(names))), kernel=kernel)


def _loader(other: LaunchSide, label: str) -> str | None:
    """Return what launches a target from an IGVM file: a loader that its label has, or its profile's."""
    name = label_parts(label).get("profile", "")
    if other.of_file:
        return name if name in LOADERS else None
    profile = other.profile(label)
    if profile is None and name in profile_names():
        profile = load_profile(name)
    return None if profile is None else profile.rules.loader

"""The platforms of a file: which modes they stand for, and which of them a loader takes."""

from __future__ import annotations

from collections.abc import Mapping

from sevbuild.errors import SevbuildError
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import PlatformType, SupportedPlatform
from sevbuild.igvm.loaders import Loader
from sevbuild.launch.mode import Mode

__all__ = ["PLATFORM_MODES", "choose_platform", "file_modes"]

PLATFORM_MODES: Mapping[PlatformType, Mode] = {
    PlatformType.SEV_SNP: "snp",
    PlatformType.SEV_ES: "sev-es",
    PlatformType.SEV: "sev",
}
"""The mode that each measured platform stands for, strongest first."""


def file_modes(file: IgvmFile) -> list[Mode]:
    """Return the modes that a file's platforms stand for, strongest first."""
    kinds = {platform.platform_type for platform in file.platforms}
    return [mode for kind, mode in PLATFORM_MODES.items() if kind in kinds]


def choose_platform(file: IgvmFile, loader: Loader, mode: Mode | None) -> SupportedPlatform:
    """Return the platform that a loader takes: that of `mode`, else the strongest that it knows.

    Raises SevbuildError where the file has none, or the loader does not take it.
    """
    platforms = {platform.platform_type: platform for platform in file.platforms}
    takes = ", ".join(loader.modes)
    if mode is not None and mode not in loader.modes:
        raise SevbuildError(f"it takes {takes}, not {mode}")
    for kind, known in PLATFORM_MODES.items():
        if kind in platforms and known in loader.modes and mode in (None, known):
            return platforms[kind]
    names = ", ".join(kind.name for kind in platforms)
    asked = f"it takes {takes}" if mode is None else f"asked for is {mode}"
    raise SevbuildError(f"the file's platforms are {names}; {asked}")

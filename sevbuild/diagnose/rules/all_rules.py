"""Every single change of a start, the likeliest first."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.rules.cmdlines import cmdline_changes
from sevbuild.diagnose.rules.cpus import cpu_changes
from sevbuild.diagnose.rules.features import feature_changes
from sevbuild.diagnose.rules.hosts import by_host
from sevbuild.diagnose.rules.images import image_changes
from sevbuild.diagnose.rules.initrds import initrd_changes
from sevbuild.diagnose.rules.kernels import kernel_changes, kernel_hashes_changes
from sevbuild.diagnose.rules.loaders import loader_changes
from sevbuild.diagnose.rules.modes import mode_changes, order_changes
from sevbuild.diagnose.rules.profiles import profile_changes
from sevbuild.diagnose.rules.registers import register_changes
from sevbuild.diagnose.rules.sections import section_changes
from sevbuild.launch.profile import LaunchProfile

__all__ = ["changes_for"]


def changes_for(start: Start, profiles: Sequence[LaunchProfile]) -> list[Change]:
    """Return all single changes for a start, the likeliest first; those of one axis have distinct values."""
    found = [
        *profile_changes(start, profiles),
        *kernel_hashes_changes(start),
        *kernel_changes(start),
        *initrd_changes(start),
        *cmdline_changes(start),
        *cpu_changes(start),
        *feature_changes(start),
        *register_changes(start),
        *image_changes(start),
        *section_changes(start),
        *mode_changes(start),
        *loader_changes(start, profiles),
        *order_changes(start),
    ]
    return sorted(by_host(found, start.host), key=lambda change: change.weight)

"""Declare a confidential guest, lay it out and measure it.

The names of `__all__` are the Python API (docs/api.md); each is imported when it is first asked for.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # the one of typing costs its import; type checkers take any of this name for it
if TYPE_CHECKING:
    from sevbuild.api import collect_reference_values, read_reference_values, recompute, reference_values_text
    from sevbuild.bundle.verify import Verified, verify_bundle
    from sevbuild.bundle.write import build_bundle
    from sevbuild.errors import Fault, FaultsError, MismatchError, Notice, SevbuildError
    from sevbuild.guest.guest import Guest, load_guest
    from sevbuild.guest.inputs import Network
    from sevbuild.guest.measured import Measured
    from sevbuild.launch.plan import LaunchPlan
    from sevbuild.launch.update import LaunchUpdate
    from sevbuild.manifest.targets import Target
    from sevbuild.reference.model import ReferenceValues, Value
    from sevbuild.reference.recompute import Recomputed

__all__ = [
    "Fault",
    "FaultsError",
    "Guest",
    "LaunchPlan",
    "LaunchUpdate",
    "Measured",
    "MismatchError",
    "Network",
    "Notice",
    "Recomputed",
    "ReferenceValues",
    "SevbuildError",
    "Target",
    "Value",
    "Verified",
    "build_bundle",
    "collect_reference_values",
    "load_guest",
    "read_reference_values",
    "recompute",
    "reference_values_text",
    "verify_bundle",
]

_HOMES = {
    "api": ("collect_reference_values", "read_reference_values", "recompute", "reference_values_text"),
    "bundle.verify": ("Verified", "verify_bundle"),
    "bundle.write": ("build_bundle",),
    "errors": ("Fault", "FaultsError", "MismatchError", "Notice", "SevbuildError"),
    "guest.guest": ("Guest", "load_guest"),
    "guest.inputs": ("Network",),
    "guest.measured": ("Measured",),
    "launch.plan": ("LaunchPlan",),
    "launch.update": ("LaunchUpdate",),
    "manifest.targets": ("Target",),
    "reference.model": ("ReferenceValues", "Value"),
    "reference.recompute": ("Recomputed",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            globals()[name] = found = getattr(import_module(f"sevbuild.{home}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

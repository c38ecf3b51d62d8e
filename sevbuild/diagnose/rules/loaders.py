"""Rules of IGVM files: which loader launches one, and for which of its platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.rules.weights import LOADER, MODE
from sevbuild.diagnose.setup import Setup
from sevbuild.documents.toml_text import toml_string
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.platforms import file_modes
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.profile import LaunchProfile

__all__ = ["loader_changes"]

_MODE = "an IGVM file can have a platform for each mode, of which a loader takes one"


def loader_changes(start: Start, profiles: Sequence[LaunchProfile]) -> Iterator[Change]:
    """Yield a change to each other loader, and to each other mode that the file has a platform for."""
    setup = start.setup
    if not isinstance(setup, FileLaunch):
        return
    names = {profile.rules.loader: profile.name for profile in profiles}
    for rank, loader in enumerate(LOADERS.values()):
        if loader.name != setup.loader:
            name = names.get(loader.name)
            edits = [] if name is None else [Edit("launch.profile", toml_string(name))]
            says = f"the loader {loader.name} ({loader.summary})"
            apply, weight = _loaded_by(loader.name), LOADER + rank
            yield Change("loader", loader.name, "both", apply, says, loader.source, weight, tuple(edits))
    for mode in MODES:
        if mode != setup.mode and mode in file_modes(setup.file.file):
            both = (Edit("launch.mode", toml_string(mode)), Edit("launch.policy", None))
            yield Change("mode", mode, "both", _in_mode(mode), f"the mode {mode}", _MODE, MODE, both)


def _loaded_by(name: str) -> Callable[[Setup], Setup]:
    def apply(setup: Setup) -> Setup:
        return setup._replace(loader=name) if isinstance(setup, FileLaunch) else setup

    return apply


def _in_mode(mode: Mode) -> Callable[[Setup], Setup]:
    def apply(setup: Setup) -> Setup:
        return setup._replace(mode=mode) if isinstance(setup, FileLaunch) else setup

    return apply

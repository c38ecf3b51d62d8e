"""Rules of the hypervisor and the era of its hosts: every profile as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.rules.applying import launching_with
from sevbuild.diagnose.rules.weights import PROFILE
from sevbuild.diagnose.setup import LaidOut
from sevbuild.documents.toml_text import toml_string
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.profiles import profile_names

__all__ = ["profile_changes"]

_TELLING = (
    "initial-state",
    "page-types",
    "launch.vmsa-gpa",
    "launch.sections-last",
    "launch.loader",
    "guest-features",
)
"""The values of profiles that differ, those first that tell most."""


def profile_changes(start: Start, profiles: Sequence[LaunchProfile]) -> Iterator[Change]:
    """Yield a change to each other profile; one that cannot launch the mode is for another mode as well."""
    setup = start.setup
    if not isinstance(setup, LaidOut):
        return
    shipped, named = profile_names(), {profile.name: profile for profile in profiles}
    for rank, profile in enumerate(profiles):
        if profile.rules == setup.profile.rules:
            continue
        features = profile.rules.features.get(setup.mode)
        edits = [Edit("launch.profile", toml_string(profile.name))]
        if features is not None and features != setup.shape.guest_features:
            # Without it, the features would be those of the profile.
            edits.append(Edit("launch.guest-features", f"{setup.shape.guest_features:#x}"))
        if profile.name not in shipped:
            # A manifest names it by a path, which the profile does not know.
            edits = []
        fits = setup.mode in profile.rules.modes
        yield Change(
            axis="profile",
            value=profile.name,
            touches="both",
            apply=launching_with(profile),
            says=f"the profile {profile.name} ({_without_brackets(profile.prose.summary)})",
            source=_source(profile, named),
            weight=PROFILE + rank + (0 if fits else len(profiles)),
            edits=tuple(edits),
        )


def _without_brackets(text: str) -> str:
    """Return a text with commas for its brackets, so that it can stand in others."""
    return re.sub(r" \(([^)]*)\)", r", \1,", text).replace(",,", ",").rstrip(",")


def _source(profile: LaunchProfile, parents: Mapping[str, LaunchProfile]) -> str:
    """Return where the most telling value is from in which a profile departs from the one it extends."""
    lineage, sources = profile.prose.lineage, profile.prose.sources
    parent = parents.get(lineage[-2]) if len(lineage) > 1 else None
    inherited = {} if parent is None else parent.prose.sources
    own = [path for path, source in sources.items() if inherited.get(path) != source]
    found = (path for prefix in _TELLING for path in own if path.startswith(prefix))
    source = sources.get(next(found, ""), profile.prose.summary)
    return f"{source}; as of {profile.prose.as_of}"

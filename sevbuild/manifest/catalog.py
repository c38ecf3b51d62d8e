"""What sevbuild knows by itself, as documents: CPU models, profiles, and where each value is from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.vcpu.models import CPU_MODELS, signature_text

__all__ = ["cpus_document", "profile_document", "profiles_document"]

_HEADINGS = ("name", "summary", "as-of")


def cpus_document() -> list[dict[str, Any]]:
    """Return name, family, model number, stepping and signature of every CPU model."""
    return [
        {
            "name": model.name,
            "family": model.family,
            "model_number": model.model,
            "stepping": model.stepping,
            "signature": signature_text(model.signature),
        }
        for model in CPU_MODELS.values()
    ]


def profiles_document() -> list[dict[str, Any]]:
    """Return name, modes, parent, date and summary of every shipped profile."""
    return [_summary(load_profile(name)) for name in profile_names()]


def profile_document(name: str) -> dict[str, Any]:
    """Return every value of a profile with its source, and whether it differs from the parent's.

    `name` is a shipped profile's, or a path.
    """
    profile = load_profile(name)
    parent = _parent(profile, name)
    inherited = dict(_leaves(parent.prose.raw)) if parent else {}
    values = [
        {
            "path": path,
            "value": _shown(value),
            "differs": parent is not None and inherited.get(path) != value,
            "parent_value": _shown(inherited[path]) if path in inherited else None,
            "source": profile.prose.source(path),
        }
        for path, value in _leaves(profile.prose.raw)
        if path not in _HEADINGS
    ]
    return {**_summary(profile), "values": values}


def _summary(profile: LaunchProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "modes": list(profile.rules.modes),
        "extends": profile.prose.lineage[-2] if len(profile.prose.lineage) > 1 else None,
        "as_of": profile.prose.as_of,
        "summary": profile.prose.summary,
    }


def _parent(profile: LaunchProfile, name: str) -> LaunchProfile | None:
    if len(profile.prose.lineage) < 2:
        return None
    parent = profile.prose.extends
    return load_profile(parent, os.path.dirname(name) or ".") if parent else None


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        path = prefix + key
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        elif key == "advice":
            for index, entry in enumerate(value):
                yield from _leaves(entry, f"{path}[{index}].")
        else:
            yield path, value


def _shown(value: Any) -> Any:
    """Return a value as documents write it: numbers of registers, addresses and bits in hex."""
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else value

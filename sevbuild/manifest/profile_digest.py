"""One digest over what a profile does to a launch, however its document is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.launch.page_type import page_type_word
from sevbuild.launch.profile import LaunchProfile

__all__ = ["profile_digest"]

_SAYS_NOTHING = frozenset(
    {"name", "summary", "as_of", "advice", "raw", "sources", "lineage", "extends", "initial_state", "command"}
)
"""Fields that are prose, how the document is written, or what issues the launch; the initial state is taken
as it is resolved."""

_NEUTRAL = {"order": "listed", "loader": None, "list_loader": None}
"""Values that a field has where a profile leaves a launch as it was before there was the field."""


def profile_digest(profile: LaunchProfile) -> bytes:
    """Return the SHA-256 over the canonical JSON of every value that decides a launch.

    Parents are merged in; names, prose, sources, advice, the order of keys, registers that are zero anyway
    and modes that the profile does not launch have no part in it.
    """
    import json
    from hashlib import sha256

    values = {
        field: value
        for field, value in profile._asdict().items()
        if field not in _SAYS_NOTHING and (field not in _NEUTRAL or value != _NEUTRAL[field])
    }
    modes = sorted(profile.modes)
    values["modes"] = modes
    values["regions"] = {mode: profile.regions[mode] for mode in modes}
    values["features"] = {mode: profile.features[mode].default for mode in modes if mode != "sev"}
    values["page_types"] = {kind: page_type_word(found) for kind, found in profile.page_types.items()}
    values["initial_state"] = {
        f"{mode}/{role}": _registers(profile.vcpu_state(mode, role))
        for mode in modes
        if mode != "sev"
        for role in ("bsp", "ap")
    }
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode()).digest()


def _registers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registers that are not zero; those that a profile does not name are."""
    found = {
        name: _registers(value) if isinstance(value, Mapping) else value for name, value in state.items()
    }
    return {name: value for name, value in found.items() if value not in (0, {})}

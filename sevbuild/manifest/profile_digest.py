"""One digest over what a profile does to a launch, however its document is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.launch.page_type import page_type_word
from sevbuild.launch.profile import LaunchProfile

__all__ = ["profile_digest"]


def profile_digest(profile: LaunchProfile) -> bytes:
    """Return the SHA-256 over the canonical JSON of every value that decides a launch.

    Parents are merged in; the order of keys, registers that are zero anyway and modes that the profile does
    not launch have no part in it, nor has a rule that is as it was before there was a key for it.
    """
    import json
    from hashlib import sha256

    rules = profile.rules
    neutral = rules._field_defaults
    values = {
        **rules.launch._asdict(),
        **{key: value for key, value in rules._asdict().items() if (key, value) not in neutral.items()},
    }
    del values["launch"]
    values["modes"] = sorted(rules.modes)
    values["page_types"] = {kind: page_type_word(found) for kind, found in rules.launch.page_types.items()}
    values["initial_state"] = {
        f"{mode}/{role}": _registers(rules.launch.vcpu_state(mode, role))
        for mode in rules.features
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

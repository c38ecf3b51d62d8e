"""Decode `launch.policy` and `launch.guest-features`: numbers, named bits, or either by mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sevbuild.documents.document import U64, Document, Table, check_integer, check_word
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.policy import decode_policy, policy_of
from sevbuild.vcpu.save_area import SEV_FEATURE_BITS

__all__ = ["check_mode", "decode_features", "decode_policies"]


def decode_policies(launch: Table, modes: tuple[Mode, ...]) -> dict[Mode, int]:
    """Return the policies the manifest gives, by mode."""
    value = launch.any("policy")
    if value is None:
        return {}
    found = {}
    for mode, path, entry in _by_mode(launch, "policy", value, modes):
        policy = decode_policy(launch.document, path, entry, mode)
        if policy is not None:
            found[mode] = policy
            reason = policy_of(mode, policy).fault(mode)
            if reason is not None:
                from sevbuild.manifest.hints import policy_hint

                message, hint = reason
                meant = policy_hint(policy, mode) if isinstance(entry, int) else None
                launch.document.fault(path, message, meant or hint)
    return found


def decode_features(launch: Table, modes: tuple[Mode, ...]) -> dict[Mode, int]:
    """Return the SEV_FEATURES the manifest gives, by mode."""
    value = launch.any("guest-features")
    if value is None:
        return {}
    found: dict[Mode, int] = {}
    for mode, path, entry in _by_mode(launch, "guest-features", value, modes):
        features = _features(launch.document, path, entry)
        if mode == "sev":
            launch.document.fault(
                path, "an SEV guest has no VMSA, so no features", 'leave it out for mode "sev"'
            )
        elif features is not None:
            found[mode] = features
    return found


def _by_mode(launch: Table, key: str, value: Any, modes: tuple[Mode, ...]) -> list[tuple[Mode, str, Any]]:
    path, document = launch.at(key), launch.document
    if value == {}:
        document.fault(path, "must not be empty")
        return []
    # `sev` names both a mode and a policy bit; bits are booleans.
    bits = isinstance(value, Mapping) and any(isinstance(entry, bool) for entry in value.values())
    if isinstance(value, Mapping) and not bits and set(value) & set(MODES):
        known = [mode for mode in value if check_mode(document, f"{path}.{mode}", mode)]
        for mode in known:
            if modes and mode not in modes:
                document.fault(f"{path}.{mode}", f"{mode} is not among the modes of launch.mode")
        return [(mode, f"{path}.{mode}", value[mode]) for mode in known]
    if len(modes) > 1:
        example = ", ".join(f"{mode} = ..." for mode in modes)
        document.fault(
            path, "one value cannot serve several modes", f"write a table: {key} = {{ {example} }}"
        )
        return []
    return [(mode, path, value) for mode in modes]


def check_mode(document: Document, path: str, value: Any) -> Mode | None:
    """Return `value` if it is a mode, else None with a fault that names the one it may be meant for."""
    if isinstance(value, str) and value not in MODES:
        from sevbuild.manifest.hints import mode_hint

        document.fault(path, f"unknown value {value!r}", mode_hint(value))
        return None
    return check_word(document, path, value, MODES)


def _features(document: Document, path: str, value: Any) -> int | None:
    if not isinstance(value, list):
        return check_integer(document, path, value, 0, U64)
    features = 0
    for index, name in enumerate(value):
        word = check_word(document, f"{path}[{index}]", name, SEV_FEATURE_BITS)
        features |= 0 if word is None else 1 << SEV_FEATURE_BITS[word]
    return features

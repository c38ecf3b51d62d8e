"""A profile's digest is over its rules, all of them, and over nothing that is said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sevbuild.launch.mode import MODES
from sevbuild.launch.page_type import PageType
from sevbuild.launch.profile import LaunchProfile, LaunchRules, LaunchValues, ProfileProse
from sevbuild.manifest.profile_digest import profile_digest
from sevbuild.manifest.profiles import load_profile, profile_names


def _others(value: Any) -> Iterator[Any]:
    """Yield values that are not this one, each different from it in one place."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, PageType):
        yield PageType(value % len(PageType) + 1)
    elif isinstance(value, int):
        yield value + 1
    elif value is None or isinstance(value, str):
        yield f"{value} or another"
    elif isinstance(value, Mapping):
        yield {**value, "another": 7}
        for key, entry in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            yield from ({**value, key: other} for other in _others(entry))
    elif hasattr(value, "_fields"):
        for field in value._fields:
            yield from (value._replace(**{field: other}) for other in _others(getattr(value, field)))
    else:
        yield (*value, "another")
        for index, entry in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ((*value[:index], other, *value[index + 1 :]) for other in _others(entry))


def _with_launch(profile: LaunchProfile, **values: Any) -> LaunchProfile:
    launch = profile.rules.launch._replace(**values)
    return profile._replace(rules=profile.rules._replace(launch=launch))


@pytest.mark.parametrize("name", profile_names())
def test_nothing_that_is_said_about_a_profile_enters_its_digest(name: str) -> None:
    profile = load_profile(name)
    digest = profile_digest(profile)
    assert profile_digest(profile._replace(name="another")) == digest
    for field in ProfileProse._fields:
        other = next(_others(getattr(profile.prose, field)))
        assert profile_digest(profile._replace(prose=profile.prose._replace(**{field: other}))) == digest


@pytest.mark.parametrize("name", profile_names())
def test_every_rule_enters_the_digest(name: str) -> None:
    profile = load_profile(name)
    digest = profile_digest(profile)
    changed = [
        (field, profile._replace(rules=profile.rules._replace(**{field: other})))
        for field in LaunchRules._fields
        if field != "launch"
        for other in _others(getattr(profile.rules, field))
    ]
    changed += [
        (field, _with_launch(profile, **{field: other}))
        for field in LaunchValues._fields
        # A word of the document stands for each page type, and registers are taken as they are resolved.
        if field not in ("page_types", "initial_state")
        for other in _others(getattr(profile.rules.launch, field))
    ]
    types = profile.rules.launch.page_types
    changed += [
        ("page_types", _with_launch(profile, page_types={**types, kind: other}))
        for kind, known in types.items()
        for other in (None, *PageType)
        if other != known
    ]
    assert {field for field, _ in changed} | {"launch", "initial_state"} == {
        *LaunchRules._fields,
        *LaunchValues._fields,
    }
    for field, other in changed:
        assert profile_digest(other) != digest, (field, other)


@pytest.mark.parametrize("name", profile_names())
def test_registers_enter_the_digest_as_vcpus_start_with_them(name: str) -> None:
    profile = load_profile(name)
    state, launched = profile.rules.launch.initial_state, profile.rules.features
    digest = profile_digest(profile)

    def with_state(changed: Mapping[str, Any]) -> bytes:
        return profile_digest(_with_launch(profile, initial_state=changed))

    def with_layer(layer: str, **registers: Any) -> bytes:
        return with_state({**state, layer: {**state.get(layer, {}), **registers}})

    assert with_state(dict(reversed(list(state.items())))) == digest
    assert with_state({**state, "r15": 0}) == digest
    if not launched:
        assert with_state({}) == digest
        return
    assert with_state({**state, "r15": 7}) != digest
    for layer in ("bsp", "ap", *MODES[1:]):
        enters = layer in ("bsp", "ap") or layer in launched
        for registers in ({"r15": 7}, {"es": {"limit": 0x1234}}, {"rdx": "entry"}):
            assert (with_layer(layer, **registers) != digest) == enters, (layer, registers)

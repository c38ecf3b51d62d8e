"""Canonical order where no loader replays the list: such a digest is computed, and launched nowhere."""

from __future__ import annotations

from collections.abc import Iterable

from sevbuild.manifest.targets import Target

__all__ = ["ORDER_HINT", "is_launched", "refuse_order"]

ORDER_HINT = 'use order = "profile", or a profile of your own that names a loader (launch.list-loader)'


def is_launched(target: Target) -> bool:
    """Tell whether the profile has something that launches a target in the order it is measured in."""
    return target.order != "canonical" or target.profile.rules.launches_in_canonical_order


def refuse_order(targets: Iterable[Target]) -> None:
    """Raise FaultsError where a target is to be built or published that nothing launches in its order."""
    refused = [target for target in targets if not is_launched(target)]
    for target in refused:
        name = target.profile.name
        message = f"canonical order: profile {name} names no loader that replays the list"
        target.variant.document.fault("launch.order", message, ORDER_HINT)
    for target in refused:
        target.variant.document.raise_faults()

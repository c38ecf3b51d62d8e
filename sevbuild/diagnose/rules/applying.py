"""How changes are applied: to a setup whose kind has the setting, while any other stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sevbuild.diagnose.change import Touches
from sevbuild.diagnose.departures import ORDER, Departure, Departures, departed, merged
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.igvm.loaders import loader_named
from sevbuild.launch.mode import Order
from sevbuild.launch.profile import LaunchProfile

__all__ = ["departing", "hashing", "launching_with", "natural_order", "on_laid_out", "side_of_vmsas"]


def on_laid_out(change: Callable[[LaidOut], LaidOut]) -> Callable[[Setup], Setup]:
    """Return what changes a launch that is laid out by a profile."""

    def apply(setup: Setup) -> Setup:
        return change(setup) if isinstance(setup, LaidOut) else setup

    return apply


def natural_order(profile: LaunchProfile) -> Order:
    """Return the order of a profile's launches where nothing else is asked for."""
    return "canonical" if profile.rules.order == "canonical" else "profile"


def departing(values: Mapping[str, Departure]) -> Callable[[Setup], Setup]:
    """Return what has a launch depart from its profile in these values, whichever profile that is.

    Of what a loader launches from a file, VMSAs can have other registers.
    """
    registers = {name: value for name, value in values.items() if name.startswith("registers.")}

    def apply(setup: Setup) -> Setup:
        if isinstance(setup, LaidOut):
            return _laid_over(setup, setup.profile, merged(setup.departures, values))
        if isinstance(setup, FileLaunch) and registers:
            return setup._replace(departures=merged(setup.departures, registers))
        return setup

    return apply


def side_of_vmsas(setup: Setup) -> Touches:
    """Return what of a launch its VMSAs are: some loaders take them where a file has them."""
    in_places = isinstance(setup, FileLaunch) and not loader_named(setup.loader).vmsas_last
    return "both" if in_places else "tail"


def hashing(name: str, value: Departure) -> Callable[[Setup], Setup]:
    """Return what has a launch depart in its kernel hashes alone: its profile's values stay what they are."""
    return on_laid_out(lambda setup: setup._replace(departures=merged(setup.departures, {name: value})))


def launching_with(profile: LaunchProfile) -> Callable[[Setup], Setup]:
    """Return what has a launch laid out by another profile, with the same departures from it.

    SEV_FEATURES stay what they are: they are a setting of their own. What was to be sorted still is.
    """
    return on_laid_out(lambda setup: _laid_over(setup, profile, setup.departures))


def _laid_over(setup: LaidOut, profile: LaunchProfile, departures: Departures) -> LaidOut:
    if ORDER not in dict(departures) and setup.shape.order != natural_order(setup.profile):
        departures = merged(departures, {ORDER: setup.shape.order})
    canonical = dict(departures).get(ORDER) == "canonical"
    shape = setup.shape._replace(
        launch=departed(profile.rules.launch, departures),
        order="canonical" if canonical else natural_order(profile),
    )
    return setup._replace(shape=shape, profile=profile, departures=departures)

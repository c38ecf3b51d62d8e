"""Single values by which a launch departs from its profile, whichever profile that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Firmware, Metadata, section_kind_name
from sevbuild.launch.page_type import PageType
from sevbuild.launch.planner import GuestInputs
from sevbuild.launch.profile import LaunchValues

__all__ = ["LEFT_OUT", "Departure", "departed", "merged", "without_sections"]

Departure = int | str | PageType | tuple[str, ...] | None
"""What a launch has instead of its profile's value: a number, a word, a page type, kinds of sections."""

LEFT_OUT = "sections-left-out"
"""The kinds of sections that are not launched, which no profile says."""

_KEPT = 32


def merged(
    departures: Sequence[tuple[str, Departure]], others: Mapping[str, Departure]
) -> tuple[tuple[str, Departure], ...]:
    """Return departures with others laid over them, sorted by name."""
    return tuple(sorted({**dict(departures), **others}.items()))


def departed(launch: LaunchValues, departures: Sequence[tuple[str, Departure]]) -> LaunchValues:
    """Return a profile's values with departures from them.

    Names are `sections-last`, `page-types.KIND`, `vmsa-gpa`, `measured-vcpus`, `entry.ROLE`, and
    `registers.ROLE.NAME` or, of a segment, `registers.ROLE.NAME.PART`; LEFT_OUT is no value of a profile.
    """
    page_types, entry = dict(launch.page_types), dict(launch.entry)
    state: dict[str, Any] = dict(launch.initial_state)
    for name, value in departures:
        table, _, rest = name.partition(".")
        if name == "sections-last" and isinstance(value, tuple):
            launch = launch._replace(sections_last=value)
        elif table == "page-types" and (value is None or isinstance(value, PageType)):
            page_types[rest] = value
        elif name == "vmsa-gpa" and isinstance(value, int):
            launch = launch._replace(vmsa_gpa=value)
        elif name == "measured-vcpus" and isinstance(value, str):
            launch = launch._replace(measured_vcpus=value)
        elif table == "entry" and isinstance(value, int | str):
            entry[rest] = value
        elif table == "registers":
            _set(state, rest.split("."), value)
        elif name != LEFT_OUT:
            raise ValueError(f"{name} = {value!r} is no departure of a launch")
    return launch._replace(page_types=page_types, entry=entry, initial_state=state)


def _set(tables: dict[str, Any], path: Sequence[str], value: Departure) -> None:
    """Set a value in nested tables, of which only copies are changed."""
    for step in path[:-1]:
        tables[step] = dict(tables.get(step, {}))
        tables = tables[step]
    tables[path[-1]] = value


def without_sections(inputs: GuestInputs, kinds: tuple[str, ...]) -> GuestInputs:
    """Return inputs of which sections of these kinds are not launched, the SVSM's where there is one."""
    svsm, firmware = inputs.svsm, inputs.firmware
    if svsm is not None:
        kept = tuple(section for section in svsm.sections if section_kind_name(section.kind) not in kinds)
        return inputs._replace(svsm=svsm._replace(sections=kept))
    if isinstance(firmware, Firmware):
        return inputs._replace(firmware=_firmware_without(firmware, kinds))
    return inputs._replace(firmware=firmware._replace(metadata=_metadata_without(firmware, kinds)))


@lru_cache(maxsize=_KEPT)
def _firmware_without(firmware: Firmware, kinds: tuple[str, ...]) -> Firmware:
    """Return the one firmware that is another without these sections: images are told apart by identity."""
    return firmware._replace(metadata=_metadata_without(firmware, kinds))


def _metadata_without(firmware: Firmware | FirmwareSeed, kinds: tuple[str, ...]) -> Metadata:
    sections = firmware.metadata.sections
    if sections is not None:
        sections = tuple(section for section in sections if section_kind_name(section.kind) not in kinds)
    return firmware.metadata._replace(sections=sections)

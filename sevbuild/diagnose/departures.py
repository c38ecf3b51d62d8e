"""Single values by which a launch departs from its profile, whichever profile that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Generic, TypeVar

from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.image.ovmf import Firmware, Metadata, section_kind_name
from sevbuild.launch.page_type import PageType
from sevbuild.launch.planner import GuestInputs
from sevbuild.launch.profile import LaunchValues

__all__ = [
    "HASHES",
    "KERNEL_HASHES",
    "LEFT_OUT",
    "NOTHING",
    "ONE_HASH",
    "ORDER",
    "Departure",
    "Departures",
    "Later",
    "departed",
    "launched",
    "merged",
]

ORDER = "order"
"""The order that is asked for: `canonical`, or `profile` for the profile's own."""

LEFT_OUT = "sections-left-out"
"""The kinds of sections that are not launched, which no profile says."""

KERNEL_HASHES = "kernel-hashes"
"""What is launched in place of the hashes of `inputs`: hashes, or one of HASHES."""

HASHES = ("off", "empty", "zeros")
"""No hashes; those of nothing, three times; no hashes, yet their page is launched as written zeros."""

ONE_HASH = "hashes."
"""Begins the name of a digest that is launched in place of one of the hashes."""

NOTHING = KernelHashes(sha256(b"").digest(), EMPTY_INITRD_DIGEST, cmdline_digest(b""))
"""The hashes of an empty kernel, no initrd and no command line."""

Value = TypeVar("Value")


class Later(Generic[Value]):
    """A value that is computed when it is first wanted, and once; values are told apart by identity."""

    __slots__ = ("_compute", "_found")

    def __init__(self, compute: Callable[[], Value]) -> None:
        self._compute = compute
        self._found: Value | None = None

    def __call__(self) -> Value:
        """Return the value; raises what computing it raises."""
        if self._found is None:
            self._found = self._compute()
        return self._found


Departure = int | str | PageType | tuple[str, ...] | Later[bytes] | Later[KernelHashes] | None
"""What a launch has instead of its own value: a number, a word, a page type, kinds of sections, hashes."""

Departures = tuple[tuple[str, Departure], ...]
"""Departures by name, each once, sorted."""

_PLAIN = {"sections-last": "sections_last", "vmsa-gpa": "vmsa_gpa", "measured-vcpus": "measured_vcpus"}
_KEPT = 32


def merged(departures: Departures, others: Mapping[str, Departure]) -> Departures:
    """Return departures with others laid over them, sorted by name."""
    return tuple(sorted({**dict(departures), **others}.items()))


def departed(launch: LaunchValues, departures: Departures) -> LaunchValues:
    """Return a profile's values with departures from them.

    Names are `sections-last`, `page-types.KIND`, `vmsa-gpa`, `measured-vcpus`, `entry.ROLE`, and
    `registers.ROLE.NAME` or, of a segment, `registers.ROLE.NAME.PART`. ORDER, LEFT_OUT
    and hashes are no values of a profile; only zeros for hashes are launched by the type of their page.
    """
    tables: dict[str, Any] = {
        "page-types": launch.page_types,
        "entry": launch.entry,
        "registers": launch.initial_state,
    }
    plain: dict[str, Any] = {}
    for name, value in departures:
        steps = name.split(".")
        if steps[0] in tables:
            _set(tables, steps, value)
        elif name in _PLAIN:
            plain[_PLAIN[name]] = value
        elif value == "zeros":
            _set(tables, ("page-types", "kernel-hashes-absent"), PageType.NORMAL)
    named = {
        "page_types": tables["page-types"],
        "entry": tables["entry"],
        "initial_state": tables["registers"],
    }
    return launch._replace(**plain, **named)


def _set(tables: dict[str, Any], path: Sequence[str], value: Departure) -> None:
    """Set a value in nested tables, of which only copies are changed."""
    for step in path[:-1]:
        tables[step] = dict(tables.get(step, {}))
        tables = tables[step]
    tables[path[-1]] = value


def launched(inputs: GuestInputs, departures: Departures) -> GuestInputs:
    """Return the inputs as a launch with these departures has them; raises what computing a digest raises."""
    others = dict(departures)
    left_out, hashes = others.get(LEFT_OUT), others.get(KERNEL_HASHES)
    if isinstance(left_out, tuple):
        inputs = _without_sections(inputs, left_out)
    if hashes is not None:
        inputs = inputs._replace(kernel_hashes=_hashes(inputs.kernel_hashes, hashes))
    if inputs.kernel_hashes is None or hashes == "empty":
        return inputs
    found = inputs.kernel_hashes._asdict()
    for name, value in departures:
        if name.startswith(ONE_HASH) and isinstance(value, Later):
            found[name.removeprefix(ONE_HASH)] = value()
    return inputs._replace(kernel_hashes=KernelHashes(**found))


def _hashes(own: KernelHashes | None, departure: Departure) -> KernelHashes | None:
    if isinstance(departure, Later):
        found = departure()
        return found if isinstance(found, KernelHashes) else own
    return NOTHING if departure == "empty" and own is not None else None


def _without_sections(inputs: GuestInputs, kinds: tuple[str, ...]) -> GuestInputs:
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

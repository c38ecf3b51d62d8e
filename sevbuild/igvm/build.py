"""From a launch plan to the IGVM file that a loader replays it from, by the portable rules.

One file has one launch digest in every loader that accepts it if: headers that launch nothing come first,
then parameter areas, pages by ascending GPA, VP contexts by index; pages of zeros have their zeros written;
one platform stands in the file (facts gathered from the loaders' sources; `igvm/portable.py` checks a file
against the same rules).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.igvm import headers
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import PAGE_SIZE, Header, HeaderType
from sevbuild.igvm.platforms import PLATFORM_MODES
from sevbuild.image.igvm_areas import IgvmArea
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import Contents
from sevbuild.launch.update import LaunchUpdate

__all__ = ["ParameterPlaces", "igvm_of_plan", "parameter_places"]

_PLATFORMS = {mode: kind for kind, mode in PLATFORM_MODES.items()}
_MASK = 1
_AREA = 0
_FOUR_GIB = 1 << 32
_MOST_REQUIRED = _FOUR_GIB - PAGE_SIZE
"""REQUIRED_MEMORY counts bytes in 32 bits."""
_EMPTY = {
    PageType.SECRETS: headers.PageDataType.SECRETS,
    PageType.CPUID: headers.PageDataType.CPUID_DATA,
}


class ParameterPlaces(NamedTuple):
    """Where a firmware wants the loader's parameters: the area's GPA and bytes, offsets within it."""

    gpa: int
    size: int
    memory_map: int | None
    vp_count: int | None


def parameter_places(areas: tuple[IgvmArea, ...]) -> ParameterPlaces:
    """Return the places that a firmware's IGVM metadata names; raises SevbuildError if there are none."""
    by_name = {area.name: area for area in reversed(areas)}
    area = by_name.get("parameters")
    if area is None or area.size <= 0 or area.base % PAGE_SIZE or area.size % PAGE_SIZE:
        hint = "leave igvm.parameters out: the firmware then asks fw_cfg"
        raise SevbuildError("the firmware names no pages for IGVM parameters", hint=hint)
    offsets = {}
    for name in ("memory-map", "vp-count"):
        place = by_name.get(name)
        if place is not None and place.base + place.size > area.size:
            raise SevbuildError(f"the firmware's place for the {name} lies outside of its parameter area")
        offsets[name] = None if place is None else place.base
    return ParameterPlaces(area.base, area.size, offsets["memory-map"], offsets["vp-count"])


def igvm_of_plan(
    plan: LaunchPlan, *, parameters: ParameterPlaces | None = None, id_block: headers.SnpIdBlock | None = None
) -> IgvmFile:
    """Return the IGVM file whose replay is `plan`; version 1 of the format, one platform.

    `id_block` stands at its end; its policy is the plan's, for the file says one for both.
    `parameters` inserts a parameter area, whose pages leave the region they lie in: a GPA is launched once.
    Raises SevbuildError for a plan that a file cannot hold.
    """
    if plan.seed is not None:
        raise SevbuildError("an IGVM file requires the firmware itself, not a seed")
    found: list[Header] = [
        headers.SupportedPlatform(_MASK, 0, _PLATFORMS[plan.mode]),
        headers.GuestPolicy(plan.policy, _MASK),
    ]
    # Elsewhere QEMU would turn memory private that cannot be.
    if plan.mode == "snp":
        found += _required_memory(plan)
    if parameters is not None:
        found += _parameters(parameters)
    for update in plan.regions:
        found += _pages(update, parameters)
    for index, update in enumerate(plan.vmsas):
        found.append(headers.VpContext(update.gpa, _MASK, _bytes(update.data, 0, PAGE_SIZE), index))
    if id_block is not None:
        found.append(id_block._replace(compatibility_mask=_MASK))
    return IgvmFile(1, found)


def _required_memory(plan: LaunchPlan) -> Iterator[headers.RequiredMemory]:
    """Yield the memory that must be there: what is launched, but for the flash that ends at 4 GiB."""
    regions = sorted((update.gpa, update.end) for update in plan.regions if update.end != _FOUR_GIB)
    start = end = -1
    for low, high in regions:
        if low != end:
            if end > start:
                yield _required(start, end)
            start = low
        end = high
    if end > start:
        yield _required(start, end)


def _required(start: int, end: int) -> headers.RequiredMemory:
    if end - start > _MOST_REQUIRED:
        raise SevbuildError(f"{end - start} bytes of memory in one piece: an IGVM file cannot name that many")
    return headers.RequiredMemory(start, _MASK, end - start)


def _parameters(places: ParameterPlaces) -> Iterator[Header]:
    yield headers.ParameterArea(places.size, _AREA)
    if places.memory_map is not None:
        yield headers.Parameter(HeaderType.MEMORY_MAP, _AREA, places.memory_map)
    if places.vp_count is not None:
        yield headers.Parameter(HeaderType.VP_COUNT_PARAMETER, _AREA, places.vp_count)
    yield headers.ParameterInsert(places.gpa, _MASK, _AREA)


def _pages(update: LaunchUpdate, parameters: ParameterPlaces | None) -> Iterator[headers.PageData]:
    kind = _EMPTY.get(update.page_type, headers.PageDataType.NORMAL)
    flags = headers.PageFlags.UNMEASURED if update.page_type == PageType.UNMEASURED else headers.PageFlags(0)
    if update.page_type == PageType.ZERO:
        hint = "a profile that loads an IGVM file launches such sections as `normal`"
        raise SevbuildError(f"{update.origin}: loaders differ in what a page of type ZERO is", hint=hint)
    low = high = -1
    if parameters is not None:
        low, high = parameters.gpa, parameters.gpa + parameters.size
        overlap = update.gpa < high and low < update.end
        if overlap and kind is headers.PageDataType.NORMAL and not _is_zero(update, low, high):
            raise SevbuildError(
                f"the firmware's IGVM parameters lie over {update.origin}, which has contents"
            )
    for gpa in range(update.gpa, update.end, PAGE_SIZE):
        if not low <= gpa < high:
            start = gpa - update.gpa
            data = None if update.data is None else _bytes(update.data, start, start + PAGE_SIZE)
            yield headers.PageData(gpa, _MASK, data, flags, kind)


def _is_zero(update: LaunchUpdate, low: int, high: int) -> bool:
    start, end = max(low, update.gpa) - update.gpa, min(high, update.end) - update.gpa
    return update.data is None or not any(_bytes(update.data, start, end))


def _bytes(data: Contents | None, start: int, end: int) -> bytes:
    if data is None:
        raise SevbuildError("an IGVM file cannot have a launch update without contents")
    if isinstance(data, bytes | memoryview):
        # SEV takes regions of 16 bytes; a file has whole pages.
        return bytes(data[start:end])
    return bytes(data.read(start, end))

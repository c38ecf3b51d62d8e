"""What makes an IGVM file valid, beyond each header by itself.

Source: microsoft/igvm at e6c3ff1c, igvm_defs/src/lib.rs (what each field may hold) and igvm/src/lib.rs (what
its reader refuses). Where the two differ a comment says which one is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from sevbuild.igvm import headers
from sevbuild.igvm.headers import PAGE_SIZE, Header, HeaderType
from sevbuild.igvm.layouts import header_name, header_type
from sevbuild.igvm.native_context import NATIVE_CONTEXT_SIZE
from sevbuild.igvm.scan import IgvmError, Item, Place
from sevbuild.igvm.source import data_bytes, data_size

__all__ = ["Rules", "Warnings"]

_KINDS_LIMIT = 32
_AREA_LIMIT = 1 << 32  # sizes and offsets of a file are u32: no more contents can stand in one
_U64 = 1 << 64
_HUGE_PAGE = 2 << 20
_NO_REGISTERS = 4  # a count of zero, and nothing after it
_NO_BOUNDARY = (headers.PlatformType.NATIVE, headers.PlatformType.VSM_ISOLATION)
_PARAMETER_BYTES = {HeaderType.VP_COUNT_PARAMETER: 4, HeaderType.ENVIRONMENT_INFO_PARAMETER: 4}


class Warnings:
    """What a file has that it should not, each kind once, with its first place and its number."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, tuple[Place | None, int]] = {}

    def add(self, message: str, place: Place | None) -> None:
        """Note one finding."""
        if message not in self._found and len(self._found) >= _KINDS_LIMIT:
            message = "further findings of other kinds"
        first, count = self._found.get(message, (place, 0))
        self._found[message] = (first, count + 1)

    def lines(self) -> tuple[str, ...]:
        """Return a line a kind, in the order of their first places."""
        lines = []
        for message, (place, count) in self._found.items():
            where = "" if place is None else f"header {place.number} at {place.offset:#x}: "
            lines.append(where + message + (f" ({count} headers)" if count > 1 else ""))
        return tuple(lines)


class _Area(NamedTuple):
    size: int
    inserted: bool


class Rules:
    """The judge of one file's headers, in order; `finish` judges the whole."""

    def __init__(self, data_start: int, total: int, warnings: Warnings) -> None:
        self.platforms: dict[int, headers.SupportedPlatform] = {}
        self._data_start, self._total = data_start, total
        self._warnings = warnings
        self._section = headers.Section.PLATFORM
        self._mask = 0
        self._areas: dict[int, _Area] = {}
        self._relocatable: list[tuple[Place, headers.RelocatableRegion]] = []
        self._page_tables: list[headers.PageTableRelocation] = []
        self._vps: dict[int, int] = {}
        self._corim: dict[tuple[HeaderType, int], None] = {}
        self._judges: dict[type[Any], Callable[[Any, Item], None]] = {
            headers.SupportedPlatform: self._platform,
            headers.GuestPolicy: self._policy,
            headers.RelocatableRegion: self._relocatable_region,
            headers.PageTableRelocation: self._page_table,
            headers.CorimData: self._corim_data,
            headers.CcaPolicy: self._cca_policy,
            headers.ParameterArea: self._parameter_area,
            headers.PageData: self._page,
            headers.ParameterInsert: self._insert,
            headers.Parameter: self._parameter,
            headers.VpContext: self._vp_context,
            headers.RequiredMemory: self._required_memory,
            headers.ErrorRange: self._error_range,
            headers.SnpIdBlock: self._id_block,
            headers.VbsMeasurement: self._measurement,
            headers.UnknownHeader: self._unknown,
        }

    def judge(self, item: Item) -> None:
        """Take in one header or run of pages; raises IgvmError."""
        header, place = item.header, item.place
        if not isinstance(header, headers.UnknownHeader):
            section = headers.section_of(header_type(header))
            if section is not None and section < self._section:
                reason = f"{section.name.lower()} header after the first {self._section.name.lower()} header"
                self._refuse(header, place, reason)
            self._section = self._section if section is None else section
            mask = getattr(header, "compatibility_mask", None)
            if (
                mask is not None
                and not mask & self._mask
                and not isinstance(header, headers.SupportedPlatform)
            ):
                # The crate accepts it, and its own C test has a policy for a platform that is not there.
                self._warnings.add(
                    f"compatibility mask {mask:#x} names no platform; no loader uses the header", place
                )
        self._judges[type(header)](header, item)

    def finish(self) -> None:
        """Judge what only the end of the headers shows."""
        if not self.platforms:
            raise IgvmError("variable headers", None, "no platform is supported")
        for place, region in self._relocatable:
            if not self._vps.get(region.vp_index, 0) & region.compatibility_mask:
                self._refuse(region, place, f"virtual processor {region.vp_index} has no context")

    def _refuse(self, header: Header, place: Place, reason: str) -> NoReturn:
        raise IgvmError(header_name(header_type(header)), place, reason)

    def _aligned(self, header: Header, place: Place, unit: int, *names: str) -> None:
        for name in names:
            value = getattr(header, name)
            if value % unit:
                self._refuse(header, place, f"{name} {value:#x} is not a multiple of {unit:#x}")

    def _zero(self, header: Header, place: Place, name: str = "reserved") -> None:
        if getattr(header, name):
            self._refuse(header, place, f"{name} is {getattr(header, name):#x}; it must be zero")

    def _within(self, header: Header, place: Place, offset: int, size: int) -> None:
        if offset and not self._data_start <= offset <= self._total - size:
            reason = (
                f"its data, {size} bytes at {offset:#x}, is not in the file data "
                f"({self._data_start:#x}..{self._total - 1:#x})"
            )
            self._refuse(header, place, reason)

    def _ascending(self, header: Header, place: Place, gpa: int, size: int) -> None:
        if gpa + size > _U64:
            self._refuse(header, place, f"{size:#x} bytes at {gpa:#x} end above 64 bits")

    def _platform(self, header: headers.SupportedPlatform, item: Item) -> None:
        mask = header.compatibility_mask
        if mask.bit_count() != 1:
            self._refuse(header, item.place, f"compatibility mask {mask:#x} has not exactly one bit")
        if mask in self.platforms:
            self._refuse(header, item.place, f"compatibility mask {mask:#x} is already taken")
        kind = header.platform_type
        if any(other.platform_type == kind for other in self.platforms.values()):
            self._refuse(header, item.place, f"platform {kind.name} is already there")
        if header.highest_vtl not in (0, 2):
            self._refuse(header, item.place, f"highest VTL {header.highest_vtl}; it must be 0 or 2")
        if header.platform_version != 1:
            self._refuse(
                header, item.place, f"unknown platform version {header.platform_version}; 1 is known"
            )
        if header.shared_gpa_boundary and kind in _NO_BOUNDARY:
            self._refuse(header, item.place, f"platform {kind.name} has no shared GPA boundary")
        self.platforms[mask] = header
        self._mask |= mask

    def _policy(self, header: headers.GuestPolicy, item: Item) -> None:
        self._zero(header, item.place)

    def _relocatable_region(self, header: headers.RelocatableRegion, item: Item) -> None:
        place, alignment = item.place, header.relocation_alignment
        if not alignment or alignment % PAGE_SIZE:
            self._refuse(header, place, f"alignment {alignment:#x} is not a positive multiple of 0x1000")
        self._aligned(
            header,
            place,
            alignment,
            "relocation_region_gpa",
            "minimum_relocation_gpa",
            "maximum_relocation_gpa",
        )
        self._aligned(header, place, PAGE_SIZE, "relocation_region_size")
        self._ascending(header, place, header.relocation_region_gpa, header.relocation_region_size)
        for tables in self._page_tables:
            self._apart(header, place, tables, header)
        self._relocatable.append((place, header))

    def _page_table(self, header: headers.PageTableRelocation, item: Item) -> None:
        place = item.place
        self._aligned(header, place, PAGE_SIZE, "gpa", "size", "used_size")
        self._zero(header, place)
        self._ascending(header, place, header.gpa, header.size)
        if header.used_size > header.size:
            self._refuse(header, place, f"uses {header.used_size:#x} of {header.size:#x} bytes")
        if any(other.compatibility_mask & header.compatibility_mask for other in self._page_tables):
            self._refuse(header, place, "its platform already has such a region")
        for _, region in self._relocatable:
            self._apart(header, place, header, region)
        self._page_tables.append(header)

    def _apart(
        self,
        header: Header,
        place: Place,
        tables: headers.PageTableRelocation,
        region: headers.RelocatableRegion,
    ) -> None:
        end = region.relocation_region_gpa + region.relocation_region_size
        if (
            tables.compatibility_mask & region.compatibility_mask
            and tables.gpa < end
            and region.relocation_region_gpa < tables.gpa + tables.size
        ):
            self._refuse(header, place, "a relocatable region overlaps the page table region")

    def _corim_data(self, header: headers.CorimData, item: Item) -> None:
        place = item.place
        self._zero(header, place)
        if header.data is None:
            self._refuse(header, place, "it has no data")
        self._within(header, place, item.data_offset, data_size(header.data))
        for bit in (1 << number for number in range(32) if header.compatibility_mask >> number & 1):
            if (header.kind, bit) in self._corim:
                self._refuse(header, place, "its platform already has one")
            document = (HeaderType.CORIM_DOCUMENT, bit)
            if header.kind == HeaderType.CORIM_SIGNATURE and document not in self._corim:
                self._refuse(header, place, "a signature must follow its document")
            self._corim[header.kind, bit] = None

    def _cca_policy(self, header: headers.CcaPolicy, item: Item) -> None:
        if header.reserved or any(header.reserved2):
            self._warnings.add("reserved bytes of CCA_POLICY are set", item.place)

    def _parameter_area(self, header: headers.ParameterArea, item: Item) -> None:
        place, index = item.place, header.parameter_area_index
        self._aligned(header, place, PAGE_SIZE, "number_of_bytes")
        if not 0 < header.number_of_bytes < _AREA_LIMIT:
            self._refuse(header, place, f"an area of {header.number_of_bytes:#x} bytes")
        self._within(header, place, item.data_offset, header.number_of_bytes)
        if index in self._areas:
            self._refuse(header, place, f"parameter area {index} is already declared")
        self._areas[index] = _Area(header.number_of_bytes, inserted=False)

    def _page(self, header: headers.PageData, item: Item) -> None:
        place = item.place
        self._aligned(header, place, PAGE_SIZE, "gpa")
        if header.flags & headers.PageFlags.IS_2MB_PAGE:
            # The specification's rule; the crate takes any GPA, and its reader knows 4 KiB pages alone.
            self._aligned(header, place, _HUGE_PAGE, "gpa")
            self._warnings.add("loaders disagree on what a 2 MiB page is", place)
        self._zero(header, place)
        size = item.run * PAGE_SIZE
        self._ascending(header, place, header.gpa, size)
        if item.data_offset and not self._data_start <= item.data_offset <= self._total - size:
            # Name the page of the run whose data is missing.
            held = max(self._total - item.data_offset, 0) // PAGE_SIZE
            number = held if item.data_offset >= self._data_start else 0
            place = Place(place.number + number, place.offset + 32 * number)
            self._within(header, place, item.data_offset + number * PAGE_SIZE, PAGE_SIZE)

    def _area_of(self, header: headers.ParameterInsert | headers.Parameter, place: Place) -> _Area:
        index = header.parameter_area_index
        area = self._areas.get(index)
        if area is None:
            self._refuse(header, place, f"parameter area {index} is not declared")
        if area.inserted:
            self._refuse(header, place, f"parameter area {index} is already inserted")
        return area

    def _insert(self, header: headers.ParameterInsert, item: Item) -> None:
        place = item.place
        self._aligned(header, place, PAGE_SIZE, "gpa")
        area = self._area_of(header, place)
        self._ascending(header, place, header.gpa, area.size)
        for tables in self._page_tables:
            if (
                tables.compatibility_mask & header.compatibility_mask
                and tables.gpa < header.gpa + area.size
                and header.gpa < tables.gpa + tables.size
            ):
                self._refuse(header, place, "it lies in the page table relocation region")
        self._areas[header.parameter_area_index] = area._replace(inserted=True)

    def _parameter(self, header: headers.Parameter, item: Item) -> None:
        area = self._area_of(header, item.place)
        needed = _PARAMETER_BYTES.get(header.kind, 1)
        # The crate does not compare them, and QEMU then writes outside of the area.
        if header.byte_offset + needed > area.size:
            reason = f"offset {header.byte_offset:#x} is outside of its area of {area.size:#x} bytes"
            self._refuse(header, item.place, reason)

    def _vp_context(self, header: headers.VpContext, item: Item) -> None:
        place = item.place
        platform = self.platforms.get(header.compatibility_mask)
        if platform is None:
            reason = f"compatibility mask {header.compatibility_mask:#x} is not that of one platform"
            self._refuse(header, place, reason)
        kind = platform.platform_type
        if kind == headers.PlatformType.TDX:
            self._refuse(header, place, "TDX has no such context")
        if header.data is None:
            self._refuse(header, place, "it has no data")
        self._within(header, place, item.data_offset, data_size(header.data))
        if kind == headers.PlatformType.VSM_ISOLATION and data_size(header.data) == _NO_REGISTERS:
            self._refuse(header, place, "it has no registers")
        if kind in headers.VMSA_PLATFORMS:
            self._aligned(header, place, PAGE_SIZE, "gpa")
        elif header.gpa:
            self._refuse(header, place, f"a context of platform {kind.name} has no GPA")
        if kind in (headers.PlatformType.NATIVE, headers.PlatformType.SEV) and any(
            data_bytes(header.data)[NATIVE_CONTEXT_SIZE:]
        ):
            self._refuse(header, place, "bytes after the native context are set")
        if header.reserved:
            self._warnings.add("reserved bytes of VP_CONTEXT are set", place)
        if any(header.padding):
            # igvmgen pads with the digit 0; such files are in use, and every reader takes them.
            self._warnings.add("padding is not zero", place)
        self._vps[header.vp_index] = self._vps.get(header.vp_index, 0) | header.compatibility_mask

    def _required_memory(self, header: headers.RequiredMemory, item: Item) -> None:
        self._aligned(header, item.place, PAGE_SIZE, "gpa", "number_of_bytes")
        if header.reserved or header.flags & ~1:
            self._warnings.add("reserved bits of REQUIRED_MEMORY are set", item.place)

    def _error_range(self, header: headers.ErrorRange, item: Item) -> None:
        self._aligned(header, item.place, PAGE_SIZE, "gpa")

    def _id_block(self, header: headers.SnpIdBlock, item: Item) -> None:
        if header.author_key_enabled > 1:
            self._refuse(header, item.place, f"author_key_enabled is {header.author_key_enabled}")
        if any(header.reserved) or header.id_key_reserved or header.author_key_reserved:
            self._warnings.add("reserved bytes of SNP_ID_BLOCK are set", item.place)

    def _measurement(self, header: headers.VbsMeasurement, item: Item) -> None:
        """Accept any: its contents are for another platform to judge."""

    def _unknown(self, header: headers.UnknownHeader, item: Item) -> None:
        self._warnings.add(
            f"type {header.type_number:#x} is not known here; it is optional and kept as it is", item.place
        )
        if any(header.padding):
            self._warnings.add("padding is not zero", item.place)

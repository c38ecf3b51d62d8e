"""An IGVM file in words, for people and for JSON; digests are not among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sevbuild.igvm import headers
from sevbuild.igvm.file import AARCH64, IgvmFile
from sevbuild.igvm.headers import PAGE_SIZE, VMSA_PLATFORMS, Header, PlatformType
from sevbuild.igvm.layouts import header_name, header_type
from sevbuild.igvm.native_context import native_registers
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.scan import Item
from sevbuild.igvm.source import data_bytes, data_size
from sevbuild.vcpu.describe import feature_names
from sevbuild.vcpu.save_area import VMSA_SIZE, parse_vmsa

__all__ = ["describe_igvm"]

_SEGMENTS = ("cs", "ss")
_REGISTERS = ("rip", "cr0", "cr3", "cr4", "efer", "rdx", "sev_features")


def describe_igvm(file: IgvmFile) -> dict[str, Any]:
    """Return a JSON-able description of a file that was read.

    Numbers of 32 and 64 bits are hex strings. `registers` of a VP context are None where its platform has
    neither a VMSA nor a native context; only a VMSA has `sev_features`. `regions` are runs of pages alike, in
    file order; `other` are headers of no other list, as they stand. `breaches` are the rules that keep it
    from having one digest in every loader.
    """
    lists: dict[str, list[Any]] = {
        name: []
        for name in (
            "platforms",
            "policies",
            "regions",
            "vp_contexts",
            "parameter_areas",
            "parameters",
            "required_memory",
            "id_blocks",
            "other",
        )
    }
    platforms = {platform.compatibility_mask: platform.platform_type for platform in file.platforms}
    areas: dict[int, dict[str, Any]] = {}
    for item in _joined(file):
        header = item.header
        name, entry = _entry(header, item, platforms)
        if isinstance(header, headers.ParameterArea):
            areas[header.parameter_area_index] = entry
        elif isinstance(header, headers.ParameterInsert):
            areas[header.parameter_area_index]["inserted_at"] = hex(header.gpa)
            continue
        lists[name].append({"header": item.place.number, **entry})
    for entry in lists["parameter_areas"]:
        entry["inserted_at"] = areas[entry["index"]].get("inserted_at")
    return {
        "kind": "igvm",
        "version": file.version,
        "architecture": "aarch64" if file.architecture == AARCH64 else "x64",
        "page_size": file.page_size,
        "headers": len(file.headers),
        **lists,
        "portable": not portable_breaches(file),
        "breaches": [breach._asdict() for breach in portable_breaches(file)],
        "warnings": list(file.warnings),
    }


def _joined(file: IgvmFile) -> Iterator[Item]:
    """Yield items with runs of pages joined whatever the place of their data."""
    held: Item | None = None
    for item in file.items():
        if (
            held is not None
            and isinstance(held.header, headers.PageData)
            and isinstance(item.header, headers.PageData)
        ):
            before, after = held.header, item.header
            like = before._replace(gpa=0, data=None) == after._replace(gpa=0, data=None)
            data = (before.data is None) == (after.data is None)
            if like and data and after.gpa == before.gpa + held.run * PAGE_SIZE:
                held = held._replace(run=held.run + item.run)
                continue
        if held is not None:
            yield held
        held = item
    if held is not None:
        yield held


def _entry(header: Header, item: Item, platforms: dict[int, Any]) -> tuple[str, dict[str, Any]]:
    """Return the list that a header belongs to, and its entry there."""
    if isinstance(header, headers.SupportedPlatform):
        return "platforms", {
            "mask": hex(header.compatibility_mask),
            "platform": header.platform_type.name.lower(),
            "highest_vtl": header.highest_vtl,
            "shared_gpa_boundary": hex(header.shared_gpa_boundary),
        }
    if isinstance(header, headers.GuestPolicy):
        return "policies", {"mask": hex(header.compatibility_mask), "policy": hex(header.policy)}
    if isinstance(header, headers.PageData):
        return "regions", {
            "mask": hex(header.compatibility_mask),
            "gpa": hex(header.gpa),
            "pages": item.run,
            "type": header.data_type.name.lower(),
            "flags": [flag.name.lower() for flag in type(header.flags) if flag & header.flags and flag.name],
            "data": header.data is not None,
        }
    if isinstance(header, headers.VpContext):
        return "vp_contexts", _vp_context(header, platforms)
    return _unmeasured(header)


def _unmeasured(header: Header) -> tuple[str, dict[str, Any]]:
    if isinstance(header, headers.ParameterArea):
        return "parameter_areas", {
            "index": header.parameter_area_index,
            "size": hex(header.number_of_bytes),
            "initial_data": header.data is not None,
        }
    if isinstance(header, headers.Parameter):
        return "parameters", {
            "kind": header.kind.name.lower(),
            "area": header.parameter_area_index,
            "offset": hex(header.byte_offset),
        }
    return _rarer(header)


def _rarer(header: Header) -> tuple[str, dict[str, Any]]:
    if isinstance(header, headers.RequiredMemory):
        return "required_memory", {
            "mask": hex(header.compatibility_mask),
            "gpa": hex(header.gpa),
            "size": hex(header.number_of_bytes),
        }
    if isinstance(header, headers.SnpIdBlock):
        return "id_blocks", {
            "mask": hex(header.compatibility_mask),
            "launch_digest": header.ld.hex(),
            "family_id": header.family_id.hex(),
            "image_id": header.image_id.hex(),
            "version": header.version,
            "guest_svn": header.guest_svn,
            "author_key": bool(header.author_key_enabled),
        }
    entry: dict[str, Any] = {"type": header_name(header_type(header)).lower()}
    if isinstance(header, headers.UnknownHeader):
        entry["size"] = len(header.content)
    elif isinstance(header, headers.CorimData):
        entry["size"] = 0 if header.data is None else data_size(header.data)
    else:
        values = header._asdict().items()
        entry |= {
            name: value.hex() if isinstance(value, bytes) else hex(value)
            for name, value in values
            if "reserved" not in name
        }
    return "other", entry


def _vp_context(header: headers.VpContext, platforms: dict[int, Any]) -> dict[str, Any]:
    kind: PlatformType = platforms[header.compatibility_mask]
    entry: dict[str, Any] = {
        "mask": hex(header.compatibility_mask),
        "platform": kind.name.lower(),
        "vp_index": header.vp_index,
        "gpa": hex(header.gpa),
        "registers": None,
        "sev_features": None,
    }
    page = b"" if header.data is None else data_bytes(header.data)
    if kind in (PlatformType.NATIVE, PlatformType.SEV):
        entry["registers"] = {name: hex(value) for name, value in native_registers(page).items()}
    elif kind in VMSA_PLATFORMS and len(page) == VMSA_SIZE:
        values = parse_vmsa(page)
        registers: dict[str, str] = {}
        for name in _SEGMENTS:
            segment = values[name]
            if isinstance(segment, dict):
                registers[f"{name}.base"] = hex(segment["base"])
        for name in _REGISTERS:
            value = values[name]
            if isinstance(value, int):
                registers[name] = hex(value)
        entry["registers"] = registers
        entry["sev_features"] = feature_names(int(registers["sev_features"], 16))
    return entry
